/**
 * The values of a vector beside those that Chroma gives back.
 *
 * In the cosine space Chroma keeps a vector at length 1, and multiplies it by its length again when it is read: every
 * value comes back a last bit or two off. The low four bits of each float32 say which of its neighbours it was, and
 * take 0.7 characters a value, where the value itself would take 5.4.
 */
const LOW = 15;
const HALF = 8;

/** Values below this, as they are and as a share of the vector's length, lose more than their last bits. */
const SMALLEST = 1e-30;

/** What {@link unpackExact} needs beside Chroma's own values: `low:` or, where that is not enough, `all:` and base64. */
export function packExact(values: Float32Array): string {
  const smallest = SMALLEST * Math.max(1, lengthOf(values));
  const isLossy = values.some((value) => value !== 0 && Math.abs(value) < smallest);
  if (isLossy)
    return `all:${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')}`;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const packed = Buffer.alloc((values.length + 1) >> 1);
  for (let i = 0; i < bits.length; i++)
    packed[i >> 1] = (packed[i >> 1] ?? 0) | (((bits[i] ?? 0) & LOW) << (i % 2 === 0 ? 0 : 4));
  return `low:${packed.toString('base64')}`;
}

/** The values that were written, given what Chroma read; without `exact`, those that Chroma read. */
export function unpackExact(read: readonly number[], exact: string | undefined): readonly number[] {
  const values = Float32Array.from(read);
  const packed = exact === undefined ? undefined : Buffer.from(exact.slice(4), 'base64');
  if (packed && exact?.startsWith('all:') && packed.length === values.byteLength)
    return Array.from(values, (_, i) => packed.readFloatLE(i * 4));
  if (packed && packed.length === (values.length + 1) >> 1) {
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < bits.length; i++)
      bits[i] = nearest(bits[i] ?? 0, ((packed[i >> 1] ?? 0) >> (i % 2 === 0 ? 0 : 4)) & LOW);
  }
  return Array.from(values);
}

/** The number nearest to `read` that ends in these four bits; neighbouring bits are neighbouring float32 numbers. */
function nearest(read: number, low: number): number {
  const off = low - (read & LOW);
  if (off > HALF) return read + off - (LOW + 1);
  return off < -HALF ? read + off + (LOW + 1) : read + off;
}

export function lengthOf(values: readonly number[] | Float32Array): number {
  let squares = 0;
  for (const value of values) squares += value * value;
  return Math.sqrt(squares);
}
