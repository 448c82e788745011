import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import {
  ConnectorError,
  type DistanceMetric,
  systemClock,
  type VectorClient,
  type VectorOpenContext,
  type VectorRecord,
} from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';
import { pineconeDouble, type PineconeDouble } from './pinecone.fixture.ts';

const scratch = mkdtempSync(path.join(tmpdir(), 'pinecone-'));
const double = await pineconeDouble();
await double.createIndex('docs', 3, 'cosine');
await double.createIndex('docs-dot', 3, 'dotproduct');
await double.createIndex('docs-euclidean', 3, 'euclidean');
const NAMES = { cosine: 'docs', dot: 'docs-dot', euclidean: 'docs-euclidean' } as const;

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});
afterAll(async () => {
  await double.close();
  rmSync(scratch, { recursive: true, force: true });
});

type Settings = {
  readonly server?: PineconeDouble;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly dimension?: number;
  readonly metric?: DistanceMetric;
  readonly context?: Partial<VectorOpenContext>;
};

async function start({ server = double, options, dimension = 3, metric = 'cosine', context }: Settings = {}) {
  const { endpoint, apiKey } = server;
  const client = await driver.open(
    driver.options.parse({ endpoint, api_key: apiKey, index: NAMES[metric], ...options }),
    { ...vectorContext(scratch, dimension, metric), ...context },
  );
  open.push(client);
  return client;
}

const search = (client: VectorClient, vector: readonly number[], topK = 10) =>
  client.search(vector, { topK, includeValues: true, includeMetadata: true }, NEVER);
const records = (count: number, more: Partial<VectorRecord> = {}): readonly VectorRecord[] =>
  Array.from({ length: count }, (_, i) => ({ id: `r${i}`, values: [1, i, 1], ...more }));
const sent = (request: string, since: number): number =>
  double.requests.slice(since).filter((one) => one === request).length;

describe('opening', () => {
  it('shows each stage', async () => {
    const stages: string[] = [];
    await start({
      context: {
        stage(name, step) {
          stages.push(name);
          return step();
        },
      },
    });
    expect(stages).toEqual(['address', 'connect', 'credentials', 'collection']);
  });

  it('says how to get the index that is not there', async () => {
    await expect(start({ options: { index: 'missing' } })).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('set create_index'),
    });
  });

  it('makes the index where it may, once for several connectors, and waits until it is ready', async () => {
    const options = { index: 'made', create_index: { cloud: 'gcp', region: 'us-central1' } };
    const before = double.requests.length;
    const clients = await Promise.all([start({ options }), start({ options })]);
    expect(sent('POST /indexes', before)).toBe(2);
    for (const client of clients) expect(await client.count(undefined, NEVER)).toBe(0);
    expect(double.violations).toEqual([]);
  });

  it('names both sides of what does not match', async () => {
    await expect(start({ dimension: 4 })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('dimension 3, and the connector 4'),
    });
    await expect(start({ metric: 'dot', options: { index: 'docs' } })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('metric cosine, and the connector dotproduct'),
    });
  });

  it('keeps connectors apart in one index, unless they are given one namespace', async () => {
    const [one, other] = [await start(), await start()];
    const shared = { options: { namespace: 'shared' } };
    const [left, right] = [await start(shared), await start(shared)];
    await one.upsert(records(1), NEVER);
    await left.upsert(records(2), NEVER);
    expect(await other.count(undefined, NEVER)).toBe(0);
    expect(await right.count(undefined, NEVER)).toBe(2);
  });
});

describe('scores', () => {
  it('are the true distance, of which Pinecone answers the square', async () => {
    const client = await start({ metric: 'euclidean' });
    await client.upsert([{ id: 'a', values: [3, 4, 1] }], NEVER);
    expect(await search(client, [0, 0, 1])).toMatchObject([{ id: 'a', rawScore: 5 }]);
  });

  it('are no more than 1 for a cosine, though those of Pinecone are only nearly right', async () => {
    const client = await start();
    const all = records(50).map(({ id }, i) => ({ id, values: [1 + i, 2 + 2 * i, 3 + 3 * i] }));
    await client.upsert(all, NEVER);
    const found = await search(client, [1, 2, 3], 50);
    expect(found).toHaveLength(50);
    for (const { rawScore } of found) expect(Math.abs(rawScore - 1)).toBeLessThan(1e-12);
  });

  it('that are equal are all read before the smallest ids are chosen, and then fetched', async () => {
    const client = await start({ metric: 'dot' });
    const all = records(500, { values: [1, 2, 3], text: 'x' });
    await client.upsert(all, NEVER);
    const before = double.requests.length;
    const ids = all.map(({ id }) => id).sort();
    const found = await search(client, [1, 1, 1], 5);
    expect(found).toEqual(ids.slice(0, 5).map((id) => ({ id, rawScore: 6, values: [1, 2, 3], text: 'x' })));
    expect(sent('POST /query', before)).toBe(3); // 36, 144 and 576 of the 500
  });

  it('of matches that would not fit one answer are those of the records fetched by id', async () => {
    const server = await pineconeDouble();
    open.push(server);
    await server.createIndex('wide', 1_000, 'dotproduct');
    const client = await start({ server, metric: 'dot', dimension: 1_000, options: { index: 'wide' } });
    const values = (i: number) => Array.from({ length: 1_000 }, (_, j) => (j === 0 ? i + 1 : 0.1));
    const all = records(200).map(({ id }, i) => ({ id: `${id}é`.repeat(i % 2 ? 1 : 90), values: values(i) }));
    await client.upsert(all, NEVER);
    const found = await search(client, values(0), 150);
    expect(found.map(({ id }) => id)).toEqual(
      all
        .map(({ id }) => id)
        .toReversed()
        .slice(0, 150),
    );
    expect(found[0]?.values).toEqual(values(199).map(Math.fround));
    const query = { topK: 3, includeValues: false, includeMetadata: false };
    const [first] = await client.search(values(0), query, NEVER);
    expect(first?.id).toBe(all.at(-1)?.id);
    expect(server.violations).toEqual([]);
  });
});

describe('writes', () => {
  it('are seen by every reader that is asked later, however far behind it is', async () => {
    const server = await pineconeDouble({ lags: [1, 1, 6] });
    open.push(server);
    await server.createIndex('docs', 3, 'cosine');
    const client = await start({ server });
    for (let i = 0; i < 6; i++) {
      await client.upsert([{ id: `n${i}`, values: [1, i, -i] }], NEVER);
      expect(await search(client, [1, 1, 1])).toHaveLength(i + 1);
    }
    await client.delete({ ids: ['n0', 'n1'] }, NEVER);
    for (let i = 0; i < 3; i++) expect(await search(client, [1, 1, 1])).toHaveLength(4);
  });

  it('are not acknowledged while nobody sees them, up to the signal and for its reason', async () => {
    const server = await pineconeDouble({ lags: [1e9] });
    open.push(server);
    await server.createIndex('docs', 3, 'cosine');
    const client = await start({ server });
    const giving = new AbortController();
    const reason = new ConnectorError('timeout', 'took too long');
    const upsert = client.upsert(records(1), giving.signal);
    await expect.poll(() => server.requests.filter((one) => one === 'POST /query').length).toBeGreaterThan(3);
    giving.abort(reason);
    await expect(upsert).rejects.toBe(reason);
  });

  it('leave out what Pinecone would refuse together with all the rest', async () => {
    const client = await start({ metric: 'dot' });
    const [good, other] = records(2);
    const batch = [
      { id: 'large', values: [1, 1, 1], text: 'é'.repeat(20_480) },
      ...(good ? [good] : []),
      { id: 'zero', values: [0, 1e-9, -0] },
      ...(other ? [other] : []),
    ];
    expect(await client.upsert(batch, NEVER)).toMatchObject([
      { index: 0, id: 'large', code: 'payload_too_large', message: expect.stringContaining('40960') },
      { index: 2, id: 'zero', code: 'invalid_argument' },
    ]);
    expect(await client.count(undefined, NEVER)).toBe(2);
  });

  it('are cut where they would be longer than Pinecone takes', async () => {
    const client = await start();
    const before = double.requests.length;
    expect(await client.upsert(records(120, { text: 'x'.repeat(40_000) }), NEVER)).toEqual([]);
    expect(sent('POST /vectors/upsert', before)).toBe(3);
    expect(await client.count(undefined, NEVER)).toBe(120);
  });

  it('delete nothing from a namespace that nobody has written to', async () => {
    const client = await start();
    expect(await client.delete({ all: true }, NEVER)).toBe(0);
    expect(await client.delete({ ids: ['a'] }, NEVER)).toBe(0);
    expect(await client.delete({ filter: { a: 1 } }, NEVER)).toBe(0);
  });
});

describe('reads', () => {
  it('of many long ids are cut to URLs that a proxy takes', async () => {
    const client = await start();
    const all = records(60).map(({ id, values }) => ({ id: id.padEnd(400, '/'), values }));
    await client.upsert(all, NEVER);
    const before = double.requests.length;
    const ids = all.map(({ id }) => id).toReversed();
    expect((await client.fetch(ids, NEVER)).map(({ id }) => id)).toEqual(ids);
    expect(sent('GET /vectors/fetch', before)).toBe(13);
  });

  it('count one by one while the statistics may be old, and trust them later', async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    const client = await start({ context: { clock } });
    await client.upsert(records(250), NEVER);
    const before = double.requests.length;
    expect(await client.count(undefined, NEVER)).toBe(250);
    expect(sent('GET /vectors/list', before)).toBe(3);
    aheadMs = 61_000;
    // The double's statistics are brought up to date with every fourth request for them.
    const counts = [];
    for (let i = 0; i < 5; i++) counts.push(await client.count(undefined, NEVER));
    expect(counts.at(-1)).toBe(250);
    expect(sent('GET /vectors/list', before)).toBe(3);
  });

  it('list no further than a cursor of theirs', async () => {
    const [client, other] = [await start(), await start()];
    await client.upsert(records(5), NEVER);
    const page = { limit: 2, includeValues: false };
    const { nextCursor: cursor } = await client.list(page, NEVER);
    const forged = Buffer.from(
      JSON.stringify([JSON.parse(Buffer.from(cursor ?? '', 'base64url').toString())[0], 'x']),
    ).toString('base64url');
    const refused = { code: 'invalid_argument' };
    await expect(client.list({ ...page, cursor: forged }, NEVER)).rejects.toMatchObject(refused);
    await expect(client.list({ ...page, cursor: 'x' }, NEVER)).rejects.toMatchObject(refused);
    await expect(other.list({ ...page, cursor }, NEVER)).rejects.toMatchObject(refused);
    expect((await client.list({ ...page, cursor }, NEVER)).records.map(({ id }) => id)).toEqual(['r2', 'r3']);
  });
});

describe('the double', () => {
  const post = async (server: PineconeDouble, at: string, body: unknown) => {
    const headers = { 'api-key': server.apiKey, 'x-pinecone-api-version': '2026-07' };
    const described = await fetch(`${server.endpoint}/indexes/docs`, { headers });
    const { host } = (await described.json()) as { readonly host: string };
    return fetch(`http://${host}${at}`, { method: 'POST', headers, body: JSON.stringify(body) });
  };

  it('remembers what is not as Pinecone publishes it', async () => {
    const server = await pineconeDouble();
    open.push(server);
    await server.createIndex('docs', 3, 'cosine');
    await post(server, '/query', { topK: 1, vector: [1, 0, 0], top: 1 });
    await post(server, '/vectors/upsert', { vectors: [{ values: [1, 0, 0] }] });
    expect(server.violations).toEqual([
      expect.stringContaining('not QueryRequest as published: / must NOT have additional properties (top)'),
      expect.stringContaining("not UpsertRequest as published: /vectors/0 must have required property 'id'"),
    ]);
    const { endpoint, apiKey } = server;
    const index = { name: 'x', schema: { fields: {} }, deployment_kind: 'managed' };
    await fetch(`${endpoint}/indexes`, {
      method: 'POST',
      headers: { 'api-key': apiKey, 'x-pinecone-api-version': '2026-07' },
      body: JSON.stringify(index),
    });
    expect(server.violations.at(-1)).toContain('deployment_kind');
  });

  it.each([
    [
      'null in metadata',
      '/vectors/upsert',
      { vectors: [{ id: 'a', values: [1, 0, 0], metadata: { a: null } }] },
    ],
    ['an id that is not ASCII', '/vectors/upsert', { vectors: [{ id: 'é', values: [1, 0, 0] }] }],
    ['a vector of zeros', '/vectors/upsert', { vectors: [{ id: 'a', values: [0, 0, 0] }] }],
    ['an empty list', '/query', { topK: 1, vector: [1, 0, 0], filter: { a: { $in: [] } } }],
    ['a negated condition', '/query', { topK: 1, vector: [1, 0, 0], filter: { $not: { a: 1 } } }],
    ['an order of strings', '/query', { topK: 1, vector: [1, 0, 0], filter: { a: { $gt: 'x' } } }],
    ['more than 10,000 matches', '/query', { topK: 10_001, vector: [1, 0, 0] }],
  ])('refuses %s', async (_, at, body) => {
    expect((await post(double, at, { namespace: 'n', ...body })).status).toBe(400);
  });
});
