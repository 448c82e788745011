import type { DistanceMetric } from './driver.ts';

/**
 * The score of a raw score, from 0 to 1 and larger for nearer: (1+cos)/2, 1/(1+d), 1/(1+e^-p).
 *
 * Far from 0 the score of a dot product reaches 0 or 1 exactly; order matches by {@link nearer}, never by score.
 */
export function score(metric: DistanceMetric, rawScore: number): number {
  if (metric === 'cosine') return Math.min(1, Math.max(0, (1 + rawScore) / 2));
  if (metric === 'euclidean') return 1 / (1 + rawScore);
  // e^-p overflows for a large negative p, and e^p for a large positive one: use the side that does not.
  return rawScore >= 0 ? 1 / (1 + Math.exp(-rawScore)) : Math.exp(rawScore) / (1 + Math.exp(rawScore));
}

type Ranked = { readonly id: string; readonly rawScore: number };

/** An order for `sort` that puts the nearest first, and equally near ones by id in code-unit order. */
export function nearer(metric: DistanceMetric): (a: Ranked, b: Ranked) => number {
  const sign = metric === 'euclidean' ? 1 : -1;
  return (a, b) => {
    if (a.rawScore !== b.rawScore) return a.rawScore < b.rawScore ? -sign : sign;
    return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
  };
}
