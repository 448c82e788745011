import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { DistanceMetric, VectorClient, VectorOpenContext } from '../../../driver.ts';
import type { SearchRequest } from '../../../../node_modules/weaviate-client/dist/node/esm/proto/v1/search_get.js';
import { NEVER } from '../../../policies/pipeline.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import { MAX_NUMBER_PROPERTIES } from './collection.ts';
import driver from './index.ts';
import { weaviateDouble, type DoubleOptions, type WeaviateDouble } from './weaviate.fixture.ts';

const scratch = mkdtempSync(path.join(tmpdir(), 'weaviate-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
});

async function doubled(options?: DoubleOptions): Promise<WeaviateDouble> {
  const server = await weaviateDouble(options);
  opened.push(server);
  return server;
}

async function open(
  server: WeaviateDouble,
  options: Readonly<Record<string, string>> = {},
  context: VectorOpenContext = vectorContext(scratch, 3, 'cosine'),
): Promise<VectorClient> {
  const client = await driver.open(
    driver.options.parse({ endpoint: server.endpoint, grpc_endpoint: server.grpcEndpoint, ...options }),
    context,
  );
  opened.push(client);
  return client;
}

const OWN = { collection: 'Own' } as const;
const plain = { includeValues: false, includeMetadata: false } as const;
const limits = (server: WeaviateDouble) =>
  server.requests
    .filter(({ method }) => method === 'Search')
    .map(({ message }) => (message as SearchRequest).limit);
const counted = (server: WeaviateDouble, method: string) =>
  server.requests.filter((one) => one.method === method).length;

describe('scores', () => {
  const score = async (metric: DistanceMetric) => {
    const server = await doubled();
    const client = await open(server, OWN, vectorContext(scratch, 3, metric));
    await client.upsert([{ id: 'a', values: [3, 4, 0] }], NEVER);
    const [match] = await client.search([0.5, 0, 0], { topK: 1, ...plain }, NEVER);
    const [told] = server.store.nearest('Own', '', Float32Array.of(0.5, 0, 0), undefined);
    return { ours: match?.rawScore, weaviates: told?.distance };
  };

  it('are the distance, of which Weaviate gives the square', async () => {
    const { ours, weaviates } = await score('euclidean');
    expect(weaviates).toBeCloseTo(22.25, 5);
    expect(ours).toBeCloseTo(Math.hypot(2.5, 4), 6);
  });

  it('are the dot product, which Weaviate negates', async () => {
    expect(await score('dot')).toEqual({ ours: 1.5, weaviates: -1.5 });
  });

  it('are the cosine, which Weaviate takes from 1', async () => {
    const { ours, weaviates } = await score('cosine');
    expect(weaviates).toBeCloseTo(0.4, 6);
    expect(ours).toBeCloseTo(0.6, 6);
  });
});

describe('search', () => {
  it('asks for more while the cut goes through equally near records, and for no more otherwise', async () => {
    const server = await doubled();
    const client = await open(server);
    const same = Array.from({ length: 30 }, (_, i) => ({
      id: `t${String(i).padStart(2, '0')}`,
      values: [1, 1, 1],
    }));
    await client.upsert([...same, { id: 'nearest', values: [1, 0, 0] }], NEVER);
    const found = await client.search([1, 0, 0], { topK: 3, ...plain }, NEVER);
    expect(found.map(({ id }) => id)).toEqual(['nearest', 't00', 't01']);
    expect(limits(server)).toEqual([4, 16, 64]);
    await client.search([1, 0, 0], { topK: 1, ...plain }, NEVER);
    expect(limits(server)).toEqual([4, 16, 64, 2]);
  });

  it('asks for no more than a query may find', async () => {
    const server = await doubled();
    const client = await open(server);
    await client.search([1, 0, 0], { topK: 10_000, ...plain }, NEVER);
    expect(limits(server)).toEqual([10_000]);
  });

  it('reads the records apart from the order where they might not fit into one message', async () => {
    const server = await doubled({ grpcMaxMessageSize: 40_000 });
    const client = await open(server, {}, vectorContext(scratch, 3, 'euclidean'));
    const records = [1, 2, 3, 4, 5].map((n) => ({ id: `r${n}`, values: [n, 0, 0], metadata: { n } }));
    await client.upsert(records, NEVER);
    const all = { includeValues: true, includeMetadata: true } as const;
    const found = await client.search([5, 0, 0], { topK: 4, ...all }, NEVER);
    expect(found).toEqual(
      [5, 4, 3, 2].map((n) => ({ id: `r${n}`, values: [n, 0, 0], metadata: { n }, rawScore: 5 - n })),
    );
    expect(limits(server)).toEqual([5, 2, 2]);
    const page = await client.list({ limit: 5, includeValues: true }, NEVER);
    expect(page.records).toHaveLength(2);
    expect(page.nextCursor).toBeDefined();
  });

  it('leaves out a record that is gone before it was read', async () => {
    const server = await doubled({ grpcMaxMessageSize: 40_000 });
    const client = await open(server, OWN);
    const records = [1, 2, 3, 4].map((n) => ({ id: `r${n}`, values: [1, n, 0], metadata: { n } }));
    await client.upsert(records, NEVER);
    const nearest = server.store.nearest.bind(server.store);
    server.store.nearest = (...query) => {
      const found = nearest(...query);
      server.store.shard('Own', '').objects.delete(found[1]?.object.uuid ?? '');
      return found;
    };
    const all = { includeValues: true, includeMetadata: true } as const;
    const found = await client.search([1, 1, 0], { topK: 3, ...all }, NEVER);
    expect(found.map(({ id, metadata }) => [id, metadata])).toEqual([
      ['r1', { n: 1 }],
      ['r3', { n: 3 }],
    ]);
  });
});

describe('records', () => {
  it('come back as they were given, though Weaviate keeps vectors at length 1 under cosine', async () => {
    const server = await doubled();
    const client = await open(server, OWN);
    const record = { id: 'a', values: [3, 4, 0], metadata: { n: -0.5 }, text: '' };
    await client.upsert([record], NEVER);
    const [kept] = server.store.shard('Own', '').objects.values();
    expect([...(kept?.vector ?? [])].map((value) => value.toFixed(4))).toEqual([
      '0.6000',
      '0.8000',
      '0.0000',
    ]);
    expect(await client.fetch(['a'], NEVER)).toEqual([record]);
  });

  it('that Weaviate refuses are named, and the others are written', async () => {
    const server = await doubled();
    server.store.refuse = ({ record_id: id }) => (id === 'b' ? 'no space left' : undefined);
    const client = await open(server);
    const records = ['a', 'b', 'c'].map((id) => ({ id, values: [1, 1, 1] }));
    expect(await client.upsert(records, NEVER)).toEqual([
      { index: 1, id: 'b', code: 'backend_error', message: 'Weaviate refused the record: no space left' },
    ]);
    expect(await client.count(undefined, NEVER)).toBe(2);
  });

  it('go in as many messages as they need, and one that is too long by itself in its own', async () => {
    const server = await doubled({ grpcMaxMessageSize: 4_000 });
    const client = await open(server);
    const texts = ['x'.repeat(1_500), 'y'.repeat(2_500), 'z'.repeat(200), 'z'.repeat(200)];
    await client.upsert(
      texts.map((text, i) => ({ id: `r${i}`, values: [1, 1, 1], text })),
      NEVER,
    );
    expect(counted(server, 'BatchObjects')).toBe(3);
    expect(await client.count(undefined, NEVER)).toBe(4);
  });

  it('are all deleted, however many one request may delete', async () => {
    const server = await doubled();
    server.store.maxResults = 7;
    const client = await open(server);
    await client.upsert(
      Array.from({ length: 20 }, (_, i) => ({ id: `r${i}`, values: [1, i, 0], metadata: { i } })),
      NEVER,
    );
    expect(await client.delete({ filter: { i: { $gte: 10 } } }, NEVER)).toBe(10);
    expect(await client.delete({ all: true }, NEVER)).toBe(10);
    expect(counted(server, 'BatchDelete')).toBe(6);
  });

  it('wait for every replica, so that the next read of any of them shows them', async () => {
    const server = await doubled();
    const client = await open(server);
    await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    await client.delete({ ids: ['a'] }, NEVER);
    const writes = server.requests.filter(({ method }) => method.startsWith('Batch'));
    expect(writes.map(({ message }) => (message as { consistencyLevel: number }).consistencyLevel)).toEqual([
      3, 3,
    ]);
  });
});

describe('numbers', () => {
  it('in a field that another process was the first to store are found', async () => {
    const server = await doubled();
    const [one, other] = [await open(server, OWN), await open(server, OWN)];
    expect(await one.count({ price: { $gt: 1 } }, NEVER)).toBe(0);
    await other.upsert([{ id: 'a', values: [1, 1, 1], metadata: { price: 2 } }], NEVER);
    expect(await one.count({ price: { $gt: 1 } }, NEVER)).toBe(1);
  });

  it('in new fields that are stored at the same time make each property once', async () => {
    const server = await doubled();
    const client = await open(server, OWN);
    const record = (id: string) => ({ id, values: [1, 1, 1], metadata: { a: 1, b: 2, c: 3 } });
    await Promise.all(['1', '2', '3', '4'].map((id) => client.upsert([record(id)], NEVER)));
    expect(await client.count({ a: { $gte: 1 }, c: { $lt: 4 } }, NEVER)).toBe(4);
    expect(server.store.class('Own').definition.properties).toHaveLength(8);
  });

  it('in more fields than a collection may have are refused by record, and never stored without an order', async () => {
    const server = await doubled();
    const client = await open(server);
    const fields = Array.from({ length: MAX_NUMBER_PROPERTIES }, (_, i) => [`f${i}`, i] as const);
    const records = [
      { id: 'all', values: [1, 1, 1], metadata: Object.fromEntries(fields) },
      { id: 'more', values: [1, 1, 1], metadata: { f0: 1, another: 1 } },
      { id: 'few', values: [1, 1, 1], metadata: { f0: 1, another: '1' } },
    ];
    expect(await client.upsert(records, NEVER)).toEqual([
      { index: 1, id: 'more', code: 'unsupported', message: expect.stringContaining('128') },
    ]);
    expect(await client.count(undefined, NEVER)).toBe(2);
    expect(await client.count({ another: { $gt: 0 } }, NEVER)).toBe(0);
  });
});

describe('a collection', () => {
  it.each([
    ['of somebody else', { class: 'Own', properties: [] }, OWN, 'was not made by a connector'],
    [
      'that is multi-tenant',
      {
        class: 'Own',
        description: 'Vectors of 3 numbers, kept by connector-registry.',
        multiTenancyConfig: { enabled: true },
        properties: [],
      },
      OWN,
      'set the option tenant',
    ],
    [
      'that is not multi-tenant',
      { class: 'Own', description: 'Vectors of 3 numbers, kept by connector-registry.', properties: [] },
      { ...OWN, tenant: 'acme' },
      'leave out the option tenant',
    ],
  ])('%s is refused', async (_what, definition, options, message) => {
    const server = await doubled();
    server.store.createClass(definition);
    await expect(open(server, options)).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining(message) as string,
    });
  });

  it('is not compressed by a default of the server, which would make its distances inexact', async () => {
    const server = await doubled();
    await open(server, OWN);
    const { vectorIndexConfig } = server.store.class('Own').definition;
    expect(vectorIndexConfig).toEqual({ distance: 'cosine', skipDefaultQuantization: true });
  });

  it('is not made anew by a write after somebody has removed it, though the server would', async () => {
    const server = await doubled();
    const client = await open(server, OWN);
    server.store.classes.delete('Own');
    const write = client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    await expect(write).rejects.toMatchObject({ code: 'not_found' });
    expect(server.store.classes.has('Own')).toBe(false);
  });

  it('is opened by two at the same time', async () => {
    const server = await doubled();
    const clients = await Promise.all([open(server, OWN), open(server, OWN), open(server, OWN)]);
    for (const client of clients) expect(await client.count(undefined, NEVER)).toBe(0);
  });
});

describe('tenants', () => {
  it('of one collection share nothing', async () => {
    const server = await doubled();
    const [acme, other] = [
      await open(server, { ...OWN, tenant: 'acme' }),
      await open(server, { ...OWN, tenant: 'other' }),
    ];
    await acme.upsert([{ id: 'a', values: [1, 1, 1], metadata: { n: 1 } }], NEVER);
    expect(await other.fetch(['a'], NEVER)).toEqual([]);
    expect(await other.search([1, 1, 1], { topK: 3, ...plain }, NEVER)).toEqual([]);
    expect(await other.count({ n: { $gt: 0 } }, NEVER)).toBe(0);
    expect(await other.delete({ all: true }, NEVER)).toBe(0);
    expect((await other.list({ limit: 5, includeValues: false }, NEVER)).records).toEqual([]);
    expect(await acme.count(undefined, NEVER)).toBe(1);
  });

  it('that were removed are not found, and those that sleep are an invalid state', async () => {
    const server = await doubled();
    const client = await open(server, { ...OWN, tenant: 'acme' });
    const write = () => client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    const shards = server.store.shards('Own');
    const shard = shards.get('acme');
    shards.set('acme', { status: 'COLD', objects: new Map() });
    const asleep = { code: 'invalid_state', message: expect.stringContaining('COLD') as string };
    await expect(write()).rejects.toMatchObject(asleep);
    await expect(client.count(undefined, NEVER)).rejects.toMatchObject(asleep);
    await expect(open(server, { ...OWN, tenant: 'acme' })).rejects.toMatchObject(asleep);
    shards.delete('acme');
    const gone = { code: 'not_found' };
    await expect(write()).rejects.toMatchObject(gone);
    await expect(client.count(undefined, NEVER)).rejects.toMatchObject(gone);
    await expect(client.check(NEVER)).rejects.toMatchObject(gone);
    expect(shard?.objects.size).toBe(0);
  });
});

describe('check', () => {
  it('tells the version, the replicas that a write waits for, and vectors that no search sees yet', async () => {
    const server = await doubled({ version: '1.35.1', vectorQueueLength: 12 });
    server.store.createClass({
      class: 'Own',
      description: 'Vectors of 3 numbers, kept by connector-registry.',
      replicationConfig: { factor: 3 },
      properties: [],
    });
    const client = await open(server, OWN);
    expect(await client.check(NEVER)).toEqual([
      { level: 'info', message: 'Weaviate 1.35.1' },
      { level: 'info', message: expect.stringContaining('3 replicas') },
      { level: 'warn', message: expect.stringContaining('12 vectors wait') },
    ]);
  });
});

it.each(['1.32.9', '0.99.0', 'latest'])(
  'refuses the server %s, whose filters know no negation',
  async (version) => {
    const server = await doubled({ version });
    const stages: string[] = [];
    const stage = <T>(name: string, step: () => Promise<T>): Promise<T> => {
      stages.push(name);
      return step();
    };
    const context = { ...vectorContext(scratch, 3, 'cosine'), stage };
    await expect(open(server, {}, context)).rejects.toMatchObject({ code: 'unsupported' });
    // The credentials were good.
    expect(stages.at(-1)).toBe('collection');
  },
);

it('refuses a cursor of another making', async () => {
  const client = await open(await doubled());
  for (const cursor of ['', '1', "'; DROP", 'f'.repeat(36)])
    await expect(client.list({ limit: 1, cursor, includeValues: false }, NEVER)).rejects.toMatchObject({
      code: 'invalid_argument',
    });
});
