import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** A message, an enumeration or a service of a proto, as protobuf.js writes it as JSON. */
type Node = {
  readonly fields?: Readonly<Record<string, Field>>;
  readonly values?: Readonly<Record<string, number>>;
  readonly methods?: Readonly<Record<string, { readonly options: Readonly<Record<string, string>> }>>;
  readonly nested?: Readonly<Record<string, Node>>;
};
type Field = { readonly type: string; readonly rule?: 'repeated'; readonly keyType?: string };

const BUILD = path.join(path.dirname(createRequire(import.meta.url).resolve('@google-cloud/run')), '..');
const PACKAGE = ['google', 'cloud', 'run', 'v2'];
/** What every REST client of Google's may add: https://cloud.google.com/apis/docs/system-parameters (read 2026-11-28); the rest is google-gax's. */
const OF_THE_SYSTEM = new Map([['$alt', /^json(?:;enum-encoding=int)?$/]]);

/** The Cloud Run Admin API v2 as the protos in @google-cloud/run 4.2 describe it. */
export interface RunContract {
  /**
   * Holds a request against the HTTP rules of `google.cloud.run.v2.Services`.
   *
   * @returns the method, and the name in its path.
   * @throws Error naming what is not published.
   */
  request(
    httpMethod: string,
    pathname: string,
    query: URLSearchParams,
  ): { readonly method: string; readonly name: string };
  /** Holds JSON against a message, field by field. @throws Error naming what is not published. */
  check(message: string, value: unknown): void;
}

export function runContract(): RunContract {
  // It is generated; what is missing below throws.
  const root = JSON.parse(readFileSync(path.join(BUILD, 'protos', 'protos.json'), 'utf8')) as Node;
  const { methods = {} } = resolve(root, 'Services', PACKAGE);
  const rules = Object.entries(methods).flatMap(([method, { options }]) =>
    Object.entries(options).flatMap(([option, template]) => {
      const verb = /^\(google\.api\.http\)\.(\w+)$/.exec(option)?.[1]?.toUpperCase();
      return verb === undefined || verb === 'BODY' ? [] : [{ method, verb, path: asPattern(template) }];
    }),
  );
  if (rules.length < 5) throw new Error('the HTTP rules of Cloud Run were not found');

  return {
    request(httpMethod, pathname, query) {
      for (const { method, verb, path: pattern } of rules) {
        const name = verb === httpMethod ? pattern.exec(pathname)?.[1] : undefined;
        if (name === undefined) continue;
        const { fields = {} } = resolve(root, `${method}Request`, PACKAGE);
        for (const [key, value] of query) {
          const { type } = fields[key] ?? {};
          const isFine =
            OF_THE_SYSTEM.get(key)?.test(value) ??
            (type === 'string' || (type === 'int32' && /^\d+$/.test(value)) || type === 'bool');
          if (!isFine) throw new Error(`${method} has no parameter ${key}=${value}`);
        }
        return { method, name };
      }
      throw new Error(`${httpMethod} ${pathname} is no method of google.cloud.run.v2.Services`);
    },
    check: (message, value) => checkType(root, message, PACKAGE, value, message),
  };
}

/** `/v2/{name=projects/*` + `/locations/*}` as a pattern whose group is the name. */
function asPattern(template: string): RegExp {
  const text = template.replace(/\{[\w.]+=([^}]+)\}/, (_, inner: string) => `(${inner})`);
  return new RegExp(`^${text.replaceAll('*', '[^/:]+')}$`);
}

/** Names of protos are looked for from the inside to the outside. */
function resolve(root: Node, type: string, scope: readonly string[]): Node {
  for (let depth = scope.length; depth >= 0; depth -= 1) {
    let at: Node | undefined = root;
    for (const part of [...scope.slice(0, depth), ...type.split('.')]) at = at?.nested?.[part];
    if (at !== undefined) return at;
  }
  throw new Error(`there is no ${type} in the protos`);
}

const SCALARS: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  bool: (value) => typeof value === 'boolean',
  int32: Number.isInteger,
  // "its JSON representation will be a `string`": the proto of Service, of `generation`
  int64: (value) => typeof value === 'string' && /^-?\d+$/.test(value),
  'google.protobuf.Timestamp': (value) => typeof value === 'string' && /^\d{4}-\d\d-\d\dT.+Z$/.test(value),
  'google.protobuf.Duration': (value) => typeof value === 'string' && /^\d+(?:\.\d+)?s$/.test(value),
};

function checkType(root: Node, type: string, scope: readonly string[], value: unknown, at: string): void {
  const scalar = SCALARS[type];
  if (scalar !== undefined) {
    if (!scalar(value)) throw new Error(`${at} is a ${type}`);
    return;
  }
  const { fields, values } = resolve(root, type, scope);
  if (values !== undefined) {
    if (!Object.hasOwn(values, String(value))) throw new Error(`${at} is one of ${type}`);
    return;
  }
  if (typeof value !== 'object' || value === null) throw new Error(`${at} is a ${type}`);
  for (const [name, part] of Object.entries(value)) {
    const field = fields?.[name];
    if (field === undefined) throw new Error(`${at} has no ${name}`);
    const parts: readonly unknown[] =
      field.keyType === undefined
        ? field.rule === 'repeated'
          ? (part as readonly unknown[])
          : [part]
        : Object.values(part as object);
    for (const one of parts) checkType(root, field.type, [...scope, type], one, `${at}.${name}`);
  }
}
