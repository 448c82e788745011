import { quantile } from '../../bench/pairs.ts';

/** `p50 12 ms, p99 30 ms, at most 31 ms (of 40)`. */
export function figures(values: readonly number[]): string {
  const at = (share: number) => quantile(values, share).toFixed(0);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, at most ${at(1)} ms (of ${values.length})`;
}
