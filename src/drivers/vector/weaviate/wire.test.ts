import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import weaviate, { type WeaviateClient } from 'weaviate-client';
import type { VectorClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import { numberProperty } from './filter.ts';
import driver from './index.ts';
import { uuidOf } from './rows.ts';
import { weaviateDouble, type WeaviateDouble } from './weaviate.fixture.ts';

/** What the driver sends is what Weaviate's own client sends, and each reads what the other wrote. */
describe("beside Weaviate's own client", () => {
  const scratch = mkdtempSync(path.join(tmpdir(), 'weaviate-wire-'));
  let double: WeaviateDouble;
  let ours: VectorClient;
  let theirs: WeaviateClient;
  beforeAll(async () => {
    double = await weaviateDouble({ apiKey: 'key', grpcMaxMessageSize: 104_858_000 });
    const { endpoint, grpcEndpoint } = double;
    const options = {
      endpoint,
      grpc_endpoint: grpcEndpoint,
      api_key: 'key',
      collection: 'Shared',
      tenant: 'acme',
    };
    ours = await driver.open(driver.options.parse(options), vectorContext(scratch, 3, 'euclidean'));
    theirs = await weaviate.connectToCustom({
      httpHost: '127.0.0.1',
      httpPort: Number(new URL(endpoint).port),
      grpcHost: '127.0.0.1',
      grpcPort: Number(new URL(grpcEndpoint).port),
      authCredentials: new weaviate.ApiKey('key'),
    });
  });
  afterAll(async () => {
    await theirs.close();
    await ours.close();
    await double.close();
    rmSync(scratch, { recursive: true, force: true });
  });
  const collection = () => theirs.collections.get('Shared').withTenant('acme').withConsistency('ALL');
  const last = (method: string) => double.requests.findLast((one) => one.method === method)?.message;
  const id = 'r 1';

  it('a record is written alike', async () => {
    const values = [1, -0.25, 3];
    await ours.upsert([{ id, values, metadata: { n: 2, t: 'ü' }, text: 'words' }], NEVER);
    const sent = last('BatchObjects');
    const [object] = double.store.shard('Shared', 'acme').objects.values();
    await collection().data.insertMany([
      { id: uuidOf(id), vectors: values, properties: { ...object?.properties } as Record<string, string> },
    ]);
    const told = last('BatchObjects');
    expect(sent).toEqual(told);
  });

  it('a search by vector and filter is asked alike', async () => {
    const filter = { $or: [{ n: { $gt: 1.5 } }, { $not: { t: 'x' } }] };
    const [found] = await ours.search(
      [1, 0, 3],
      { topK: 2, filter, includeValues: true, includeMetadata: true },
      NEVER,
    );
    const sent = last('Search');
    const own = collection();
    const result = await own.query.nearVector([1, 0, 3], {
      limit: 3,
      filters: {
        operator: 'Or',
        value: null,
        filters: [
          own.filter.byProperty(numberProperty('n')).greaterThan(1.5),
          own.filter.byProperty('terms').containsNone(['["is","t","x"]']),
        ],
      },
      returnProperties: ['record_id', 'text', 'values', 'metadata'],
      returnMetadata: ['distance'],
    });
    expect({ ...(sent as object), consistencyLevel: undefined }).toEqual({
      ...(last('Search') as object),
      // Reads of one replica see what all have: so the driver asks for no more.
      consistencyLevel: undefined,
    });
    const [object] = result.objects;
    expect(object?.properties['record_id']).toBe(found?.id);
    expect(Math.sqrt(object?.metadata?.distance ?? NaN)).toBe(found?.rawScore);
  });

  it('records are read by id, counted and deleted alike', async () => {
    expect(await ours.fetch([id], NEVER)).toHaveLength(1);
    const read = last('Search') as { filters: unknown };
    const own = collection();
    await own.query.fetchObjects({ filters: own.filter.byId().containsAny([uuidOf(id)]) });
    expect(read.filters).toEqual((last('Search') as { filters: unknown }).filters);

    expect(await ours.count({ t: 'ü' }, NEVER)).toBe(1);
    const counted = last('Aggregate');
    const is = own.filter.byProperty('terms').containsAny(['["is","t","ü"]']);
    expect((await own.aggregate.overAll({ filters: is })).totalCount).toBe(1);
    expect(counted).toEqual(last('Aggregate'));

    expect(await ours.delete({ filter: { t: 'x' } }, NEVER)).toBe(0);
    const deleted = last('BatchDelete');
    await own.data.deleteMany(own.filter.byProperty('terms').containsAny(['["is","t","x"]']));
    expect(deleted).toEqual(last('BatchDelete'));
  });

  it('records are listed after another alike', async () => {
    await ours.list({ limit: 4, includeValues: false, cursor: uuidOf(id) }, NEVER);
    const sent = last('Search');
    await collection().query.fetchObjects({
      limit: 5,
      after: uuidOf(id),
      returnProperties: ['record_id', 'text', 'metadata'],
    });
    expect({ ...(sent as object), consistencyLevel: undefined }).toEqual({
      ...(last('Search') as object),
      consistencyLevel: undefined,
    });
  });

  it('the key is told alike', () => {
    const keys = double.requests.map(({ metadata }) => metadata.get('authorization'));
    expect(new Set(keys)).toEqual(new Set(['Bearer key']));
  });
});

it('ids are UUIDs of version 5', () => {
  expect(uuidOf('a')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  // RFC 9562, appendix A.4
  expect(uuidOf('www.example.com', '6ba7b8109dad11d180b400c04fd430c8')).toBe(
    '2ed6657d-e927-568b-95e1-2665a8aea6a2',
  );
});
