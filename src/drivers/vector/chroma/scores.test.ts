import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClientQuery, DistanceMetric, VectorClient, VectorRecord } from '../../../driver.ts';
import { nearer } from '../../../connectors/vector/score.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { numbers, vectorConnector } from '../../../testing/vector-suite.ts';
import { contextOf, startClients, type ChromaClients } from './clients.fixture.ts';
import driver from './index.ts';

const METRICS: readonly DistanceMetric[] = ['cosine', 'euclidean', 'dot'];
const QUERY: ClientQuery = { topK: 10, includeValues: false, includeMetadata: false };

let chroma: ChromaClients;
beforeAll(async () => {
  chroma = await startClients();
});
afterAll(async () => chroma.close());

type Values = readonly number[];
const ids = (matches: readonly { readonly id: string }[]): readonly string[] => matches.map(({ id }) => id);

async function filled(metric: DistanceMetric, records: readonly VectorRecord[]): Promise<VectorClient> {
  const client = await chroma.open({}, contextOf(records[0]?.values.length ?? 0, metric));
  for (let at = 0; at < records.length; at += 500)
    expect(await client.upsert(records.slice(at, at + 500), NEVER)).toEqual([]);
  return client;
}

/** The cosine, the distance or the dot product, in float64. */
function exactly(metric: DistanceMetric, a: Values, b: VectorRecord['values']): number {
  const sum = (term: (x: number, y: number) => number): number =>
    a.reduce((total, x, i) => total + term(x, b[i] ?? 0), 0);
  if (metric === 'euclidean') return Math.sqrt(sum((x, y) => (x - y) ** 2));
  const dot = sum((x, y) => x * y);
  return metric === 'dot' ? dot : dot / Math.sqrt(sum((x) => x * x)) / Math.sqrt(sum((_, y) => y * y));
}

/** The nearest first in float64, equals by id. */
function ranked(metric: DistanceMetric, query: Values, records: readonly VectorRecord[]) {
  return records
    .map(({ id, values }) => ({ id, rawScore: exactly(metric, query, values) }))
    .sort(nearer(metric));
}

describe('raw scores', () => {
  it.each<[DistanceMetric, number]>([
    ['cosine', 0.6],
    ['euclidean', Math.sqrt(20)],
    ['dot', 15],
  ])('by %s are neither squared nor taken from one', async (metric, expected) => {
    const client = await filled(metric, [{ id: 'a', values: [3, 4] }]);
    const [match] = await client.search([5, 0], QUERY, NEVER);
    expect(match?.rawScore).toBeCloseTo(expected, 6);
  });

  describe.each(METRICS)('by %s', (metric) => {
    it.each([1e-12, 1e-3, 1, 1e3, 1e12])(
      'of near duplicates of length %d are those of float64 within 1e-5',
      async (length) => {
        const [direction = []] = numbers(1, 96, 8);
        const scale = length / Math.hypot(...direction);
        const query = direction.map((value) => Math.fround(value * scale));
        const shifts = [0, 1e-7, 1e-6, -1e-5, 1e-4, 1e-3, -1e-2];
        const records = shifts.map((by, n) => ({
          id: `off by ${by}`,
          values: query.map((value, i) => Math.fround(i % 7 === n ? value * (1 + by) : value)),
        }));
        const found = await (await filled(metric, records)).search(query, QUERY, NEVER);
        const exact = new Map(ranked(metric, query, records).map(({ id, rawScore }) => [id, rawScore]));
        expect([...exact.keys()].sort()).toEqual([...ids(found)].sort());
        for (const { id, rawScore } of found) {
          const expected = exact.get(id) ?? NaN;
          expect(Math.abs(rawScore - expected), id).toBeLessThan(1e-5 * Math.max(1, Math.abs(expected)));
        }
      },
    );
  });

  it('of distances keep their digits when these are small beside the vectors', async () => {
    const query = [1e6, 2e6, 3e6];
    const client = await filled('euclidean', [{ id: 'a', values: [1e6, 2e6, 3e6 + 0.25] }]);
    expect(await client.search(query, QUERY, NEVER)).toEqual([{ id: 'a', rawScore: 0.25 }]);
  });

  it('that float32 cannot hold are those of float64, in their order', async () => {
    const records = [3e30, 1e30, 2e30].map((x) => ({ id: `${x}`, values: [x, 0].map(Math.fround) }));
    const far = { id: 'near', values: [1, 1] };
    const client = await filled('euclidean', [...records, far]);
    const found = await client.search([0, 0], QUERY, NEVER);
    expect(ids(found)).toEqual(['near', '1e+30', '2e+30', '3e+30']);
    expect((found[3]?.rawScore ?? 0) / 3e30).toBeCloseTo(1, 6);
  });

  it('by cosine of parallel vectors are one and no more', async () => {
    const [values = []] = numbers(1, 200, 5);
    const records = Array.from({ length: 40 }, (_, i) => ({
      id: `v${i}`,
      values: values.map((value) => Math.fround(value * 1.37 ** i)),
    }));
    const found = await (await filled('cosine', records)).search(values, { ...QUERY, topK: 40 }, NEVER);
    expect(found).toHaveLength(40);
    for (const { rawScore } of found) {
      expect(rawScore).toBeLessThanOrEqual(1);
      expect(rawScore).toBeCloseTo(1, 5);
    }
  });
});

describe('a query by cosine', () => {
  it.each([1e-45, 1e-30, 1e-12, 1e12, 1e30, 2e38])('of length %d has a direction all the same', async (x) => {
    const client = await filled('cosine', [
      { id: 'along', values: [2, 0] },
      { id: 'across', values: [0, 1] },
      { id: 'against', values: [-1, 0] },
    ]);
    const found = await client.search([Math.fround(x), 0], QUERY, NEVER);
    expect(found.map(({ id, rawScore }) => [id, Math.round(rawScore * 1e6) / 1e6])).toEqual([
      ['along', 1],
      ['across', 0],
      ['against', -1],
    ]);
  });
});

describe('minScore', () => {
  it.each<[DistanceMetric, Values]>([
    ['cosine', [0, 1]],
    ['euclidean', [1, 1]],
    ['dot', [0, 3]],
  ])('by %s keeps what lies on it, and nothing less', async (metric, onHalf) => {
    const nearerOnes = { cosine: [2, 1], euclidean: [1, 0.5], dot: [2, 1] };
    const fartherOnes = { cosine: [-1, 9], euclidean: [1, 1.5], dot: [-1, 1] };
    const context = contextOf(2, metric);
    const connector = vectorConnector(await chroma.open({}, context), context, driver.capabilities);
    await connector.upsertVectors([
      { id: 'nearer', values: nearerOnes[metric] },
      { id: 'on', values: onHalf },
      { id: 'farther', values: fartherOnes[metric] },
    ]);
    expect(ids(await connector.search([1, 0], { minScore: 0.5 }))).toEqual(['nearer', 'on']);
    expect(ids(await connector.search([1, 0], { minScore: 0.5 + 2 ** -53 }))).toEqual(['nearer']);
  });
});

describe('equally near records at the cut', () => {
  it.each(METRICS)('by %s are those with the smallest ids, among 700', async (metric) => {
    const id = (i: number): string => `t${String((i * 11) % 700).padStart(4, '0')}`;
    const client = await filled(metric, [
      ...Array.from({ length: 700 }, (_, i) => ({ id: id(i), values: [1, 2, 3] })),
      { id: 'nearer', values: { cosine: [1, 1, 1], euclidean: [1, 1, 1], dot: [3, 3, 3] }[metric] },
    ]);
    const found = await client.search([1, 1, 1], { ...QUERY, topK: 4 }, NEVER);
    expect(ids(found)).toEqual(['nearer', 't0000', 't0001', 't0002']);
  });

  it('are so among parallel vectors, whose distances Chroma rounds to below 0', async () => {
    const [values = []] = numbers(1, 200, 5);
    const records = Array.from({ length: 120 }, (_, i) => ({
      id: `t${String((i * 7) % 120).padStart(3, '0')}`,
      values: values.map((value) => Math.fround(value * 1.1 ** i)),
    }));
    const client = await filled('cosine', records);
    const all = await client.search(values, { ...QUERY, topK: 120 }, NEVER);
    for (const topK of [1, 2, 5, 10])
      expect(await client.search(values, { ...QUERY, topK }, NEVER)).toEqual(all.slice(0, topK));
  });
});

describe.each(METRICS)('among 5,000 records by %s', (metric) => {
  const records = numbers(5_000, 16, 3).map((values, i) => ({
    id: `v${i}`,
    values,
    metadata: { one: i % 100, ...(i % 1_000 === 7 && { rare: true }) },
  }));
  const [query = []] = numbers(1, 16, 9);
  let client: VectorClient;
  beforeAll(async () => {
    client = await filled(metric, records);
  });

  it('a search fills topK from the one in a hundred that a filter leaves', async () => {
    const few = records.filter(({ metadata }) => metadata.one === 7);
    for (const topK of [1, 20, 50, 60]) {
      const found = await client.search(query, { ...QUERY, topK, filter: { one: 7 } }, NEVER);
      expect(ids(found)).toEqual(ids(ranked(metric, query, few).slice(0, topK)));
    }
    expect(await client.search(query, { ...QUERY, filter: { rare: true } }, NEVER)).toHaveLength(5);
    expect(await client.search(query, { ...QUERY, filter: { rare: 'yes' } }, NEVER)).toEqual([]);
  });

  it('a search for all of them finds all of them', async () => {
    const found = await client.search(query, { ...QUERY, topK: 6_000 }, NEVER);
    expect(found).toHaveLength(5_000);
    expect(new Set(ids(found)).size).toBe(5_000);
  });

  it('a search by the graph finds nearly what comparing with all of them finds', async () => {
    const found = new Set(ids(await client.search(query, { ...QUERY, topK: 100 }, NEVER)));
    const best = ranked(metric, query, records).slice(0, 100);
    expect(best.filter(({ id }) => found.has(id)).length).toBeGreaterThanOrEqual(95);
  });
});

describe('vectors that are nearly parallel', () => {
  it('are all found, though the graph does not lead to each of them', async () => {
    const records = numbers(1_500, 8, 2).map((values, i) => ({
      id: `v${i}`,
      values: values.map((value, at) => Math.fround((at === 0 ? 1 : 0) + value * 1e-4)),
      metadata: { half: i % 2 },
    }));
    const client = await filled('cosine', records);
    const query = [1, 0, 0, 0, 0, 0, 0, 0];
    expect(await client.search(query, { ...QUERY, topK: 2_000 }, NEVER)).toHaveLength(1_500);
    const half = await client.search(query, { ...QUERY, topK: 2_000, filter: { half: 1 } }, NEVER);
    expect(half).toHaveLength(750);
  });
});
