import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { wireContract, type WireContract } from '../../../testing/wire-contract.fixture.ts';

const BUILD = path.dirname(createRequire(import.meta.url).resolve('@googleapis/storage'));

/** A method of the JSON API as the discovery document has it. */
type Method = {
  readonly id: string;
  readonly httpMethod: string;
  readonly paths: readonly RegExp[];
  readonly params: ReadonlyMap<string, string>;
};

/** Google's discovery document for storage v1, as the client that is generated from it carries it. */
export interface GcsContract {
  /**
   * Holds a request's method, path and query against the document.
   *
   * @returns the method's id, for example `objects.list`, and the parts of its path, decoded.
   * @throws Error naming what the document does not have.
   */
  request(
    httpMethod: string,
    pathname: string,
    query: URLSearchParams,
  ): { readonly id: string; readonly parts: readonly string[] };
  /** Holds JSON against a schema such as `Object` or `RewriteResponse`. */
  check(schema: string, value: unknown): void;
}

/** What the protocol of uploads adds to the parameters of the document: the kind of it, and its session. */
const OF_UPLOADS = new Map([
  ['uploadType', 'string'],
  ['upload_id', 'string'],
]);

export function gcsContract(): GcsContract {
  const declarations = readFileSync(path.join(BUILD, 'v1.d.ts'), 'utf8');
  const methods = methodsOf(readFileSync(path.join(BUILD, 'v1.js'), 'utf8'), declarations);
  const schemas = schemasOf(declarations);
  return {
    request(httpMethod, pathname, query) {
      // A session's own requests are no methods of the document: they go where its upload began.
      const asMethod = query.has('upload_id') ? 'POST' : httpMethod;
      for (const { id, params, paths, httpMethod: known } of methods) {
        const match =
          known === asMethod && paths.map((one) => one.exec(pathname)).find((one) => one !== null);
        if (!match) continue;
        for (const [name, value] of query) assertParameter(id, name, value, params.get(name));
        return { id, parts: match.slice(1).map(decodeURIComponent) };
      }
      throw new Error(`${httpMethod} ${pathname} is no method of storage v1`);
    },
    check: (schema, value) => schemas.check(`Schema_${schema}`, value),
  };
}

function methodsOf(source: string, declarations: string): readonly Method[] {
  const text = /class Resource\$Objects \{([\s\S]*?)\n {4}\}\n/.exec(source)?.[1] ?? '';
  const found = text.matchAll(
    /\n {8}(\w+)\(paramsOrCallback[\s\S]*?url: \(rootUrl \+\s*'([^']+)'\)[\s\S]*?method: '(\w+)'([\s\S]*?)pathParams: /g,
  );
  const standard = fieldsOf(declarations, 'interface StandardParameters');
  const methods = [...found].map(([, name = '', url = '', httpMethod = '', rest = '']): Method => {
    const media = /mediaUrl: \(rootUrl \+\s*'([^']+)'\)/.exec(rest)?.[1];
    const type = `interface Params$Resource$Objects$${name[0]?.toUpperCase()}${name.slice(1).toLowerCase()} `;
    const own = fieldsOf(declarations, type);
    return {
      id: `objects.${name}`,
      httpMethod,
      paths: [url, ...(media === undefined ? [] : [media])].map(asPattern),
      params: new Map([...standard, ...own, ...(media === undefined ? [] : OF_UPLOADS)]),
    };
  });
  if (methods.length < 10) throw new Error('the methods of storage v1 were not found');
  return methods;
}

function asPattern(template: string): RegExp {
  return new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '([^/]+)')}$`);
}

function fieldsOf(declarations: string, opening: string): readonly (readonly [string, string])[] {
  const from = declarations.indexOf(opening);
  if (from < 0) throw new Error(`${opening} is not in what is published`);
  const block = declarations.slice(from, declarations.indexOf('\n    }\n', from));
  return [...block.matchAll(/^ {8}['"]?([\w.$]+)['"]?\?: ([^;{]+);$/gm)].map(([, name = '', type = '']) => [
    name,
    type,
  ]);
}

function assertParameter(id: string, name: string, value: string, type: string | undefined): void {
  if (type === undefined) throw new Error(`${id} has no parameter ${name}`);
  const isFine =
    (type.includes('number') && /^\d+$/.test(value)) ||
    (type.includes('boolean') && /^(?:true|false)$/.test(value)) ||
    type.includes('string');
  if (!isFine) throw new Error(`the parameter ${name} of ${id} is a ${type}`);
}

/** The schemas as types by themselves: where they are they need the whole of the client's library. */
function schemasOf(declarations: string): WireContract {
  const interfaces = [...declarations.matchAll(/^ {4}export interface Schema\$\w+ \{[\s\S]*?^ {4}\}$/gm)];
  const folder = mkdtempSync(path.join(tmpdir(), 'gcs-contract-'));
  try {
    const file = path.join(folder, 'storage.d.ts');
    writeFileSync(file, interfaces.map(([text]) => text.replaceAll('Schema$', 'Schema_')).join('\n'));
    return wireContract(file, { isPlain: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
