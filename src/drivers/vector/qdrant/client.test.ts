import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { DistanceMetric, VectorClient, VectorOpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';
import { pointId } from './point.ts';
import { qdrantDouble, type QdrantDouble } from './qdrant.fixture.ts';

const KEY = 'worthless-5d1c';
const scratch = mkdtempSync(path.join(tmpdir(), 'qdrant-'));
const double = await qdrantDouble({ apiKey: KEY });
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});
afterAll(async () => {
  await double.close();
  rmSync(scratch, { recursive: true, force: true });
});

type Settings = {
  readonly options?: Readonly<Record<string, unknown>>;
  readonly dimension?: number;
  readonly metric?: DistanceMetric;
  readonly context?: Partial<VectorOpenContext>;
};

async function start({ options, dimension = 3, metric = 'cosine', context }: Settings = {}) {
  const own = { ...vectorContext(scratch, dimension, metric), ...context };
  const client = await driver.open(
    driver.options.parse({ endpoint: double.url, api_key: KEY, ...options }),
    own,
  );
  open.push(client);
  const name = `connector_${own.connectorId.replaceAll('-', '')}`;
  return { client, name, stored: double.collections.get(name), own };
}

const search = (client: VectorClient, vector: readonly number[], topK = 10) =>
  client.search(vector, { topK, includeValues: true, includeMetadata: true }, NEVER);
const failureOf = (attempt: Promise<unknown>): Promise<unknown> =>
  attempt.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('opening', () => {
  it('shows each stage, and makes the collection with an index for all that filters ask about', async () => {
    const stages: string[] = [];
    const { stored } = await start({
      context: {
        stage(name, step) {
          stages.push(name);
          return step();
        },
      },
    });
    expect(stages).toEqual(['address', 'connect', 'credentials', 'collection']);
    expect(stored?.config).toEqual({ size: 3, distance: 'Cosine' });
    expect([...(stored?.indexes.keys() ?? [])]).toEqual([
      'terms',
      'numbers[].field',
      'numbers[].high',
      'numbers[].low',
    ]);
  });

  it('has writes acknowledged by every replica, since a read asks one of them', async () => {
    const { stored } = await start({ options: { replication_factor: 3 } });
    expect(stored?.params).toMatchObject({ replication_factor: 3, write_consistency_factor: 3 });
  });

  it('takes the collection that somebody else makes at the same time', async () => {
    const own = vectorContext(scratch, 3, 'dot');
    const options = driver.options.parse({ endpoint: double.url, api_key: KEY });
    open.push(...(await Promise.all([driver.open(options, own), driver.open(options, own)])));
    const [first] = open as unknown as readonly VectorClient[];
    expect(await first?.count(undefined, NEVER)).toBe(0);
  });

  it('names both sides of what does not match', async () => {
    const { own } = await start({ metric: 'dot' });
    const again = (change: Partial<VectorOpenContext>) => start({ context: { ...own, ...change } });
    await expect(again({ dimension: 4 })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('3 dimensions, and the connector 4'),
    });
    await expect(again({ metric: 'cosine' })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('Dot, and the connector Cosine'),
    });
  });

  it('refuses a server that is too old', async () => {
    const old = await qdrantDouble({ version: '1.9.7' });
    open.push(old);
    await expect(start({ options: { endpoint: old.url } })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('1.9.7'),
    });
  });
});

describe('scores', () => {
  it('are the true distance, which is what Qdrant answers for Euclid', async () => {
    const { client } = await start({ metric: 'euclidean' });
    await client.upsert([{ id: 'a', values: [3, 4, 0] }], NEVER);
    expect(await search(client, [0, 0, 0])).toMatchObject([{ id: 'a', rawScore: 5 }]);
  });

  it.each([1e-6, 1e25])(
    'of vectors of length %d are cosines, though Qdrant cannot normalise them',
    async (length) => {
      const { client } = await start();
      const values = [3 * length, 4 * length, 0].map(Math.fround);
      await client.upsert([{ id: 'a', values }], NEVER);
      const [match] = await search(client, [length, 0, 0]);
      expect(match?.rawScore).toBeCloseTo(0.6, 6);
      expect(match?.values).toEqual(values);
    },
  );

  it('that are equal are all read before the smallest ids are chosen', async () => {
    const { client, name } = await start({ metric: 'dot' });
    const ids = Array.from({ length: 300 }, (_, i) => `t${String(i).padStart(3, '0')}`);
    await client.upsert(
      ids.map((id, i) => ({ id, values: [1, 2, 3], metadata: { i }, text: id })),
      NEVER,
    );
    const before = double.requests.length;
    const found = await search(client, [1, 1, 1], 5);
    expect(found).toEqual(
      ids.slice(0, 5).map((id, i) => ({ id, rawScore: 6, values: [1, 2, 3], metadata: { i }, text: id })),
    );
    const queries = double.requests.slice(before).filter((one) => one.includes(`${name}/points/query`));
    expect(queries).toHaveLength(4); // 6, 24, 96 and 384
  });
});

describe('requests', () => {
  it('wait until a write can be found', async () => {
    const { client, name } = await start();
    const before = double.requests.length;
    await client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    await search(client, [1, 0, 0]);
    await client.delete({ all: true }, NEVER);
    expect(double.requests.slice(before)).toEqual([
      `PUT /collections/${name}/points?wait=true&ordering=strong`,
      `POST /collections/${name}/points/query`,
      `POST /collections/${name}/points/count`,
      `POST /collections/${name}/points/delete?wait=true&ordering=strong`,
    ]);
  });

  it('are cut where they would be longer than Qdrant takes', async () => {
    const { client, name } = await start();
    const text = 'é'.repeat(1_000_000);
    const records = Array.from({ length: 20 }, (_, i) => ({ id: `r${i}`, values: [1, i, 0], text }));
    const before = double.requests.length;
    expect(await client.upsert(records, NEVER)).toEqual([]);
    expect(double.requests.slice(before).filter((one) => one.includes(`${name}/points?`))).toHaveLength(2);
    expect(await client.count(undefined, NEVER)).toBe(20);
  });

  it.each(['cosine', 'dot'] as const)(
    'ask for no more values by %s than an answer should hold',
    async (metric) => {
      const dimension = 65_535;
      const { client, name } = await start({ dimension, metric });
      const values = Array.from({ length: dimension }, (_, i) => i % 7);
      await client.upsert([{ id: 'r99', values }], NEVER);
      const before = double.requests.length;
      const asked = () => double.requests.slice(before).map((one) => one.split(name)[1]);
      const ids = Array.from({ length: 100 }, (_, i) => `r${i}`);
      expect(await client.fetch(ids, NEVER)).toEqual([{ id: 'r99', values }]);
      expect(asked()).toEqual(['/points', '/points']);
      expect(await search(client, values, 100)).toMatchObject([{ id: 'r99', values }]);
      expect(asked().slice(2)).toEqual(['/points/query', '/points']);
    },
  );

  it('leave out a record that is too long by itself', async () => {
    const { client } = await start();
    const records = [
      { id: 'a', values: [1, 0, 0] },
      { id: 'b', values: [1, 0, 0], text: 'x'.repeat(32_000_000) },
      { id: 'c', values: [1, 0, 0] },
    ];
    expect(await client.upsert(records, NEVER)).toMatchObject([
      { index: 1, id: 'b', code: 'payload_too_large' },
    ]);
    expect(await client.count(undefined, NEVER)).toBe(2);
  });

  it('list no further than a cursor of theirs', async () => {
    const { client } = await start();
    for (const cursor of ['7', 'x', `${pointId('a')}x`])
      await expect(client.list({ limit: 1, cursor, includeValues: false }, NEVER)).rejects.toMatchObject({
        code: 'invalid_argument',
      });
  });

  it('compare with every vector where that was asked for', async () => {
    const { client } = await start({ options: { exact: true, hnsw_ef: 512 } });
    await client.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    expect(await search(client, [1, 0, 0])).toHaveLength(1);
    expect(double.violations).toEqual([]);
  });
});

describe('check', () => {
  it('says what answers, and that a key is sent in clear', async () => {
    const { client, name } = await start();
    expect(await client.check(NEVER)).toEqual([
      { level: 'info', message: `Qdrant 1.19.0, collection ${name}` },
      { level: 'warn', message: 'the API key is sent in clear; use an endpoint with https' },
    ]);
  });

  it('says that an index is missing, and that writes may not be seen at once', async () => {
    const { client, stored } = await start();
    stored?.indexes.delete('terms');
    Object.assign(stored?.params ?? {}, { replication_factor: 3, write_consistency_factor: 2 });
    const messages = (await client.check(NEVER)).map(({ message }) => message).join('\n');
    expect(messages).toContain('no payload index for terms');
    expect(messages).toContain('2 of 3 replicas');
  });
});

describe('failures', () => {
  it('of credentials are auth_failed, and hold no secret', async () => {
    for (const options of [{ api_key: 'wrong-7c2e' }, { api_key: undefined }]) {
      const error = await failureOf(start({ options }));
      expect(error).toMatchObject({ code: 'auth_failed' });
      expect(inspect(error, { depth: 9 })).not.toContain('wrong-7c2e');
    }
  });

  it.each([
    [403, 'auth_failed', {}],
    [404, 'not_found', {}],
    [429, 'rate_limited', { retryAfterMs: 30_000 }],
    [500, 'backend_error', {}],
    [503, 'unavailable', {}],
  ])('of status %d are %s', async (status, code, more) => {
    const { client } = await start();
    double.refuseNext(status, JSON.stringify({ status: { error: 'no: because' }, time: 0 }), {
      'retry-after': '30',
    });
    await expect(client.count(undefined, NEVER)).rejects.toMatchObject({
      code,
      message: expect.stringContaining('no: because'),
      ...more,
    });
    expect(await client.count(undefined, NEVER)).toBe(0);
  });

  it('of another kind of server are backend_error', async () => {
    const { client } = await start();
    for (const body of ['<html>It works!</html>', '{"result":"yes"}', '{"result":{"count":-1}}', '{', '']) {
      double.refuseNext(200, body);
      await expect(client.count(undefined, NEVER)).rejects.toMatchObject({ code: 'backend_error' });
    }
    const strange = await nonsense();
    open.push(strange);
    await expect(start({ options: { endpoint: strange.url } })).rejects.toMatchObject({
      code: 'backend_error',
    });
    const noise = await garbage();
    open.push(noise);
    await expect(start({ options: { endpoint: noise.url } })).rejects.toMatchObject({
      code: 'backend_error',
    });
  });

  it('to redirect are failures, so that the key goes nowhere else', async () => {
    const elsewhere = await statusServer(302, '', { location: double.url });
    open.push(elsewhere);
    await expect(start({ options: { endpoint: elsewhere.url } })).rejects.toMatchObject({
      code: 'backend_error',
    });
  });

  it('to reach anybody are unavailable', async () => {
    const closed = await closedPort();
    await expect(start({ options: { endpoint: closed.url } })).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('of TLS are unavailable and say so; its certificate may be trusted', async () => {
    const server = await selfSigned((_request, response) => void response.writeHead(401).end('no'));
    open.push(server);
    await expect(start({ options: { endpoint: server.url } })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('TLS'),
    });
    const trusted = start({ options: { endpoint: server.url, ca: server.certificate } });
    await expect(trusted).rejects.toMatchObject({ code: 'auth_failed' });
  });

  it('to answer end with the signal, for its reason', async () => {
    const hole = await blackHole();
    open.push(hole);
    const giving = new AbortController();
    const attempt = start({
      options: { endpoint: hole.url },
      context: {
        signal: giving.signal,
        stage(name, step) {
          const running = step();
          if (name === 'credentials') giving.abort();
          return running;
        },
      },
    });
    await expect(attempt).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('in a collection that holds points of others are named', async () => {
    const { client, stored } = await start();
    const id = pointId('x');
    stored?.points.set(id, { id, vector: new Float32Array(3), payload: { name: 'of others' } });
    await expect(search(client, [1, 0, 0])).rejects.toMatchObject({
      code: 'backend_error',
      message: expect.stringContaining('something else writes into the collection'),
    });
  });
});

describe('the double', () => {
  const put = (server: QdrantDouble, name: string, body: unknown, query = '?wait=true') =>
    fetch(`${server.url}/collections/${name}/points${query}`, {
      method: 'PUT',
      headers: { 'api-key': KEY },
      body: JSON.stringify(body),
    });

  it('refuses what the contract does not have, and remembers it', async () => {
    const own = await qdrantDouble({ apiKey: KEY });
    open.push(own);
    const answer = await put(own, 'a', { points: [{ id: pointId('a'), vectors: [1] }] });
    expect(answer.status).toBe(400);
    expect(own.violations).toEqual([expect.stringContaining('vectors')]);
  });

  it('does not find what nobody waited for', async () => {
    const { client, name } = await start();
    const points = [{ id: pointId('a'), vector: [1, 0, 0], payload: { id: 'a' } }];
    expect(await (await put(double, name, { points }, '')).json()).toMatchObject({
      result: { status: 'acknowledged' },
    });
    expect(await client.count(undefined, NEVER)).toBe(0);
  });
});
