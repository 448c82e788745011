import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Filter, matches, type Metadata, parseFilter, type Progress } from '../../../driver.ts';
import { numbers } from '../../../testing/vector-suite.ts';
import type { ZVecCollection, ZVecQuery } from '@zvec/zvec';
import { Arena } from './arena.ts';
import { Collection, type CollectionHost, type CollectionOptions } from './collection.ts';
import { ExitGate } from './exit-gate.ts';
import { loadZvec } from './hnsw.ts';
import { rawScore } from './kernel.ts';

const DIMENSION = 16;
const ROWS = 1_500;
const VECTORS = numbers(ROWS + 500, DIMENSION).map((values) => Float32Array.from(values));

let folder: string;
const opened = new Set<Collection>();
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'collection-'));
});
afterEach(async () => {
  for (const collection of opened) await collection.close();
  opened.clear();
  rmSync(folder, { recursive: true, force: true });
});

const warnings: string[] = [];
/** A collection whose index starts at 500 rows, and a wait for the moment when the index is up to date. */
async function open({
  host = {},
  ...options
}: Partial<CollectionOptions> & { readonly host?: Partial<CollectionHost> } = {}) {
  const silent = (): void => {};
  const warn = (message: string): void => void warnings.push(message);
  const progress: Progress[] = [];
  const collection = await Collection.open(
    {
      ...{ folder, dimension: DIMENSION, metric: 'cosine', exactBytes: 500 * DIMENSION * 4 },
      ...{ indexedFields: { group: 'number', name: 'string' } },
      ...options,
    },
    {
      arena: new Arena(),
      log: { debug: silent, info: silent, warn, error: silent },
      progress: (one) => progress.push(one),
      grew: silent,
      ...host,
    },
  );
  opened.add(collection);
  return { collection, progress };
}

async function close(collection: Collection): Promise<void> {
  opened.delete(collection);
  await collection.close();
}

async function settled(collection: Collection): Promise<void> {
  while (collection.check().some(({ level }) => level === 'info'))
    await new Promise((resolve) => setImmediate(resolve));
}

const metadataOf = (i: number): Metadata | undefined =>
  i % 10 === 9 ? undefined : { group: i % 100, name: `it's ${i % 3}`, plain: i % 100, flag: i % 2 === 0 };

const row = (i: number, vector = i) => {
  const metadata = metadataOf(i);
  const values = VECTORS[vector] ?? new Float32Array(DIMENSION);
  return {
    id: `v${i}`,
    values: new Uint8Array(values.slice().buffer),
    metadata: metadata === undefined ? null : JSON.stringify(metadata),
    text: null,
  };
};
const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

/** What a search must find: by id, each with the number of its vector. */
function truth(model: ReadonlyMap<number, number>, query: Float32Array, topK: number, filter?: Filter) {
  const node = filter && parseFilter(filter);
  return [...model]
    .filter(([i]) => node === undefined || matches(node, metadataOf(i)))
    .map(([i, vector]) => ({ id: `v${i}`, rawScore: rawScore('cosine', query, VECTORS[vector] ?? query) }))
    .sort((a, b) => b.rawScore - a.rawScore || (a.id < b.id ? -1 : 1))
    .slice(0, topK);
}

function found(collection: Collection, query: Float32Array, topK: number, filter?: Filter) {
  return collection
    .search(query, topK, filter && JSON.stringify(filter))
    .map((match) => ({ id: match.row.id, rawScore: match.rawScore }));
}

const FILTERS: readonly (Filter | undefined)[] = [
  undefined,
  { group: { $lt: 50 } },
  { group: 7 },
  { group: { $ne: 7 } },
  { name: "it's 1" },
  { name: { $nin: ["it's 1"] } },
  { $not: { group: { $gte: 30 } } },
  { $or: [{ group: 3 }, { name: "it's 0" }] },
  { plain: { $lt: 50 } },
  { plain: 7 },
  { flag: true, group: { $in: [2, 4, 5] } },
  { missing: 1 },
  { missing: { $exists: false } },
];

function expectTruth(collection: Collection, model: ReadonlyMap<number, number>): void {
  for (const filter of FILTERS) {
    const all = truth(model, VECTORS[0] ?? new Float32Array(DIMENSION), Infinity, filter);
    expect(collection.count(filter && JSON.stringify(filter))).toBe(all.length);
    for (const topK of [1, 10, 400]) {
      const query = VECTORS[ROWS + topK] ?? new Float32Array(DIMENSION);
      expect(found(collection, query, topK, filter)).toEqual(truth(model, query, topK, filter));
    }
  }
}

describe('a collection above the limit of the exact scan', () => {
  it('finds every acknowledged write while the index is built, and all the same afterwards', async () => {
    const { collection, progress } = await open();
    const model = new Map<number, number>();
    for (let start = 0; start < ROWS; start += 300) {
      collection.upsert(range(start, start + 300).map((i) => row(i)));
      for (const i of range(start, start + 300)) model.set(i, i);
      const last = VECTORS[start + 299] ?? new Float32Array(DIMENSION);
      expect(found(collection, last, 1)[0]?.id).toBe(`v${start + 299}`);
    }
    await settled(collection);
    expect(collection.check()).toEqual([]);
    expect(progress.at(-1)).toMatchObject({ task: 'index' });
    expect(readdirSync(folder).filter((name) => name.startsWith('index-'))).toHaveLength(1);
    expectTruth(collection, model);
  });

  it('respects updates, deletions and slots that are used again, before and after the index has them', async () => {
    const { collection } = await open();
    collection.upsert(range(0, ROWS).map((i) => row(i)));
    await settled(collection);
    const model = new Map(range(0, ROWS).map((i) => [i, i]));
    collection.upsert(range(0, 20).map((i) => row(i, ROWS + 50 + i)));
    for (const i of range(0, 20)) model.set(i, ROWS + 50 + i);
    collection.delete({ ids: range(30, 60).map((i) => `v${i}`) });
    for (const i of range(30, 60)) model.delete(i);
    const gone = collection.delete({ filter: JSON.stringify({ group: 7 }) });
    expect(gone).toBe([...model.keys()].filter((i) => metadataOf(i)?.['group'] === 7).length);
    for (const i of model.keys()) if (metadataOf(i)?.['group'] === 7) model.delete(i);
    collection.upsert(range(ROWS, ROWS + 10).map((i) => row(i)));
    for (const i of range(ROWS, ROWS + 10)) model.set(i, i);
    expectTruth(collection, model);
    collection.upsert(range(ROWS + 10, ROWS + 200).map((i) => row(i)));
    for (const i of range(ROWS + 10, ROWS + 200)) model.set(i, i);
    await settled(collection);
    expectTruth(collection, model);
    expect(collection.count(undefined)).toBe(model.size);
  });

  it('takes up the index that it left, and only the changes that it lacks', async () => {
    const first = await open();
    first.collection.upsert(range(0, ROWS).map((i) => row(i)));
    await settled(first.collection);
    first.collection.upsert(range(0, 5).map((i) => row(i, ROWS + i)));
    await close(first.collection);
    const { collection, progress } = await open();
    const model = new Map(range(0, ROWS).map((i) => [i, i < 5 ? ROWS + i : i]));
    expect(progress).toEqual([]);
    expectTruth(collection, model);
  });

  it.each(['lost', 'damaged', 'unfinished'])(
    'builds the index anew where it is %s, and says so',
    async (how) => {
      const first = await open();
      first.collection.upsert(range(0, ROWS).map((i) => row(i)));
      await settled(first.collection);
      await close(first.collection);
      const index = path.join(folder, readdirSync(folder).find((name) => name.startsWith('index-')) ?? '');
      if (how === 'lost') rmSync(index, { recursive: true });
      else if (how === 'unfinished') writeFileSync(path.join(index, 'more'), 'x');
      else {
        const file = path.join(
          index,
          String(readdirSync(index, { recursive: true }).find((name) => String(name).endsWith('.proxima'))),
        );
        const bytes = readFileSync(file);
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
        writeFileSync(file, bytes);
      }
      warnings.length = 0;
      const { collection, progress } = await open();
      const model = new Map(range(0, ROWS).map((i) => [i, i]));
      expectTruth(collection, model);
      await settled(collection);
      expect(warnings).toEqual(['the vector index is built anew']);
      expect(progress.at(-1)).toEqual({ task: 'index', done: ROWS, total: ROWS });
      expect(existsSync(index)).toBe(false);
      expectTruth(collection, model);
    },
  );

  it('never answers fewer than exist, even where the index finds too few', async () => {
    const zvec = await loadZvec();
    const forgetful = (collection: ZVecCollection): ZVecCollection =>
      new Proxy(collection, {
        get: (target, key) => {
          if (key === 'querySync') return (query: ZVecQuery) => target.querySync(query).slice(0, 3);
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    const broken: typeof zvec = {
      ...zvec,
      ZVecCreateAndOpen: (...args) => forgetful(zvec.ZVecCreateAndOpen(...args)),
      ZVecOpen: (...args) => forgetful(zvec.ZVecOpen(...args)),
    };
    const { collection } = await open({ host: { loadZvec: async () => broken } });
    collection.upsert(range(0, ROWS).map((i) => row(i)));
    await settled(collection);
    expect(collection.check()).toEqual([]);
    expectTruth(collection, new Map(range(0, ROWS).map((i) => [i, i])));
  });

  it('calls the engine only where an exit of the process waits for it', async () => {
    const gate = new ExitGate();
    const calls = new Map<string, boolean>();
    const noted = (name: string): void => void calls.set(name, gate.isBusy && calls.get(name) !== false);
    const watched = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (_, key) => {
          const value: unknown = Reflect.get(target, key, target);
          if (typeof value !== 'function') return value;
          return new Proxy(value, {
            apply: (method, _this, args) => {
              noted(String(key));
              const result: unknown = Reflect.apply(method, target, args);
              return String(key).startsWith('ZVec') ? watched(Object(result)) : result;
            },
            construct: (type, args) => {
              noted(String(key));
              return Reflect.construct(type, args);
            },
          });
        },
      });
    const load = async () => {
      noted('load');
      return watched({ ...(await loadZvec()) });
    };
    const { collection } = await open({ host: { loadZvec: load, gate } });
    collection.upsert(range(0, ROWS).map((i) => row(i)));
    await settled(collection);
    collection.search(VECTORS[0] ?? new Float32Array(DIMENSION), 3, undefined);
    collection.delete({ ids: ['v1'] });
    collection.upsert(range(ROWS, ROWS + 400).map((i) => row(i)));
    await settled(collection);
    await close(collection);
    await settled((await open({ host: { loadZvec: load, gate } })).collection);
    const names = ['load', 'ZVecCollectionSchema', 'ZVecCreateAndOpen', 'ZVecOpen', 'optimize'];
    names.push('upsertSync', 'deleteSync', 'querySync', 'closeSync');
    expect(calls).toEqual(new Map(names.map((name) => [name, true])));
    expect(gate.isBusy).toBe(false);
  });

  it('goes on exactly without the optional package, and says so', async () => {
    warnings.length = 0;
    const missing = async () => Promise.reject(new Error('the package @zvec/zvec is not installed'));
    const { collection } = await open({ host: { loadZvec: missing } });
    collection.upsert(range(0, ROWS).map((i) => row(i)));
    await settled(collection);
    expect(collection.check()).toEqual([
      { level: 'warn', message: expect.stringContaining('@zvec/zvec is not installed') },
    ]);
    expect(warnings).toHaveLength(1);
    expectTruth(collection, new Map(range(0, ROWS).map((i) => [i, i])));
  });

  it('gives the index up when all is deleted, also while it is being built', async () => {
    const { collection } = await open();
    collection.upsert(range(0, ROWS).map((i) => row(i)));
    expect(collection.delete({ all: true })).toBe(ROWS);
    collection.upsert([row(3)]);
    expectTruth(collection, new Map([[3, 3]]));
    await settled(collection);
    expectTruth(collection, new Map([[3, 3]]));
    expect(readdirSync(folder).filter((name) => name.startsWith('index-'))).toEqual([]);
  });

  it('keeps what was built when it is closed in the middle', async () => {
    const first = await open();
    first.collection.upsert(range(0, ROWS).map((i) => row(i)));
    await close(first.collection);
    const { collection } = await open();
    expectTruth(collection, new Map(range(0, ROWS).map((i) => [i, i])));
  });
});

describe('a collection without memory', () => {
  it('answers the same from disk, and after its memory was taken away', async () => {
    const arena = new Arena();
    while (arena.allocate() !== undefined);
    const { collection } = await open({ exactBytes: 1e9, host: { arena } });
    collection.upsert(range(0, 300).map((i) => row(i)));
    expectTruth(collection, new Map(range(0, 300).map((i) => [i, i])));
    await close(collection);
    const roomy = await open({ exactBytes: 1e9 });
    expectTruth(roomy.collection, new Map(range(0, 300).map((i) => [i, i])));
    roomy.collection.evict();
    expect(roomy.collection.bytes).toBe(0);
    expectTruth(roomy.collection, new Map(range(0, 300).map((i) => [i, i])));
  });
});
