import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DistanceMetric, Metadata, VectorClient, VectorRecord } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { numbers, vectorConnector } from '../../../testing/vector-suite.ts';
import { contextOf, startClients, type ChromaClients } from './clients.fixture.ts';
import driver from './index.ts';
import { replacing, sentOf, sizeOf } from './records.ts';

let chroma: ChromaClients;
beforeAll(async () => {
  chroma = await startClients();
});
afterAll(async () => chroma.close());

const QUERY = { topK: 10, includeValues: false, includeMetadata: true };
const ids = (records: readonly { readonly id: string }[]): readonly string[] => records.map(({ id }) => id);

describe('an upsert of an id that exists', () => {
  const full: VectorRecord = {
    id: 'a',
    values: [1, 0, 0],
    metadata: { kept: 1, gone: 'x', list: ['p', 'q'], nothing: null, deep: { f: 1.5 } },
    text: 'old',
  };
  const found = async (client: VectorClient, filter: Metadata) =>
    ids(await client.search([1, 1, 1], { ...QUERY, filter }, NEVER));

  it('replaces the metadata wholly, so that no filter finds what is gone', async () => {
    const client = await chroma.open({ collection: 'replaced' });
    await client.upsert([full], NEVER);
    await client.upsert([{ id: 'a', values: [0, 1, 0], metadata: { kept: 2 } }], NEVER);
    expect(await client.fetch(['a'], NEVER)).toEqual([{ id: 'a', values: [0, 1, 0], metadata: { kept: 2 } }]);
    for (const filter of [{ gone: 'x' }, { list: { $contains: 'p' } }, { nothing: null }, { 'deep.f': 1.5 }])
      expect(await found(client, filter)).toEqual([]);
    expect(await found(client, { kept: 2 })).toEqual(['a']);
    const { metadatas, documents } = await (await chroma.look('replaced')).get();
    expect(Object.keys(metadatas[0] ?? {}).sort()).toEqual(['connector:record', 'kept']);
    expect(documents).toEqual(['']);
  });

  it('leaves none of it to a record that has neither metadata nor text', async () => {
    const client = await chroma.open({}, contextOf(3, 'dot'));
    await client.upsert([full], NEVER);
    await client.upsert([{ id: 'a', values: [0, 1, 0] }], NEVER);
    expect(await client.fetch(['a'], NEVER)).toEqual([{ id: 'a', values: [0, 1, 0] }]);
    await client.upsert([full], NEVER);
    expect(await client.fetch(['a'], NEVER)).toEqual([full]);
  });

  it('leaves the texts of others in the same batch alone, an empty one as well', async () => {
    const client = await chroma.open();
    await client.upsert([full], NEVER);
    const batch: VectorRecord[] = [
      { id: 'a', values: [0, 1, 0] },
      { id: 'b', values: [0, 1, 0], text: 'new' },
      { id: 'c', values: [0, 1, 0], text: '' },
      { id: 'd', values: [0, 1, 0] },
    ];
    await client.upsert(batch, NEVER);
    expect(await client.fetch(['a', 'b', 'c', 'd'], NEVER)).toEqual(batch);
  });

  it('of the same id in the same batch is outdone by the last', async () => {
    const context = contextOf(3, 'cosine');
    const client = await chroma.open({}, context);
    const batch = [full, { id: 'b', values: [1, 1, 0] }, { id: 'a', values: [0, 1, 0], metadata: { n: 1 } }];
    const last = { id: 'a', values: [0, 1, 0], metadata: { n: 1 } };
    expect(await client.upsert(batch, NEVER)).toEqual([]);
    expect(await client.fetch(['a', 'b'], NEVER)).toEqual([last, batch[1]]);
    const connector = vectorConnector(client, context, driver.capabilities);
    expect(await connector.upsertVectors([full, last])).toEqual({ upserted: 2, failed: 0, errors: [] });
    expect(await client.fetch(['a'], NEVER)).toEqual([last]);
  });

  it('is never mixed with another of the same client at the same time', async () => {
    const client = await chroma.open();
    const versions = Array.from({ length: 12 }, (_, i) => ({
      id: 'a',
      values: [1, i, 0],
      metadata: { [`only ${i}`]: i },
      ...(i % 2 === 0 && { text: `text ${i}` }),
    }));
    await Promise.all(versions.map((version) => client.upsert([version], NEVER)));
    expect(await client.fetch(['a'], NEVER)).toEqual([versions[11]]);
    expect(await found(client, { 'only 3': 3 })).toEqual([]);
  });
});

describe('a collection that another tool wrote', () => {
  const rows = [
    { id: 'plain', metadata: { page: 3, ok: true, title: 'x', 'a.b': 'deep' }, document: 'words' },
    { id: 'bare', metadata: null, document: null },
    { id: 'null', metadata: { page: 4, 'connector:record': 'null' }, document: 'more' },
    { id: 'list', metadata: { page: 5, 'connector:record': '[1]' }, document: null },
    { id: 'figure', metadata: { page: 6, 'connector:record': '{"exact":7}' }, document: null },
    { id: 'half', metadata: { page: 7, 'connector:record': '{"meta' }, document: null },
    { id: 'none', metadata: { page: 8, 'connector:record': 9 }, document: null },
  ];
  let client: VectorClient;
  beforeAll(async () => {
    const theirs = await chroma.foreign('tool', 'cosine');
    for (const [i, { id, metadata, document }] of rows.entries())
      await theirs.add({
        ids: [id],
        embeddings: [[1, i, 0]],
        ...(metadata && { metadatas: [metadata] }),
        ...(document !== null && { documents: [document] }),
      });
    client = await chroma.open({ collection: 'tool' });
  });

  it('is read with its metadata and its documents as texts, whatever lies under the key of ours', async () => {
    const expected = rows.map(({ id, metadata, document }) => {
      const { 'connector:record': _, ...own } = { 'connector:record': undefined, ...metadata };
      return {
        id,
        ...(metadata && { metadata: own }),
        ...(document !== null && { text: document }),
      };
    });
    const read = await client.list({ limit: 100, includeValues: false }, NEVER);
    const byId = new Map(read.records.map((record) => [record.id, record]));
    expect(rows.map(({ id }) => byId.get(id))).toEqual(expected);
    expect((await client.fetch(['bare'], NEVER))[0]?.values[0]).toBeCloseTo(1, 6);
  });

  it('is found by its strings, booleans and integers, those under a dotted key as well', async () => {
    const found = async (filter: Metadata) =>
      [...ids(await client.search([1, 1, 1], { ...QUERY, filter }, NEVER))].sort();
    expect(await found({ ok: true })).toEqual(['plain']);
    expect(await found({ title: 'x' })).toEqual(['plain']);
    expect(await found({ 'a.b': 'deep' })).toEqual(['plain']);
    expect(await found({ page: { $gt: 3, $lte: 5 } })).toEqual(['list', 'null']);
    expect(await client.count({ page: { $ne: 3 } }, NEVER)).toBe(6);
  });

  it('has its records replaced as wholly as ours', async () => {
    const anew = rows.map(({ id }, i) => ({ id, values: [i, 1, 0], metadata: { mine: i } }));
    expect(await client.upsert(anew, NEVER)).toEqual([]);
    expect(await client.fetch(ids(rows), NEVER)).toEqual(anew);
    expect(await client.count({ page: { $gte: 0 } }, NEVER)).toBe(0);
  });
});

describe('values', () => {
  const smallest = 2 ** -149;
  const vectors: Readonly<Record<DistanceMetric, readonly (readonly number[])[]>> = {
    cosine: [
      [1, 1e-30, 0],
      [1, 1e-38, smallest],
      [1e-14, 3e-15, -0.5e-15],
      [9e18, 1, -3],
      // At length 1 the small ones are no numbers of float32 any more.
      [9e18, 1e-25, -3e-28],
      [0.1, 0.2, 0.3],
      [-1, -(1 + 2 ** -23), 1 - 2 ** -24],
    ],
    euclidean: [
      [0, 0, 0],
      [3.4e38, -3.4e38, smallest],
      [1e-38, 1e-40, 1],
    ],
    dot: [
      [0, 0, 0],
      [3.4e38, -3.4e38, smallest],
      [1e-38, 1e-40, 1],
    ],
  };

  it.each(['cosine', 'euclidean', 'dot'] as const)(
    'by %s come back to the last bit, from search, fetch and list',
    async (metric) => {
      const client = await chroma.open({}, contextOf(3, metric));
      const records = vectors[metric].map((values, i) => ({ id: `v${i}`, values: values.map(Math.fround) }));
      expect(await client.upsert(records, NEVER)).toEqual([]);
      expect(await client.fetch(ids(records), NEVER)).toEqual(records);
      expect((await client.list({ limit: 10, includeValues: true }, NEVER)).records).toEqual(records);
      const query = { topK: 10, includeValues: true, includeMetadata: false };
      const found = await client.search([1, 1, 1], query, NEVER);
      const valuesOf = new Map(found.map(({ id, values }) => [id, values]));
      for (const { id, values } of records) expect(valuesOf.get(id)).toEqual(values);
    },
  );

  it('by cosine come back to the last bit from 2,000 random vectors of all lengths', async () => {
    const client = await chroma.open({}, contextOf(7, 'cosine'));
    const records = numbers(2_000, 7, 11).map((values, i) => ({
      id: `v${String(i).padStart(4, '0')}`,
      values: values.map((value) => Math.fround(value * 10 ** ((i % 31) - 14))),
    }));
    for (let at = 0; at < 2_000; at += 500) await client.upsert(records.slice(at, at + 500), NEVER);
    expect(await client.fetch(ids(records), NEVER)).toEqual(records);
  });

  it('by cosine that Chroma finds no direction in are refused, and no others', async () => {
    const client = await chroma.open();
    const refused = await client.upsert(
      [
        { id: 'short', values: [1e-20, 0, 0] },
        { id: 'good', values: [1, 0, 0] },
        { id: 'long', values: [1e30, 0, 0] },
      ],
      NEVER,
    );
    const of = (index: number, id: string) => ({
      index,
      id,
      code: 'invalid_argument',
      message: expect.stringContaining('length from'),
    });
    expect(refused).toEqual([of(0, 'short'), of(2, 'long')]);
    expect(await client.count(undefined, NEVER)).toBe(1);
  });
});

describe('a batch', () => {
  it('of more bytes than a request may have is cut, and all of it is written', async () => {
    const client = await chroma.open({}, contextOf(16_384, 'dot'));
    const [values = []] = numbers(1, 16_384, 4);
    const records = Array.from({ length: 150 }, (_, i) => ({ id: `v${i}`, values, metadata: { i } }));
    expect(JSON.stringify(records).length).toBeGreaterThan(44 * 2 ** 20);
    expect(await client.upsert(records, NEVER)).toEqual([]);
    expect(await client.count(undefined, NEVER)).toBe(150);
    expect(await client.fetch(['v0', 'v149'], NEVER)).toEqual([records[0], records[149]]);
  });

  it('is measured as no smaller than it is sent, whatever is in it and whatever it replaces', () => {
    const [values = []] = numbers(1, 64, 9);
    const least = values.map((value) => Math.fround(value * 1e-38));
    const before = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`was ${i}`, 'x']));
    const list = Array.from({ length: 1_000 }, (_, i) => i);
    const records: readonly VectorRecord[] = [
      { id: 'a', values },
      { id: 'é"\0', values: least, text: '\u0001é💥"\n' },
      {
        id: 'list',
        values: least,
        metadata: { ['k"'.repeat(100)]: list, fraction: { ['f'.repeat(500)]: 1 / 3 } },
      },
    ];
    for (const record of records) {
      for (const old of [null, before]) {
        const sent = replacing(sentOf(record, 'cosine'), old);
        const { id, values: embedding, metadata, text } = sent;
        expect(sizeOf(sent)).toBeGreaterThan(
          Buffer.byteLength(JSON.stringify([[id], [embedding], [metadata], [text]])),
        );
      }
    }
  });

  const wide = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`${i}`, true]));
  it.each<[string, Metadata, string]>([
    // Each of the 2,000 keys is stored with the 32,000 characters that lead to it.
    ['takes more bytes than a request', { ['k'.repeat(32_000)]: wide }, '40 MiB'],
    // Chroma 1.0.0 would acknowledge it, and fail every later call to the collection.
    ['takes more keys than SQLite can write', { l: Array.from({ length: 5_500 }, (_, i) => i) }, '5502 keys'],
  ])('goes without a record that %s, which is refused by its index', async (_what, metadata, words) => {
    const context = contextOf(3, 'cosine');
    const connector = vectorConnector(await chroma.open({}, context), context, driver.capabilities);
    const values = [1, 0, 0];
    const result = await connector.upsertVectors([
      { id: 'before', values, metadata: { n: 1 } },
      { id: 'large', values, metadata },
      { id: 'after', values, text: 'x' },
    ]);
    expect(result).toEqual({
      upserted: 2,
      failed: 1,
      errors: [
        {
          index: 1,
          id: 'large',
          code: 'payload_too_large',
          message: expect.stringContaining(words),
        },
      ],
    });
    expect(ids(await connector.fetchVectors(['before', 'large', 'after']))).toEqual(['before', 'after']);
  });

  it('takes 5,000 keys in a record, and replaces them by as many others', async () => {
    const client = await chroma.open();
    const list = (from: number): readonly number[] => Array.from({ length: 4_998 }, (_, i) => from + i);
    for (const from of [0, 5_000]) {
      const record = { id: 'a', values: [1, 0, 0], metadata: { l: list(from) }, text: 'x' };
      expect(await client.upsert([record], NEVER)).toEqual([]);
      expect(await client.fetch(['a'], NEVER)).toEqual([record]);
    }
    expect(await client.count({ l: { $contains: 4_997 } }, NEVER)).toBe(0);
  });
});
