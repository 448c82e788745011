import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../errors/error.ts';
import { idleVectorConnector, vectorConnector, vectorContext } from '../../testing/vector-suite.ts';
import type {
  DistanceMetric,
  ListPage,
  Metadata,
  VectorCapabilities,
  VectorClient,
  VectorPage,
  VectorRecord,
} from './driver.ts';
import type { VectorConnector } from './connector.ts';

const CAPABILITIES: VectorCapabilities = {
  metrics: ['cosine', 'euclidean', 'dot'],
  filter: ['eq', 'and'],
  deleteByFilter: false,
  countByFilter: false,
  orderedStrings: true,
  visibleAfterMs: 0,
  limits: { dimension: 100, upsertBatch: 3, topK: 50 },
};

const unused = async (): Promise<never> => {
  throw new Error('not part of this test');
};

function connectorOn(client: Partial<VectorClient>, metric: DistanceMetric = 'cosine'): VectorConnector {
  const whole: VectorClient = {
    ...{ upsert: unused, search: unused, delete: unused, fetch: unused, count: unused, list: unused },
    ...{ check: async () => [], close: async () => {} },
    ...client,
  };
  return vectorConnector(whole, vectorContext('', 2, metric), CAPABILITIES);
}

const idle = (metric: DistanceMetric = 'cosine'): VectorConnector =>
  idleVectorConnector({ dimension: 2, metric, capabilities: CAPABILITIES });
const records = (count: number): readonly VectorRecord[] =>
  Array.from({ length: count }, (_, i) => ({ id: `r${i}`, values: [i + 1, 1] }));

/** What a caller without types may send. */
const upsertAnything = (value: unknown, connector = idle()): Promise<unknown> =>
  connector.upsertVectors(value as readonly VectorRecord[]);

describe('upsertVectors', () => {
  it('cuts batches to the limit of the backend, four at once, and maps its answers back', async () => {
    const sizes: number[] = [];
    let running = 0;
    let most = 0;
    const connector = connectorOn({
      async upsert(batch) {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        sizes.push(batch.length);
        return batch.flatMap(({ id }, index) =>
          id === 'r10' ? [{ index, id, code: 'backend_error' as const, message: 'no room' }] : [],
        );
      },
    });
    expect(await connector.upsertVectors(records(20))).toEqual({
      upserted: 19,
      failed: 1,
      errors: [{ index: 10, id: 'r10', code: 'backend_error', message: 'no room' }],
    });
    expect(sizes.toSorted((a, b) => a - b)).toEqual([2, 3, 3, 3, 3, 3, 3]);
    expect(most).toBe(4);
  });

  it('names each record of a batch that failed where others did not', async () => {
    const connector = connectorOn({
      async upsert([first]) {
        if (first?.id === 'r3') throw new ConnectorError('unavailable', 'down');
        return [];
      },
    });
    const result = await connector.upsertVectors(records(7));
    expect(result).toMatchObject({ upserted: 4, failed: 3 });
    expect(result.errors.map(({ index, code }) => [index, code])).toEqual([
      [3, 'unavailable'],
      [4, 'unavailable'],
      [5, 'unavailable'],
    ]);
  });

  it('rejects when every batch failed', async () => {
    const connector = connectorOn({
      upsert: () => Promise.reject(new ConnectorError('unavailable', 'down')),
    });
    await expect(connector.upsertVectors(records(7))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('sends only the last of equal ids, whatever batch they fall into', async () => {
    const sent: VectorRecord[] = [];
    const connector = connectorOn({
      async upsert(batch) {
        sent.push(...batch);
        return [];
      },
    });
    const twice = [...records(5), { id: 'r0', values: [9, 9] }];
    expect(await connector.upsertVectors(twice)).toMatchObject({ upserted: 6, failed: 0 });
    expect(sent).toHaveLength(5);
    expect(sent.find(({ id }) => id === 'r0')?.values).toEqual(Float32Array.of(9, 9));
  });

  it('counts and names all of equal ids as failed where the last one was', async () => {
    const connector = connectorOn({
      upsert: async (batch) =>
        batch.flatMap(({ id }, index) =>
          id === 'r0' ? [{ index, id, code: 'backend_error' as const, message: 'no room' }] : [],
        ),
    });
    const twice = [...records(5), { id: 'r0', values: [9, 9] }];
    const result = await connector.upsertVectors(twice);
    expect(result).toMatchObject({ upserted: 4, failed: 2 });
    expect(result.errors.map(({ index, id }) => [index, id])).toEqual([
      [0, 'r0'],
      [5, 'r0'],
    ]);
  });

  const at = (records: unknown, path: string) => [path, records] as const;
  const meta = (metadata: unknown) => [{ id: 'a', values: [1, 1], metadata }];
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });
  it.each([
    at('x', 'records'),
    at(records(10_001), 'records'),
    at([null], 'records[0]'),
    at([{ id: '', values: [1, 1] }], 'records[0].id'),
    at([{ id: 'x'.repeat(513), values: [1, 1] }], 'records[0].id'),
    at([{ id: 7, values: [1, 1] }], 'records[0].id'),
    at([{ id: '\ud800', values: [1, 1] }], 'records[0].id'),
    at(
      [
        { id: 'a', values: [1, 1] },
        { id: 'b', values: [1] },
      ],
      'records[1].values',
    ),
    at([{ id: 'a', values: [1, NaN] }], 'records[0].values'),
    at([{ id: 'a', values: [1, Infinity] }], 'records[0].values'),
    at([{ id: 'a', values: [1, 1e39] }], 'records[0].values'),
    at([{ id: 'a', values: [1, '1'] }], 'records[0].values'),
    at([{ id: 'a', values: Float32Array.of(1, NaN) }], 'records[0].values'),
    at([{ id: 'a', values: [0, 0] }], 'records[0].values'),
    at([{ id: 'a', values: [1e-46, 0] }], 'records[0].values'),
    at([{ id: 'a', values: 'xx' }], 'records[0].values'),
    at([{ id: 'a', values: [1, 1], extra: 1 }], 'records[0].extra'),
    at([{ id: 'a', values: [1, 1], text: 1 }], 'records[0].text'),
    at([{ id: 'a', values: [1, 1], text: '\udfff' }], 'records[0].text'),
    at(meta([]), 'records[0].metadata'),
    at(meta(new Map()), 'records[0].metadata'),
    at(meta({ a: undefined }), 'records[0].metadata.a'),
    at(meta({ a: NaN }), 'records[0].metadata.a'),
    at(meta({ a: [true] }), 'records[0].metadata.a[0]'),
    at(meta({ a: [['x']] }), 'records[0].metadata.a[0]'),
    at(meta({ a: new Date() }), 'records[0].metadata.a'),
    at(meta({ a: () => 1 }), 'records[0].metadata.a'),
    at(meta({ a: 1n }), 'records[0].metadata.a'),
    at(meta(cyclic), 'records[0].metadata'),
    at(meta(deep(9)), 'records[0].metadata'),
    at(meta(deep(5_000)), 'records[0].metadata'),
    at(meta({ a: 'x'.repeat(65_536) }), 'records[0].metadata'),
    at(meta({ a: new Array(70_000).fill(1) }), 'records[0].metadata'),
  ])('refuses before anything is sent, naming %s', async (path, bad) => {
    const failure = upsertAnything(bad);
    await expect(failure).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(failure).rejects.toMatchObject({
      issues: expect.arrayContaining([expect.objectContaining({ path })]),
    });
  });

  it('names every bad record, up to a hundred', async () => {
    const bad = Array.from({ length: 300 }, (_, i) => ({ id: `r${i}`, values: [i] }));
    const failure = await upsertAnything(bad).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'invalid_argument' });
    expect(failure).toHaveProperty('issues.length', 100);
    expect(failure).toHaveProperty('issues.99.path', 'records[99].values');
  });

  it('takes 8 levels of metadata, a zero vector but under cosine, and __proto__ as a key', async () => {
    const sent: VectorRecord[] = [];
    const client: Partial<VectorClient> = {
      async upsert(batch) {
        sent.push(...batch);
        return [];
      },
    };
    const metadata = JSON.parse(
      '{"__proto__":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}},"constructor":"x"}',
    ) as Metadata;
    const record = { id: 'a', values: [0, 0], metadata };
    await connectorOn(client, 'dot').upsertVectors([record]);
    expect(sent[0]?.metadata).toBe(metadata);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });
});

describe('search', () => {
  it('orders, scores and cuts what the backend found', async () => {
    const connector = connectorOn(
      {
        search: async () => [
          { id: 'b', rawScore: 3 },
          { id: 'c', rawScore: 0 },
          { id: 'a', rawScore: 3 },
          { id: 'd', rawScore: 9 },
        ],
      },
      'euclidean',
    );
    expect(await connector.search([1, 1], { minScore: 0.25, topK: 2 })).toEqual([
      { id: 'c', rawScore: 0, score: 1 },
      { id: 'a', rawScore: 3, score: 0.25 },
    ]);
    expect(await connector.search([1, 1], { minScore: 0.25 })).toHaveLength(3);
  });

  it('leaves out the text with the metadata, whatever the backend answers', async () => {
    const connector = connectorOn({ search: async () => [{ id: 'a', rawScore: 1, text: 'told' }] });
    expect(await connector.search([1, 1], { includeMetadata: false })).toEqual([
      { id: 'a', rawScore: 1, score: 1 },
    ]);
    expect(await connector.search([1, 1])).toMatchObject([{ text: 'told' }]);
  });

  it('hands the client float32 values, all defaults and no empty filter', async () => {
    let seen: unknown;
    const connector = connectorOn({
      search: async (vector, query) => {
        seen = { vector, query };
        return [];
      },
    });
    await connector.search([1, 0.1], { filter: {} });
    expect(seen).toEqual({
      vector: Float32Array.of(1, 0.1),
      query: { topK: 10, filter: undefined, includeValues: false, includeMetadata: true },
    });
  });

  it.each([
    ['vector', [1], {}],
    ['vector', [0, 0], {}],
    ['topK', [1, 1], { topK: 0 }],
    ['topK', [1, 1], { topK: 1.5 }],
    ['topK', [1, 1], { topK: 51 }],
    ['minScore', [1, 1], { minScore: 1.1 }],
    ['minScore', [1, 1], { minScore: NaN }],
    ['filter.a.$regex', [1, 1], { filter: { a: { $regex: 'x' } } }],
  ])('refuses a bad %s before any I/O', async (path, vector, options) => {
    await expect(idle().search(vector, options)).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path }],
    });
  });

  it('refuses an operator that the backend lacks before any I/O, naming where it stands', async () => {
    const failure = idle().search([1, 1], { filter: { a: 1, $or: [{ b: { $gt: 1 } }] } });
    await expect(failure).rejects.toMatchObject({
      code: 'unsupported',
      details: { capability: 'filter', missing: ['or', 'gt'] },
      issues: [{ path: 'filter.$or' }, { path: 'filter.$or[0].b.$gt' }],
    });
  });
});

describe('deleteVectors, fetchVectors and countVectors', () => {
  it.each([
    ['selector', {}],
    ['selector', { ids: ['a'], all: true }],
    ['selector', { everything: true }],
    ['all', { all: false }],
    ['ids', { ids: 'a' }],
    ['ids[1]', { ids: ['a', ''] }],
    ['filter', { filter: {} }],
    ['filter', { filter: [] }],
  ])('refuse a bad %s before any I/O', async (path, selector) => {
    await expect(idle().deleteVectors(selector as unknown as { all: true })).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path }],
    });
  });

  it('refuse filters where the backend has none', async () => {
    const filter = { a: 1 };
    await expect(idle().deleteVectors({ filter })).rejects.toMatchObject({ code: 'unsupported' });
    await expect(idle().countVectors({ filter })).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('answer an empty list of ids without asking the backend', async () => {
    expect(await idle().deleteVectors({ ids: [] })).toEqual({ deleted: 0 });
    expect(await idle().fetchVectors([])).toEqual([]);
  });
});

describe('listVectors', () => {
  it('asks the backend for a full page with vectors unless told, and hands over what it answers', async () => {
    const asked: ListPage[] = [];
    const page: VectorPage = { records: [{ id: 'a', values: [1, 2] }], nextCursor: 'more' };
    const connector = connectorOn({
      async list(request) {
        asked.push(request);
        return page;
      },
    });
    expect(await connector.listVectors()).toEqual(page);
    await connector.listVectors({ limit: 7, cursor: 'more', includeValues: false });
    expect(asked).toEqual([
      { limit: 1_000, cursor: undefined, includeValues: true },
      { limit: 7, cursor: 'more', includeValues: false },
    ]);
  });

  it.each([
    ['limit', { limit: 0 }],
    ['limit', { limit: 1_001 }],
    ['limit', { limit: 1.5 }],
    ['cursor', { cursor: 'x'.repeat(4_097) }],
  ])('refuses a wrong %s before any I/O', async (field, options) => {
    await expect(idle().listVectors(options)).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: field }],
    });
  });
});
