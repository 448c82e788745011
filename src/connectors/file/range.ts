import { invalidField } from '../../errors/error.ts';
import type { ByteRange } from './driver.ts';

/**
 * Where the bytes of a range begin in a file of that size, and how many they are; the whole without a range.
 *
 * @throws ConnectorError `invalid_argument` when the range starts at or after the end.
 */
export function spanOf(
  range: ByteRange | undefined,
  sizeBytes: number,
): { readonly start: number; readonly length: number } {
  if (range === undefined) return { start: 0, length: sizeBytes };
  if (range.start >= sizeBytes) throw invalidField('range', `starts before the end, at ${sizeBytes} bytes`);
  const last = Math.min(range.end ?? sizeBytes - 1, sizeBytes - 1);
  return { start: range.start, length: last - range.start + 1 };
}
