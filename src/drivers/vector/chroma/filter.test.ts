import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Filter, Metadata, VectorClient, VectorRecord } from '../../../driver.ts';
import { matches, parseFilter } from '../../../connectors/vector/filter.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { ChromaVectors } from './client.ts';
import { startClients, type ChromaClients } from './clients.fixture.ts';
import { halvesOf } from './layout.ts';

let chroma: ChromaClients;
beforeAll(async () => {
  chroma = await startClients();
});
afterAll(async () => chroma.close());

/** Ids in order, whatever the scores. */
async function found(client: VectorClient, filter: Filter): Promise<readonly string[]> {
  const query = { topK: 1_000, filter, includeValues: false, includeMetadata: false };
  const ids = (await client.search([1, 0, 0], query, NEVER)).map(({ id }) => id).sort();
  expect(await client.count(filter, NEVER)).toBe(ids.length);
  return ids;
}

function expected(records: readonly VectorRecord[], filter: Filter): readonly string[] {
  const node = parseFilter(filter);
  return records
    .filter(({ metadata }) => matches(node, metadata))
    .map(({ id }) => id)
    .sort();
}

async function filled(metadata: readonly (Metadata | undefined)[]) {
  const records = metadata.map((one, i): VectorRecord => ({
    id: `r${i}`,
    values: [1, i, 0],
    ...(one && { metadata: one }),
  }));
  const client = await chroma.open();
  expect(await client.upsert(records, NEVER)).toEqual([]);
  return { client, records };
}

describe('a key', () => {
  const KEYS = [
    ...[
      '"',
      "'",
      '`',
      '\\',
      '{"$gt":1}',
      '") OR 1=1 --',
      '',
      ' ',
      '\0',
      '\n',
      '語 💥',
      'K',
      'k',
      '0',
      '*',
      '%',
    ],
    ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', 'id', 'document', 'embedding'],
    ...['#document', '#metadata', 'chroma:document', 'chroma:', 'document$', 'a$and'],
    ...['connector:record', 'connector:field:k', 'connector:null:k', 'connector:array:k', 'connector:high:k'],
    ...['connector:item:["k","x"]', 'connector:dimension', 'connector:', 'x'.repeat(1_024)],
  ];
  const NESTED = ['a.$where', 'a.$and', '#document.$or', '__proto__.__proto__', '.'];

  it('of any kind is asked for as data, and answers for itself alone', async () => {
    const own = (key: string, value: Metadata[string]): Metadata => Object.fromEntries([[key, value]]);
    const all = [
      ...KEYS.map((key) => own(key, 'x')),
      ...KEYS.map((key) => own(key, 1.5)),
      ...KEYS.map((key) => own(key, null)),
      ...KEYS.map((key) => own(key, ['x', 7])),
      ...NESTED.map((path) => path.split('.')).map(([outer = '', inner = '']) => own(outer, own(inner, 'x'))),
      // No filter reaches a key that holds a dot.
      own('a.$where', 'x'),
      own('.', 'x'),
      undefined,
    ];
    const { client, records } = await filled(all);
    const read = await client.fetch(
      records.map(({ id }) => id),
      NEVER,
    );
    expect(read).toEqual(records);
    for (const [i, key] of KEYS.entries()) {
      const at = (kind: number): readonly string[] => [`r${kind * KEYS.length + i}`];
      expect(await found(client, own(key, 'x')), key).toEqual(at(0));
      expect(await found(client, own(key, 1.5)), key).toEqual(at(1));
      expect(await found(client, own(key, null)), key).toEqual(at(2));
      expect(await found(client, own(key, { $contains: 'x' })), key).toEqual(at(3));
      expect(await found(client, own(key, { $gt: 1, $lt: 2 })), key).toEqual(at(1));
      const others = expected(records, own(key, { $ne: 'x' }));
      expect(others).toHaveLength(records.length - 1);
      expect(await found(client, own(key, { $ne: 'x' })), key).toEqual(others);
    }
    for (const [i, path] of NESTED.entries())
      expect(await found(client, own(path, 'x')), path).toEqual([`r${4 * KEYS.length + i}`]);
  });
});

describe('a number', () => {
  const NUMBERS = [
    ...[0, -0, 1, -1, 2, 3, 1.5, -1.5, 0.5, -0.5, 2.5, 0.1, 0.2, 0.3, 0.1 + 0.2, 1 / 3, -1 / 3, 1e-7],
    ...[2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, -(2 ** 53 - 1), -(2 ** 53), -(2 ** 53 + 2), 2 ** 52 + 0.5],
    ...[2 ** 63, 2 ** 64, -(2 ** 63), 1e16, 1e19, 1e308, -1e308, Number.MAX_VALUE, -Number.MAX_VALUE],
    ...[5e-324, -5e-324, 2.2250738585072014e-308, 1e-320, 123_456.789, 2 ** 51 + 0.25],
  ];

  it('of any size is compared exactly, by every operator and with every other', async () => {
    const { client, records } = await filled([
      ...NUMBERS.map((n) => ({ n })),
      ...NUMBERS.map((n) => ({ n: [n] })),
      { n: '1' },
      { n: true },
      { n: null },
      undefined,
    ]);
    for (const n of NUMBERS) {
      const conditions = [
        n,
        { $ne: n },
        { $gt: n },
        { $gte: n },
        { $lt: n },
        { $lte: n },
        { $in: [n, 1.5, '1', true] },
        { $nin: [n, 1.5, '1', null] },
        { $contains: n },
        { $containsAny: [n, 2] },
        { $containsAll: [n] },
        { $not: { $eq: n } },
        { $not: { $contains: n } },
      ];
      for (const condition of conditions) {
        const filter: Filter = { n: condition };
        expect(await found(client, filter), JSON.stringify(filter)).toEqual(expected(records, filter));
      }
    }
  });

  it('comes back as it was written, but for the sign of a zero', async () => {
    const { client, records } = await filled(NUMBERS.map((n) => ({ n, list: [n] })));
    const read = await client.fetch(
      records.map(({ id }) => id),
      NEVER,
    );
    for (const [i, n] of NUMBERS.entries())
      expect(read[i]?.metadata).toEqual({ n: n === 0 ? 0 : n, list: [n === 0 ? 0 : n] });
  });

  it('lies in the order of its two halves', () => {
    const sorted = NUMBERS.toSorted((a, b) => a - b);
    for (const [i, n] of sorted.entries()) {
      const [before, after] = [halvesOf(sorted[i - 1] ?? -Infinity), halvesOf(n)];
      for (const half of [...before, ...after]) expect(half).toBe(half >>> 0);
      const order = before[0] - after[0] || before[1] - after[1];
      expect(Math.sign(order)).toBe(Object.is(n, sorted[i - 1]) || n === sorted[i - 1] ? 0 : -1);
    }
  });
});

describe('a condition', () => {
  it('on one key asks for values of several types, and for their absence', async () => {
    const { client, records } = await filled([
      { k: 'a' },
      { k: 1 },
      { k: 1.5 },
      { k: true },
      { k: false },
      { k: null },
      { k: ['a', 1] },
      { k: [] },
      { k: {} },
      { k: { a: 1 } },
      {},
      undefined,
    ]);
    const filters: readonly Filter[] = [
      { k: { $in: ['a', 1, 1.5, true, null] } },
      { k: { $nin: ['a', 1, 1.5, true, null] } },
      { k: { $in: [] } },
      { k: { $nin: [] } },
      { k: { $containsAll: [] } },
      { k: { $not: { $containsAll: [] } } },
      { k: { $containsAny: [] } },
      { k: { $not: { $containsAny: ['a', 'b'] } } },
      { $and: [] },
      { $or: [] },
      { $not: { $and: [{ k: 'a' }, { k: { $ne: 1 } }] } },
      { $not: { $or: [{ k: 'a' }, { k: { $in: [1, 1.5] } }, { $not: { k: { $ne: null } } }] } },
      { $or: [{ k: { $in: [] } }, { k: true }, { $and: [] }] },
      { $and: [{ k: { $nin: [] } }, { k: { $gte: 1 } }] },
      { 'k.a': 1 },
      { 'k.a': { $ne: 1 } },
    ];
    for (const filter of filters)
      expect(await found(client, filter), JSON.stringify(filter)).toEqual(expected(records, filter));
  });

  it('on a list finds items whose keys are too long but for their digest', async () => {
    const long = 'x'.repeat(5_000);
    const { client } = await filled([{ l: [long] }, { l: [`${long}y`] }, { l: ['x'] }, { l: long }]);
    expect(await found(client, { l: { $contains: long } })).toEqual(['r0']);
    expect(await found(client, { l: { $containsAny: [long, `${long}y`] } })).toEqual(['r0', 'r1']);
    expect(await found(client, { l: { $not: { $contains: long } } })).toEqual(['r1', 'r2', 'r3']);
  });
});

describe('what Chroma cannot say exactly', () => {
  const touched = (): never => {
    throw new Error('Chroma was asked');
  };
  const untouchable = new Proxy({}, { get: touched }) as never;
  const idle = new ChromaVectors({
    api: { chroma: untouchable, call: touched, requireDatabase: touched, close: async () => {} },
    collection: untouchable,
    metric: 'cosine',
  });

  it.each<[Filter, string, string]>([
    [{ a: { $exists: true } }, 'filter.a.$exists', 'exists'],
    [{ a: { $exists: false } }, 'filter.a.$exists', 'exists'],
    [{ a: { $gt: 'x' } }, 'filter.a.$gt', 'gt'],
    [{ $or: [{ a: 1 }, { b: { $lte: 'x' } }] }, 'filter.$or[1].b.$lte', 'lte'],
    [{ a: { $not: { $gt: 1 } } }, 'filter.a.$not.$gt', 'not'],
    [{ $not: { $and: [{ b: 1 }, { a: { $lt: 1.5 } }] } }, 'filter.$not.$and[1].a.$lt', 'not'],
    [{ $not: { $not: { $not: { a: { $gte: 0 } } } } }, 'filter.$not.$not.$not.a.$gte', 'not'],
  ])('is unsupported at its path before anything is sent: %j', async (filter, path, missing) => {
    const refusal = {
      code: 'unsupported',
      details: { capability: 'filter', missing: [missing] },
      issues: [{ path }],
    };
    const query = { topK: 1, filter, includeValues: false, includeMetadata: false };
    await expect(idle.search([1, 0, 0], query, NEVER)).rejects.toMatchObject(refusal);
    await expect(idle.count(filter, NEVER)).rejects.toMatchObject(refusal);
    await expect(idle.delete({ filter }, NEVER)).rejects.toMatchObject(refusal);
  });

  it('is answered where two negations are none', async () => {
    const { client } = await filled([{ a: 1 }, { a: 3 }, {}]);
    expect(await found(client, { $not: { a: { $not: { $gt: 2 } } } })).toEqual(['r1']);
  });
});
