import type { DistanceMetric } from '../../../driver.ts';
import { lengthOf } from './exact-values.ts';

/**
 * The raw score of what Chroma calls a distance: 1 - cos, the square of the euclidean distance, or 1 - p.
 *
 * Chroma reckons in float32. That is within 1e-6 for the cosine of all but parallel vectors, too, and for the distance
 * of all but equal ones; the vectors themselves, which would make it exact, are five times the answer.
 */
export function rawScoreOf(metric: DistanceMetric, distance: number): number {
  if (metric === 'euclidean') return Math.sqrt(Math.max(0, distance));
  return metric === 'cosine' ? Math.min(1, Math.max(-1, 1 - distance)) : 1 - distance;
}

/** The same from the vectors, in float64. */
export function scoreIn(
  metric: DistanceMetric,
  a: readonly number[] | Float32Array,
  b: readonly number[] | Float32Array,
): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] ?? 0;
    const y = b[i] ?? 0;
    sum += metric === 'euclidean' ? (x - y) ** 2 : x * y;
  }
  if (metric === 'euclidean') return Math.sqrt(sum);
  return metric === 'cosine' ? Math.min(1, Math.max(-1, sum / (lengthOf(a) * lengthOf(b)))) : sum;
}
