import type { DistanceMetric } from '../../../driver.ts';

type Numbers = readonly number[] | Float32Array;

/**
 * The cosine, the euclidean distance or the dot product of two vectors, in float64.
 *
 * Pinecone's own scores are the square of the distance for `euclidean`, and approximate for all metrics: a cosine of
 * 1.0011 has been seen for equal directions.
 */
export function exactScore(metric: DistanceMetric, a: Numbers, b: Numbers): number {
  if (metric === 'euclidean') return Math.sqrt(sum(a, b, (x, y) => (x - y) ** 2));
  const dot = sum(a, b, (x, y) => x * y);
  if (metric === 'dot') return dot;
  const length = Math.sqrt(sum(a, a, (x) => x * x) * sum(b, b, (x) => x * x));
  return Math.min(1, Math.max(-1, dot / length));
}

function sum(a: Numbers, b: Numbers, term: (x: number, y: number) => number): number {
  let total = 0;
  // The client has seen to it that both are of the same length.
  for (let i = 0; i < a.length; i++) total += term(a[i] ?? 0, b[i] ?? 0);
  return total;
}
