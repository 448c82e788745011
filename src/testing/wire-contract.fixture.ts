import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';

/** What a vendor publishes of its wire format, as something to hold requests and answers against. */
export interface WireContract {
  /**
   * Holds a JSON value against an exported type, or against a part of it: `at` is the property names on the way, for
   * example `check('query_points', body, ['requestBody', 'content', 'application/json'])`.
   *
   * @throws Error naming each place in the value that is wrong; Error for a type or a part that is not published.
   */
  check(type: string, value: unknown, at?: readonly string[]): void;
}

const MAX_LINES = 12;

type JsonSchema = { readonly [key: string]: unknown };

/**
 * The contract in a vendor's TypeScript declarations, as its npm package carries them: generated from its OpenAPI.
 *
 * Nothing of the vendor's is copied: the types become JSON Schema here and now (about a second for a large file, once;
 * each type that is asked about a fraction more). Properties that the types do not name are refused.
 *
 * @param file one `.d.ts`, or a glob of them. The single file that openapi-typescript writes is taken apart first:
 *   its schemas are types by their own name (`QueryRequest`), its operations too (`query_points`).
 * @param options.isPlain whether the declarations need nothing of the standard library, which takes a second to read.
 */
export function wireContract(
  file: string,
  { isPlain = false }: { readonly isPlain?: boolean } = {},
): WireContract {
  const { generator, missing } = generatorOf(file, isPlain);
  const ajv = new Ajv({ allErrors: true, strict: false, allowUnionTypes: true });
  const schemas = new Set<string>();
  const compiled = new Map<string, ValidateFunction>();

  const validator = (type: string, at: readonly string[]): ValidateFunction => {
    const key = JSON.stringify([type, ...at]);
    const known = compiled.get(key);
    if (known) return known;
    if (missing(type)) throw new Error(`${type} is not a type of ${path.basename(file)}`);
    const schema = generator.createSchema(type) as JsonSchema;
    if (!schemas.has(type)) ajv.addSchema(schema, `wire:${type}`);
    schemas.add(type);
    const pointer = at.reduce((from, property) => step(schema, from, property), root(schema));
    const validate = ajv.compile({ $ref: `wire:${type}#${pointer}` });
    compiled.set(key, validate);
    return validate;
  };

  return {
    check(type, value, at = []) {
      const validate = validator(type, at);
      if (validate(value)) return;
      const name = [type, ...at].join('/');
      throw new Error(`not ${name} as published: ${described(validate.errors ?? [])}`);
    },
  };
}

function generatorOf(file: string, isPlain: boolean) {
  const text = /[*{]/.test(file) ? '' : readFileSync(file, 'utf8');
  const options = { skipTypeCheck: true, expose: 'all', jsDoc: 'none', functions: 'hide' } as const;
  const isOpenApi = text.includes('export interface components {');
  if (!isOpenApi && !isPlain)
    return { generator: createGenerator({ ...options, path: file }), missing: () => false };
  const folder = mkdtempSync(path.join(tmpdir(), 'wire-contract-'));
  try {
    const types = isOpenApi ? takenApart(text) : undefined;
    const own = path.join(folder, 'types.d.ts');
    const declared = types && [...types].map(([name, type]) => `export type ${name} = ${type}`);
    writeFileSync(own, declared ? [...HELPERS, ...declared].join('\n') : text);
    // The types need nothing of the standard library, which takes longer to read than they do.
    const tsconfig = path.join(folder, 'tsconfig.json');
    writeFileSync(tsconfig, JSON.stringify({ compilerOptions: { noLib: true, types: [] }, files: [own] }));
    return {
      generator: createGenerator({ ...options, path: own, tsconfig }),
      missing: (name: string) => types?.has(name) === false,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** openapi-typescript's own helper says "exactly one" by conditional types, which have no JSON Schema. */
const HELPERS = ['type OneOf<T extends readonly unknown[]> = T[number];'];

/**
 * Each schema and each operation of openapi-typescript's one file as a type by itself. In there they are properties of
 * one interface that refers to itself, of which no schema can be made.
 */
function takenApart(text: string): ReadonlyMap<string, string> {
  const plain = text
    .replaceAll(/\/\*\*[\s\S]*?\*\//g, '')
    .replaceAll(/components\["schemas"\]\["(\w+)"\]/g, '$1')
    // How openapi-typescript 6 reads `nullable` beside a reference. Left so, any object at all would pass there.
    .replaceAll('(Record<string, unknown> | null)', 'null')
    // An answer without a body makes the operation one that cannot be.
    .replaceAll(/^ *"?\w+"?: never;$/gm, '')
    // A schema may be called Record, too, and would be taken for it.
    .replaceAll(/\bRecord<string, (unknown|never)>/g, '{ [key: string]: $1 }');
  return new Map([
    ...properties(block(plain, /^export interface components \{\n\s*schemas: \{$/m, 4), 8),
    ...properties(block(plain, /^export interface operations \{$/m, 0), 4),
  ]);
}

/** The lines after the one that matches, up to the brace that closes it at `indent` spaces. */
function block(text: string, opening: RegExp, indent: number): string {
  const found = opening.exec(text);
  if (!found) throw new Error(`the declarations have no ${opening.source}`);
  const rest = text.slice(found.index + found[0].length);
  return rest.slice(0, new RegExp(`^ {${indent}}\\}`, 'm').exec(rest)?.index);
}

function properties(text: string, indent: number): readonly (readonly [string, string])[] {
  const names = [...text.matchAll(new RegExp(`^ {${indent}}(\\w+)\\??: `, 'gm'))];
  return names.map((found, i) => [
    found[1] ?? '',
    text.slice(found.index + found[0].length, names[i + 1]?.index).trim(),
  ]);
}

function root(schema: JsonSchema): string {
  return typeof schema['$ref'] === 'string' ? schema['$ref'].slice(1) : '';
}

/** The JSON pointer of a property's schema, below the one that `pointer` names. */
function step(schema: JsonSchema, pointer: string, property: string): string {
  const at = resolve(schema, pointer);
  const found = resolve(schema, `${at.pointer}/properties/${escaped(property)}`);
  if (found.value === undefined) throw new Error(`${pointer} has no ${property} in what is published`);
  return found.pointer;
}

function resolve(schema: JsonSchema, pointer: string): { readonly pointer: string; readonly value: unknown } {
  const value = pointer
    .split('/')
    .slice(1)
    .map((key) => decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((from, key) => (from as JsonSchema | undefined)?.[key], schema);
  const ref = (value as JsonSchema | undefined)?.['$ref'];
  return typeof ref === 'string' ? resolve(schema, ref.slice(1)) : { pointer, value };
}

function escaped(key: string): string {
  return encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'));
}

/** The deepest first: of a union they tell what is wrong with the member that was nearly it. */
function described(errors: readonly ErrorObject[]): string {
  const lines = errors
    .toSorted((a, b) => b.instancePath.split('/').length - a.instancePath.split('/').length)
    .map(({ instancePath, message = 'is wrong', params }) => {
      const extra = (params as { additionalProperty?: string }).additionalProperty;
      return `${instancePath || '/'} ${message}${extra === undefined ? '' : ` (${extra})`}`;
    });
  return [...new Set(lines)].slice(0, MAX_LINES).join('; ');
}
