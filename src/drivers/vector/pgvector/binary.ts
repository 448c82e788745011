/**
 * PostgreSQL's binary formats, as far as this driver needs them.
 *
 * A batch of 1,000 vectors of 384 numbers is 1.5 MB this way and needs no escaping; as text it is three times as long.
 * An array is its dimensions, then each element with its length:
 * https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/arrayfuncs.c (`array_recv`, read 2026-11-25).
 */
export const TEXT_OID = 25;
export const JSONB_OID = 3802;

/** Strings, in UTF-8. */
export function textArray(items: readonly (string | null)[]): Buffer {
  return array(
    TEXT_OID,
    items.map((item) => (item === null ? null : Buffer.from(item))),
  );
}

/** JSON texts; the format begins with its version, 1. */
export function jsonbArray(items: readonly (string | null)[]): Buffer {
  return array(
    JSONB_OID,
    items.map((item) => (item === null ? null : Buffer.from(`\u0001${item}`))),
  );
}

export function vectorArray(vectors: readonly (readonly number[] | Float32Array)[], oid: number): Buffer {
  return array(oid, vectors.map(vectorBytes));
}

/** The dimension, two bytes of nothing, and float32 numbers with the highest byte first. */
export function vectorBytes(values: readonly number[] | Float32Array): Buffer {
  const bytes = Buffer.allocUnsafe(4 + values.length * 4);
  bytes.writeUInt16BE(values.length, 0);
  bytes.writeUInt16BE(0, 2);
  const numbers = Float32Array.from(values);
  const body = bytes.subarray(4);
  body.set(new Uint8Array(numbers.buffer));
  if (IS_LITTLE_ENDIAN) body.swap32();
  return bytes;
}

/** The numbers of what `vector_send` answers, as PostgreSQL writes bytes: `\x` and hexadecimal digits. */
export function vectorOf(hex: string): readonly number[] {
  // A copy of its own: the pool that short buffers share is not aligned to four bytes.
  const bytes = Buffer.from(Uint8Array.from(Buffer.from(hex.slice(2 + 8), 'hex')).buffer);
  if (IS_LITTLE_ENDIAN) bytes.swap32();
  return Array.from(new Float32Array(bytes.buffer));
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function array(oid: number, items: readonly (Buffer | null)[]): Buffer {
  const head = Buffer.alloc(20);
  head.writeInt32BE(1, 0);
  head.writeInt32BE(items.includes(null) ? 1 : 0, 4);
  head.writeInt32BE(oid, 8);
  head.writeInt32BE(items.length, 12);
  head.writeInt32BE(1, 16);
  const parts: Buffer[] = [head];
  for (const item of items) {
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(item === null ? -1 : item.length);
    parts.push(length);
    if (item !== null) parts.push(item);
  }
  return Buffer.concat(parts);
}
