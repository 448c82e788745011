import { wireName } from './operation.ts';

/** Fields whose values are the caller's or a schema's own: passed through as they are. */
const OPAQUE_KEYS = [
  'metadata',
  'filter',
  'payload',
  'result',
  'values',
  'config',
  'options',
  'credentials',
  'peers',
] as const;
const OPAQUE: ReadonlySet<string> = new Set(OPAQUE_KEYS);

/** A result of the TypeScript API in wire names: keys in snake_case, dates as ISO strings, absent fields left out. */
export function toWire<T>(value: T): Wire<T> {
  // The type says key by key what the function does; the compiler cannot follow a renaming.
  return convert(value) as Wire<T>;
}

function convert(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(convert);
  const named: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item !== undefined) named[wireName(key)] = OPAQUE.has(key) ? item : convert(item);
  }
  return named;
}

type SnakeCase<Name extends string> = Name extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${SnakeCase<Tail>}`
  : Name;

type OpaqueKey = (typeof OPAQUE_KEYS)[number];

/** The type of {@link toWire}'s answer. */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Wire<Item>[]
    : T extends object
      ? {
          readonly [Key in keyof T as SnakeCase<Key & string>]: Key extends OpaqueKey ? T[Key] : Wire<T[Key]>;
        }
      : T;
