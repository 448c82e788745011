import { z } from 'zod';

/** A string that is a credential: sealed at rest, masked in every output, write-only in forms. */
export function secret(): z.ZodString {
  return z.string().min(1).meta({ secret: true, format: 'password', writeOnly: true });
}

/** Marks an option that only an administrator may set, such as a folder outside the tenant's own. */
export function adminOnly<S extends z.ZodType>(schema: S): S {
  return schema.meta({ adminOnly: true });
}

/**
 * Dotted paths of every {@link secret} in an options schema, for example `['auth.password']`, sorted. A record of
 * secrets is one path that ends with `.*`, for example `['env.*']`: each of its values is a secret of its own.
 *
 * Reads the JSON Schema because `.optional()` and `.default()` hide the metadata of the schema they wrap; a secret
 * that is missed here would be stored in clear.
 *
 * @throws Error when a secret lies where a path cannot name it, such as inside an array.
 */
export function secretPaths(options: z.ZodObject): readonly string[] {
  return markedPaths(options, 'secret');
}

/** Dotted paths of every {@link adminOnly} option, sorted. */
export function adminPaths(options: z.ZodObject): readonly string[] {
  return markedPaths(options, 'adminOnly');
}

type JsonSchema = {
  readonly [key: string]: unknown;
  readonly properties?: Record<string, JsonSchema>;
  readonly additionalProperties?: JsonSchema | boolean;
};

function markedPaths(options: z.ZodObject, mark: string): readonly string[] {
  const schema = z.toJSONSchema(options, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  const found = walk(schema, mark, []);
  const marked = JSON.stringify(schema).split(`"${mark}":true`).length - 1;
  if (found.length !== marked) throw new Error(`${marked - found.length} ${mark} option(s) without a path`);
  return [...new Set(found)].sort();
}

function walk(schema: JsonSchema, mark: string, path: readonly string[]): string[] {
  const here = schema[mark] === true ? [path.join('.')] : [];
  const branches = ['anyOf', 'oneOf', 'allOf'].flatMap(
    (key) => (schema[key] as JsonSchema[] | undefined) ?? [],
  );
  return [
    ...here,
    ...(isRecordOfSecrets(schema, mark) && path.length > 0 ? [[...path, '*'].join('.')] : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([key, child]) => walk(child, mark, [...path, key])),
    ...branches.flatMap((branch) => walk(branch, mark, path)),
  ];
}

/** Only of plain secrets, and of nothing else beside them: whatever lies deeper or among named fields has no path. */
function isRecordOfSecrets({ properties, additionalProperties }: JsonSchema, mark: string): boolean {
  if (mark !== 'secret' || properties !== undefined || typeof additionalProperties !== 'object') return false;
  return additionalProperties[mark] === true;
}
