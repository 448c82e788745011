import { Refusal } from './qdrant-filter.fixture.ts';

/**
 * JSON as Qdrant reads it: with serde_json, whose decimals are a best effort unless `float_roundtrip` is on.
 *
 * The digits as an integer, times or over a power of ten: https://github.com/serde-rs/json/issues/1336 and
 * https://docs.rs/crate/serde_json/latest/features (read 2026-11-25).
 */
export function parsedByQdrant(text: string): unknown {
  const read = (_key: string, value: unknown, { source }: { readonly source: string }): unknown =>
    typeof value === 'number' ? bestEffort(source) : value;
  try {
    // Node hands the source text to the reviver, which TypeScript's library does not know yet.
    return JSON.parse(text, read as Parameters<typeof JSON.parse>[1]) as unknown;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(400, `Format error in JSON body: ${String(error)}`);
  }
}

function bestEffort(source: string): number {
  const [, sign = '', whole = '', fraction = '', power = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(source) ?? [];
  if (fraction === '' && power === '0') return Number(source);
  let value = Number(BigInt(whole + fraction));
  let exponent = Number(power) - fraction.length;
  for (; exponent < -308; exponent += 308) value /= 1e308;
  const scale = Number(`1e${Math.abs(exponent)}`);
  value = exponent < 0 ? value / scale : value * scale;
  if (!Number.isFinite(value)) throw new Refusal(400, 'Format error in JSON body: number out of range');
  return sign === '-' ? -value : value;
}
