import { beforeAll, describe, expect, it } from 'vitest';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type { DistanceMetric } from '../connectors/vector/driver.ts';
import { nearer, score } from '../connectors/vector/score.ts';
import { fill, numbers, type VectorProof } from './vector-suite.ts';

const DIMENSION = 33;
const [QUERY = []] = numbers(1, DIMENSION, 99);

/** What can be worked out by hand; each trap is another number than the metric's own. */
const BY_HAND: Readonly<Record<DistanceMetric, readonly ByHand[]>> = {
  cosine: [
    { id: 'the same direction, twice as long', values: [2, 4], rawScore: 1 },
    { id: 'orthogonal', values: [2, -1], rawScore: 0 },
    { id: 'opposite', values: [-3, -6], rawScore: -1 },
  ],
  euclidean: [
    { id: 'itself', values: [1, 2], rawScore: 0 },
    { id: 'five away, and not 25', values: [4, 6], rawScore: 5 },
    { id: 'half away, and not a quarter', values: [1, 2.5], rawScore: 0.5 },
  ],
  dot: [
    { id: 'eleven, and neither -11 nor -10', values: [3, 4], rawScore: 11 },
    { id: 'nothing', values: [2, -1], rawScore: 0 },
    { id: 'less than nothing', values: [-1, -1.5], rawScore: -4 },
  ],
};
type ByHand = { readonly id: string; readonly values: readonly number[]; readonly rawScore: number };

/** Scores on every declared metric, and which records they choose. */
export function testScores({ capabilities, collection }: VectorProof): void {
  for (const metric of capabilities.metrics) {
    describe(`scores by ${metric}`, () => {
      let connector: VectorConnector;
      beforeAll(async () => {
        connector = await collection(DIMENSION, metric);
      });

      /** Fills the collection, and proves every score; those that differ less than the tolerance come in any order. */
      const expectScores = async (vectors: readonly { readonly id: string; readonly values: Values }[]) => {
        await fill(connector, vectors);
        const found = await connector.search(QUERY, { topK: vectors.length });
        const reference = new Map(
          vectors.map(({ id, values }) => [id, inFloat64(metric, QUERY, values)] as const),
        );
        expect(found.map(({ id }) => id).sort()).toEqual([...reference.keys()].sort());
        for (const match of found) expectScore(match, metric, reference.get(match.id));
        expect(found.map(({ rawScore }) => rawScore)).toEqual(
          found.toSorted(nearer(metric)).map(({ rawScore }) => rawScore),
        );
      };

      it('are those of float64 arithmetic within 1e-5, best first', async () => {
        const vectors = numbers(200, DIMENSION).map((values, i) => ({ id: `v${i}`, values }));
        await fill(connector, vectors);
        const found = await connector.search(QUERY, { topK: 50 });
        const reference = vectors
          .map(({ id, values }) => ({ id, rawScore: inFloat64(metric, QUERY, values) }))
          .sort(nearer(metric))
          .slice(0, 50);
        expect(found.map(({ id }) => id)).toEqual(reference.map(({ id }) => id));
        for (const [i, match] of found.entries()) expectScore(match, metric, reference[i]?.rawScore);
      });

      it('are the numbers that one works out by hand', async () => {
        const padded = (values: Values): Values => QUERY.map((_, i) => values[i] ?? 0);
        await fill(
          connector,
          BY_HAND[metric].map(({ id, values }) => ({ id, values: padded(values) })),
        );
        const found = await connector.search(padded([1, 2]));
        expect(found.map(({ id }) => id)).toEqual(
          BY_HAND[metric].toSorted(nearer(metric)).map(({ id }) => id),
        );
        for (const match of found)
          expectScore(match, metric, BY_HAND[metric].find(({ id }) => id === match.id)?.rawScore);
      });

      it('are exact for what is all but equal, and for what is all but opposite', async () => {
        const shifted = (by: number, sign = 1): Values =>
          QUERY.map((value, i) => Math.fround(sign * value + (i === 7 ? by : 0)));
        await expectScores([
          { id: 'equal', values: QUERY },
          { id: 'off by 1e-4', values: shifted(1e-4) },
          { id: 'off by 1e-3', values: shifted(1e-3) },
          { id: 'opposite', values: shifted(0, -1) },
          { id: 'opposite but for 1e-3', values: shifted(1e-3, -1) },
        ]);
      });

      it('are exact for long vectors beside short ones, which come back as they were', async () => {
        const scales = [1e-6, 1e-3, 1, 1e3, 1e6];
        const vectors = numbers(10, DIMENSION, 5).map((values, i) => ({
          id: `v${i}`,
          values: values.map((value) => Math.fround(value * (scales[i % scales.length] ?? 1))),
        }));
        await expectScores(vectors);
        expect(await connector.fetchVectors(vectors.map(({ id }) => id))).toEqual(vectors);
      });

      it('leave out what lies below minScore, and keep what lies on it', async () => {
        await fill(
          connector,
          numbers(60, DIMENSION).map((values, i) => ({ id: `v${i}`, values })),
        );
        const all = await connector.search(QUERY, { topK: 60 });
        const minScore = all[20]?.score ?? NaN;
        expect(await connector.search(QUERY, { topK: 60, minScore })).toEqual(all.slice(0, 21));
        expect(await connector.search(QUERY, { topK: 5, minScore })).toEqual(all.slice(0, 5));
      });

      it('are in the order of the ids where they are equal', async () => {
        const same = Array.from({ length: 40 }, (_, i) => ({ id: `t${(i * 7) % 40}`, values: QUERY }));
        await fill(connector, same);
        const ids = same.map(({ id }) => id).sort();
        expect((await connector.search(QUERY, { topK: 5 })).map(({ id }) => id)).toEqual(ids.slice(0, 5));
      });

      if (capabilities.filter.includes('eq')) {
        it('fill topK from the records that a filter leaves, though they are one in a hundred and the farthest', async () => {
          const records = numbers(3_000, DIMENSION, 7)
            .map((values, i) => ({ id: `v${i}`, values, rawScore: inFloat64(metric, QUERY, values) }))
            .sort(nearer(metric))
            .map(({ id, values }, rank) => ({ id, values, metadata: { rare: rank >= 2_970 } }));
          await fill(connector, records);
          const rare = records.filter(({ metadata }) => metadata.rare).map(({ id }) => id);
          const found = await connector.search(QUERY, { topK: 20, filter: { rare: true } });
          expect(found).toHaveLength(20);
          expect(rare).toEqual(expect.arrayContaining(found.map(({ id }) => id)));
          expect(await connector.search(QUERY, { topK: 50, filter: { rare: true } })).toHaveLength(30);
        });
      }
    });
  }
}

type Values = readonly number[];

function expectScore(
  match: { readonly score: number; readonly rawScore: number },
  metric: DistanceMetric,
  raw = NaN,
): void {
  expect(Math.abs(match.score - score(metric, raw))).toBeLessThan(1e-5);
  expect(Math.abs(match.rawScore - raw)).toBeLessThan(1e-5 * Math.max(1, Math.abs(raw)));
}

function inFloat64(metric: DistanceMetric, a: Values, b: Values): number {
  const sum = (term: (x: number, y: number) => number): number =>
    a.reduce((total, x, i) => total + term(x, b[i] ?? 0), 0);
  if (metric === 'euclidean') return Math.sqrt(sum((x, y) => (x - y) ** 2));
  const dot = sum((x, y) => x * y);
  if (metric === 'dot') return dot;
  return dot / Math.sqrt(sum((x) => x * x) * b.reduce((total, y) => total + y * y, 0));
}
