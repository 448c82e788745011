import { createHash } from 'node:crypto';
import type { Metadata } from '../../../driver.ts';

/**
 * How metadata lies in Chroma's own, which is flat, has strings, numbers and booleans alone, and compares a fraction
 * with integers by cutting it off.
 *
 * A scalar lies under its field, where people and other tools expect it. What a filter could not find exactly there
 * has keys of ours beside it, and the original metadata lies under {@link RECORD} as JSON.
 */
const OURS = 'connector:';

/** JSON of what cannot be read from the other keys, see {@link StoredRecord}. */
export const RECORD = `${OURS}record`;

/** A metadata value as Chroma takes it; null removes the key. */
export type Flat = Record<string, string | number | boolean | null>;

/** Under which key a field's scalar lies. Keys that mean something to Chroma or to us are moved aside. */
export function keyOf(field: string): string {
  return /^(?:connector:|chroma:|[#$])/.test(field) ? `${OURS}field:${field}` : field;
}

/** Has the value 1 where the field is null. */
export function nullKey(field: string): string {
  return `${OURS}null:${field}`;
}

/** Has the value 1 where the field is an array. */
export function arrayKey(field: string): string {
  return `${OURS}array:${field}`;
}

/** Has the value 1 where the field is an array that holds the item; a long item is its digest. */
export function itemKey(field: string, item: string | number): string {
  const text = JSON.stringify([field, item]);
  if (text.length <= 256) return `${OURS}item:${text}`;
  return `${OURS}item:sha256:${createHash('sha256').update(text).digest('base64url')}`;
}

/** The two halves of a number that is no safe integer, see {@link halvesOf}. */
export function halfKeys(field: string): readonly [high: string, low: string] {
  return [`${OURS}high:${field}`, `${OURS}low:${field}`];
}

const bits = new DataView(new ArrayBuffer(8));

/**
 * A number as two integers from 0 to 2^32 - 1 that are in the numbers' own order, the first one before the second.
 *
 * Chroma's JSON parser reads one fraction in five a last bit off, and compares integers alone without loss.
 */
export function halvesOf(value: number): readonly [high: number, low: number] {
  bits.setFloat64(0, value === 0 ? 0 : value);
  const high = bits.getUint32(0);
  const low = bits.getUint32(4);
  // Negative numbers are larger the smaller their bits are.
  return high >= 2 ** 31 ? [~high >>> 0, ~low >>> 0] : [high + 2 ** 31, low];
}

/** The keys that filters ask for, {@link RECORD} not among them. */
export function flatten(metadata: Metadata | undefined): Flat {
  // Without a prototype, `__proto__` is a key like any other.
  const flat = Object.create(null) as Flat;
  if (metadata) flattenInto(flat, metadata, '');
  return flat;
}

function flattenInto(flat: Flat, metadata: Metadata, prefix: string): void {
  for (const [key, value] of Object.entries(metadata)) {
    // A filter's field is split at its dots, so no field reaches a key that holds one.
    if (key.includes('.')) continue;
    const field = prefix + key;
    if (value === null) flat[nullKey(field)] = 1;
    else if (typeof value === 'number') flattenNumber(flat, field, value);
    else if (typeof value !== 'object') flat[keyOf(field)] = value;
    else if (isList(value)) {
      flat[arrayKey(field)] = 1;
      for (const item of value) flat[itemKey(field, item)] = 1;
    } else flattenInto(flat, value, `${field}.`);
  }
}

function flattenNumber(flat: Flat, field: string, value: number): void {
  if (Number.isSafeInteger(value)) {
    flat[keyOf(field)] = value;
    return;
  }
  [flat[halfKeys(field)[0]], flat[halfKeys(field)[1]]] = halvesOf(value);
  // For people; those that Chroma would not read exactly are left out, lest they pass for a neighbour.
  if (isShort(value)) flat[keyOf(field)] = value;
}

/** Whether any parser reads the decimal exactly: a quotient of two integers below 2^53 that are both exact. */
function isShort(value: number): boolean {
  return Math.abs(value) < 2 ** 53 && /^-?\d+\.\d+$/.test(String(value)) && String(value).length <= 16;
}

function isList(value: object): value is readonly (string | number)[] {
  return Array.isArray(value);
}

/** What lies under {@link RECORD}. */
export type StoredRecord = {
  readonly metadata?: Metadata;
  /** The record has a text, which lies in Chroma's document; without this a document means nothing. */
  readonly text?: true;
  /** The values as they were given, where Chroma changes them: see `packExact`. */
  readonly exact?: string;
};

/** Whether a metadata object was written by another tool than this driver. */
export function isOurs(key: string): boolean {
  return key.startsWith(OURS);
}
