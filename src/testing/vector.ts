import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type {
  DistanceMetric,
  Filter,
  FilterOperator,
  VectorCapabilities,
  VectorClient,
  VectorDriver,
  VectorOpenContext,
  VectorRecord,
} from '../connectors/vector/driver.ts';
import { matches, operatorsOf, parseFilter } from '../connectors/vector/filter.ts';
import { score } from '../connectors/vector/score.ts';
import { CORPUS, FILTERS, NEEDS } from './vector-corpus.ts';
import { idleVectorConnector, numbers, vectorConnector, vectorContext } from './vector-suite.ts';

/** The driver to prove, and how to open it. */
export type VectorSuite<Options extends z.ZodObject> = {
  readonly driver: VectorDriver<Options>;
  /** Opens the collection that the context names by its `connectorId` and `folder`; it is empty at first. */
  readonly open: (context: VectorOpenContext) => Promise<VectorClient>;
};

const METRICS: readonly DistanceMetric[] = ['cosine', 'euclidean', 'dot'];

/**
 * Registers the tests that every vector driver passes: what it declares is proven, what it does not is refused before
 * any I/O.
 */
export function testVectorDriver<Options extends z.ZodObject>({ driver, open }: VectorSuite<Options>): void {
  const { capabilities } = driver;
  describe(`vector driver ${driver.id}`, () => {
    const scratch = mkdtempSync(path.join(tmpdir(), 'vectors-'));
    const opened: VectorClient[] = [];
    const start = async (context: VectorOpenContext): Promise<VectorClient> => {
      const client = await open(context);
      opened.push(client);
      return client;
    };
    const collection = async (dimension: number, metric = metricOf(capabilities)) => {
      const context = vectorContext(scratch, dimension, metric);
      return vectorConnector(await start(context), context, capabilities);
    };
    afterAll(async () => {
      for (const client of opened) await client.close();
      rmSync(scratch, { recursive: true, force: true });
    });

    testFilters(capabilities, () => collection(3));
    testScores(capabilities, collection);
    testRecords(() => collection(3));
    testRefusals(capabilities);
    testReopening({ start, capabilities, scratch });
  });
}

function testFilters(capabilities: VectorCapabilities, open: () => Promise<VectorConnector>): void {
  describe('filters', () => {
    let connector: VectorConnector;
    beforeAll(async () => {
      connector = await open();
      await connector.upsertVectors(CORPUS);
    });

    for (const filter of FILTERS.filter((one) => isDeclared(one, capabilities))) {
      it(`finds what the reference finds for ${JSON.stringify(filter)}`, async () => {
        const found = await connector.search([1, 0, 0], { filter, topK: CORPUS.length });
        expect(found.map(({ id }) => id).sort()).toEqual(expected(filter));
        if (capabilities.countByFilter)
          expect(await connector.countVectors({ filter })).toBe(expected(filter).length);
      });
    }

    if (capabilities.deleteByFilter && capabilities.filter.includes('eq')) {
      it('deletes what a filter matches and nothing else', async () => {
        const own = await open();
        await own.upsertVectors(CORPUS);
        expect(await own.deleteVectors({ filter: { a: 1 } })).toEqual({ deleted: expected({ a: 1 }).length });
        const left = await own.search([1, 0, 0], { topK: CORPUS.length });
        const gone = new Set(expected({ a: 1 }));
        expect(left.map(({ id }) => id).sort()).toEqual(
          CORPUS.map(({ id }) => id).filter((id) => !gone.has(id)),
        );
      });
    }
  });
}

function testScores(
  capabilities: VectorCapabilities,
  collection: (dimension: number, metric: DistanceMetric) => Promise<VectorConnector>,
): void {
  const dimension = 33;
  const vectors = numbers(200, dimension);
  const [query = []] = numbers(1, dimension, 99);
  for (const metric of capabilities.metrics) {
    describe(`scores by ${metric}`, () => {
      let connector: VectorConnector;
      beforeAll(async () => {
        connector = await collection(dimension, metric);
        await connector.upsertVectors(vectors.map((values, i) => ({ id: `v${i}`, values })));
      });

      it('are those of float64 arithmetic within 1e-5, best first', async () => {
        const found = await connector.search(query, { topK: 50 });
        const reference = vectors
          .map((values, i) => ({ id: `v${i}`, rawScore: inFloat64(metric, query, values) }))
          .sort((a, b) => (metric === 'euclidean' ? a.rawScore - b.rawScore : b.rawScore - a.rawScore))
          .slice(0, 50);
        expect(found.map(({ id }) => id)).toEqual(reference.map(({ id }) => id));
        for (const [i, match] of found.entries()) {
          const raw = reference[i]?.rawScore ?? NaN;
          expect(Math.abs(match.score - score(metric, raw))).toBeLessThan(1e-5);
          expect(Math.abs(match.rawScore - raw)).toBeLessThan(1e-5 * Math.max(1, Math.abs(raw)));
        }
      });

      it('leave out what lies below minScore, and keep what lies on it', async () => {
        const all = await connector.search(query, { topK: 200 });
        const minScore = all[20]?.score ?? NaN;
        expect(await connector.search(query, { topK: 200, minScore })).toEqual(all.slice(0, 21));
      });

      it('are in the order of the ids where they are equal', async () => {
        const own = await collection(dimension, metric);
        const same = Array.from({ length: 40 }, (_, i) => ({ id: `t${(i * 7) % 40}`, values: query }));
        await own.upsertVectors(same);
        const ids = same.map(({ id }) => id).sort();
        expect((await own.search(query, { topK: 5 })).map(({ id }) => id)).toEqual(ids.slice(0, 5));
      });
    });
  }
}

function testRecords(open: () => Promise<VectorConnector>): void {
  describe('records', () => {
    it('come back as they were written, values rounded to float32', async () => {
      const connector = await open();
      const record = {
        id: 'é😀 "1"',
        values: [0.5, -0.25, 3],
        metadata: { a: { b: ['x', 1] }, n: null },
        text: 'tëxt',
      };
      expect(await connector.upsertVectors([record])).toEqual({ upserted: 1, failed: 0, errors: [] });
      expect(await connector.fetchVectors([record.id])).toEqual([record]);
      const [match] = await connector.search([0.5, -0.25, 3], { includeValues: true });
      expect(match).toMatchObject(record);
      const [bare] = await connector.search([0.5, -0.25, 3], { includeMetadata: false });
      expect(bare).not.toHaveProperty('values');
      expect(bare).not.toHaveProperty('metadata');
    });

    it('are replaced as a whole by another with the same id', async () => {
      const connector = await open();
      await connector.upsertVectors([{ id: 'a', values: [1, 0, 0], metadata: { old: 1 }, text: 'old' }]);
      await connector.upsertVectors([{ id: 'a', values: [0, 1, 0] }]);
      expect(await connector.fetchVectors(['a'])).toEqual([{ id: 'a', values: [0, 1, 0] }]);
      expect(await connector.countVectors()).toBe(1);
    });

    it('keep the last of equal ids in one call', async () => {
      const connector = await open();
      const records = [1, 2, 3].map((n) => ({ id: 'a', values: [n, 1, 1] }));
      expect(await connector.upsertVectors(records)).toMatchObject({ failed: 0 });
      expect(await connector.fetchVectors(['a'])).toEqual([{ id: 'a', values: [3, 1, 1] }]);
      expect(await connector.countVectors()).toBe(1);
    });

    it('are found by the next search once they are acknowledged, and no more once they are deleted', async () => {
      const connector = await open();
      for (let i = 0; i < 20; i++) {
        const values = [1, i, -i];
        await connector.upsertVectors([{ id: `n${i}`, values }]);
        expect((await connector.search(values, { topK: 1 }))[0]?.id).toBe(`n${i}`);
      }
      await connector.deleteVectors({ ids: ['n3'] });
      expect((await connector.search([1, 3, -3], { topK: 20 })).map(({ id }) => id)).not.toContain('n3');
    });

    it('are fetched in the order asked for, without those that do not exist', async () => {
      const connector = await open();
      await connector.upsertVectors(['a', 'b', 'c'].map((id) => ({ id, values: [1, 1, 1] })));
      const found = await connector.fetchVectors(['c', 'x', 'a']);
      expect(found.map(({ id }) => id)).toEqual(['c', 'a']);
    });

    it('are deleted by id and all at once, and counted', async () => {
      const connector = await open();
      await connector.upsertVectors(['a', 'b', 'c', 'd'].map((id) => ({ id, values: [1, 1, 1] })));
      expect(await connector.deleteVectors({ ids: ['a', 'x', 'a'] })).toEqual({ deleted: 1 });
      expect(await connector.countVectors()).toBe(3);
      expect(await connector.deleteVectors({ all: true })).toEqual({ deleted: 3 });
      expect(await connector.countVectors()).toBe(0);
      expect(await connector.search([1, 1, 1])).toEqual([]);
    });

    it('are cut into batches and all written', async () => {
      const connector = await open();
      const records = numbers(2_500, 3).map((values, i) => ({ id: `b${i}`, values }));
      expect(await connector.upsertVectors(records)).toEqual({ upserted: 2_500, failed: 0, errors: [] });
      expect(await connector.countVectors()).toBe(2_500);
    });

    it('are all refused when one of them is bad', async () => {
      const connector = await open();
      const records: VectorRecord[] = [
        { id: 'a', values: [1, 1, 1] },
        { id: 'b', values: [1, NaN, 1] },
      ];
      await expect(connector.upsertVectors(records)).rejects.toMatchObject({
        code: 'invalid_argument',
        issues: [{ path: 'records[1].values' }],
      });
      expect(await connector.countVectors()).toBe(0);
    });
  });
}

function testRefusals(capabilities: VectorCapabilities): void {
  const idle = (metric = metricOf(capabilities), dimension = 3): VectorConnector =>
    idleVectorConnector({ dimension, metric, capabilities });
  const refused = (capability: string) => ({ code: 'unsupported', details: { capability } });

  describe('refuses before any I/O', () => {
    for (const [operator, filter] of Object.entries(NEEDS) as [FilterOperator, Filter][]) {
      if (capabilities.filter.includes(operator)) continue;
      it(`a filter with ${operator}`, async () => {
        await expect(idle().search([1, 1, 1], { filter })).rejects.toMatchObject(refused('filter'));
      });
    }
    for (const metric of METRICS.filter((one) => !capabilities.metrics.includes(one))) {
      it(`the metric ${metric}`, async () => {
        await expect(idle(metric).search([1, 1, 1])).rejects.toMatchObject(refused('metrics'));
      });
    }
    if (!capabilities.deleteByFilter) {
      it('deleting by a filter', async () => {
        const attempt = idle().deleteVectors({ filter: { a: 1 } });
        await expect(attempt).rejects.toMatchObject(refused('deleteByFilter'));
      });
    }
    if (!capabilities.countByFilter) {
      it('counting by a filter', async () => {
        const attempt = idle().countVectors({ filter: { a: 1 } });
        await expect(attempt).rejects.toMatchObject(refused('countByFilter'));
      });
    }
    it('more matches than its limit, and vectors longer than its limit', async () => {
      const { topK, dimension } = capabilities.limits;
      const bad = { code: 'invalid_argument' };
      await expect(idle().search([1, 1, 1], { topK: topK + 1 })).rejects.toMatchObject(bad);
      await expect(idle(undefined, dimension + 1).countVectors()).rejects.toMatchObject(bad);
    });
  });
}

function testReopening({
  start,
  capabilities,
  scratch,
}: {
  readonly start: (context: VectorOpenContext) => Promise<VectorClient>;
  readonly capabilities: VectorCapabilities;
  readonly scratch: string;
}): void {
  describe('reopened', () => {
    it('holds what was acknowledged', async () => {
      const context = vectorContext(scratch, 3, metricOf(capabilities));
      const first = await start(context);
      await vectorConnector(first, context, capabilities).upsertVectors(CORPUS);
      await first.close();
      const connector = vectorConnector(await start(context), context, capabilities);
      expect(await connector.countVectors()).toBe(CORPUS.length);
      expect(await connector.search([1, 0, 0], { topK: CORPUS.length })).toHaveLength(CORPUS.length);
    });

    it('refuses another dimension or metric than it holds', async () => {
      const context = vectorContext(scratch, 3, metricOf(capabilities));
      const first = await start(context);
      await vectorConnector(first, context, capabilities).upsertVectors([{ id: 'a', values: [1, 1, 1] }]);
      await first.close();
      const mismatch = { code: 'invalid_state' };
      await expect(start({ ...context, dimension: 4 })).rejects.toMatchObject(mismatch);
      const other = capabilities.metrics.find((metric) => metric !== context.metric);
      if (other) await expect(start({ ...context, metric: other })).rejects.toMatchObject(mismatch);
    });
  });
}

function metricOf({ metrics }: VectorCapabilities): DistanceMetric {
  return metrics[0] ?? 'cosine';
}

function isDeclared(filter: Filter, capabilities: VectorCapabilities): boolean {
  return [...operatorsOf(parseFilter(filter)).keys()].every((one) => capabilities.filter.includes(one));
}

function expected(filter: Filter): readonly string[] {
  const node = parseFilter(filter);
  return CORPUS.filter(({ metadata }) => matches(node, metadata)).map(({ id }) => id);
}

function inFloat64(metric: DistanceMetric, a: readonly number[], b: readonly number[]): number {
  const sum = (term: (x: number, y: number) => number): number =>
    a.reduce((total, x, i) => total + term(x, b[i] ?? 0), 0);
  if (metric === 'euclidean') return Math.sqrt(sum((x, y) => (x - y) ** 2));
  const dot = sum((x, y) => x * y);
  if (metric === 'dot') return dot;
  return dot / Math.sqrt(sum((x) => x * x) * b.reduce((total, y) => total + y * y, 0));
}
