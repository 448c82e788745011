import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nearer, score } from './score.ts';

describe('score', () => {
  it.each([
    ['cosine', 1, 1],
    ['cosine', 0, 0.5],
    ['cosine', -1, 0],
    ['cosine', 1.0000001, 1],
    ['euclidean', 0, 1],
    ['euclidean', 3, 0.25],
    ['dot', 0, 0.5],
    ['dot', 1e300, 1],
    ['dot', -1e300, 0],
  ] as const)('of %s %d is %d', (metric, rawScore, expected) => {
    expect(score(metric, rawScore)).toBe(expected);
  });

  it('grows with nearness and stays within 0 and 1', () => {
    const raw = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(raw, raw, (p, q) => {
        const [low, high] = p < q ? [p, q] : [q, p];
        expect(score('dot', low)).toBeLessThanOrEqual(score('dot', high));
        expect(score('euclidean', Math.abs(p))).toBeGreaterThan(0);
        expect(score('dot', p)).toBeGreaterThanOrEqual(0);
        expect(score('dot', p)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('nearer', () => {
  it('puts the nearest first and ties in code-unit order of their ids', () => {
    const matches = [
      { id: 'b', rawScore: 1 },
      { id: 'B', rawScore: 1 },
      { id: 'c', rawScore: 2 },
    ];
    expect(matches.toSorted(nearer('dot')).map(({ id }) => id)).toEqual(['c', 'B', 'b']);
    expect(matches.toSorted(nearer('euclidean')).map(({ id }) => id)).toEqual(['B', 'b', 'c']);
  });

  it('still tells dot products apart whose scores are both 1', () => {
    const matches = [
      { id: 'a', rawScore: 1000 },
      { id: 'b', rawScore: 2000 },
    ];
    expect(matches.toSorted(nearer('dot'))[0]?.id).toBe('b');
  });
});
