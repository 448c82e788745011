import { numbersOf, type Metadata } from '../../../driver.ts';

/**
 * A number as two integers of 32 bits that are in its order: first by `high`, then by `low`.
 *
 * Qdrant compares numbers as float64, but reads decimals with an error of up to one unit in the last place
 * (https://github.com/serde-rs/json/issues/1336, read 2026-11-25), so that neighbours may change places. Integers
 * below 2^53 are read exactly.
 */
export type OrderedNumber = { readonly high: number; readonly low: number };

/** 0 and -0 are one number. */
export function orderedNumber(value: number): OrderedNumber {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value === 0 ? 0 : value);
  const high = bits.getUint32(0);
  const low = bits.getUint32(4);
  // The bits of positive numbers are in their order; those of negative ones are in the opposite order, and below.
  return high >= 0x8000_0000 ? { high: ~high >>> 0, low: ~low >>> 0 } : { high: high + 0x8000_0000, low };
}

/** The numbers of one record by field. */
export function orderedNumbersOf(
  metadata: Metadata | undefined,
): readonly (OrderedNumber & { readonly field: string })[] {
  return numbersOf(metadata).map(({ field, value }) => ({ field, ...orderedNumber(value) }));
}
