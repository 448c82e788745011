import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type {
  ClientMatch,
  ClientQuery,
  DistanceMetric,
  VectorClient,
  VectorOpenContext,
  VectorRecord,
} from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { numbers, vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';
import { driverOptions, STARTING_MS, startPostgres, type Postgres } from './pgvector.fixture.ts';
import { conditions, deleteStatement, searchStatement } from './statements.ts';

const QUERY: ClientQuery = { topK: 10, includeValues: false, includeMetadata: false };

let server: Postgres;
const opened: VectorClient[] = [];
beforeAll(async () => {
  server = await startPostgres();
}, STARTING_MS);
afterAll(async () => {
  for (const client of opened) await client.close();
  await server.close();
});

async function open(
  options: Readonly<Record<string, unknown>> = {},
  context: VectorOpenContext = vectorContext('/nowhere', 3, 'cosine'),
): Promise<VectorClient> {
  const client = await driver.open(
    driver.options.parse({ ...driverOptions(server.url), ...options }),
    context,
  );
  opened.push(client);
  return client;
}

const ids = (matches: readonly { readonly id: string }[]): readonly string[] => matches.map(({ id }) => id);

/** The nearest first in float64, equals by id. */
function nearest(
  records: readonly VectorRecord[],
  query: readonly number[],
  topK: number,
): readonly string[] {
  const distance = ({ values }: VectorRecord) => Math.hypot(...query.map((x, i) => x - (values[i] ?? 0)));
  return ids(records.toSorted((a, b) => distance(a) - distance(b) || (a.id < b.id ? -1 : 1)).slice(0, topK));
}

describe('opening', () => {
  it('makes the extension, the schema and the table once, however many do it at the same time', async () => {
    const context = vectorContext('/nowhere', 3, 'cosine');
    const clients = await Promise.all(Array.from({ length: 4 }, () => open({ schema: 'together' }, context)));
    await clients[0]?.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    expect(await clients[3]?.count(undefined, NEVER)).toBe(1);
  });

  it('keeps the vectors apart from what else is in the database, and says for whom', async () => {
    await open({ table: 'described' }, vectorContext('/nowhere', 3, 'dot'));
    expect(await server.query(`SELECT obj_description('described'::regclass) AS about`)).toEqual([
      { about: '{"connector_registry":{"dimension":3,"metric":"dot"}}' },
    ]);
  });

  it.each([
    ['a table of others', 'CREATE TABLE theirs (id int)', 'theirs'],
    ['a table of others with vectors', 'CREATE TABLE near (id int, embedding vector(3))', 'near'],
    ['a view', 'CREATE VIEW seen AS SELECT 1 AS id', 'seen'],
  ])('refuses %s', async (_what, sql, table) => {
    await server.query(`CREATE EXTENSION IF NOT EXISTS vector; ${sql}`);
    await expect(open({ table })).rejects.toMatchObject({ code: 'invalid_state' });
  });

  it('knows dimension and metric of a table that has lost its comment', async () => {
    const context = vectorContext('/nowhere', 3, 'euclidean');
    await open({ table: 'restored' }, context);
    await server.query(`COMMENT ON TABLE restored IS NULL`);
    await expect(open({ table: 'restored' }, { ...context, metric: 'dot' })).rejects.toMatchObject({
      code: 'invalid_state',
      details: { stored: { dimension: 3, metric: 'euclidean' } },
    });
  });

  it('has the index go on until there are enough matches', async () => {
    await (await open({ hnsw: { ef_search: 77 } })).check(NEVER);
    const settings = ['iterative_scan', 'ef_search', 'max_scan_tuples'].map(
      (name) => `current_setting('hnsw.${name}') AS ${name}`,
    );
    // PGlite's connections share one session.
    expect(await server.query(`SELECT ${settings.join(', ')}`)).toEqual([
      { iterative_scan: 'relaxed_order', ef_search: '77', max_scan_tuples: '20000' },
    ]);
  });
});

describe('a search by the index', () => {
  const records = numbers(5_000, 8, 3).map((values, i): VectorRecord => ({
    id: `v${i}`,
    values,
    metadata: { one: i % 100, ten: i % 10 },
  }));
  const [target = []] = numbers(1, 8, 4);
  const context = vectorContext('/nowhere', 8, 'euclidean');
  let client: VectorClient;
  beforeAll(async () => {
    client = await open({ table: 'indexed', exact_max_mb: 0 }, context);
    // An index is built in a tenth of the time in which it grows row by row.
    await server.query('DROP INDEX indexed_hnsw');
    for (let at = 0; at < records.length; at += 1_000)
      await client.upsert(records.slice(at, at + 1_000), NEVER);
    await server.query('CREATE INDEX indexed_hnsw ON indexed USING hnsw (embedding vector_l2_ops)');
  }, STARTING_MS);

  const plan = async (exactBytes: number, filter?: ClientQuery['filter']): Promise<string> => {
    const { text, values = [] } = searchStatement(
      { table: '"public"."indexed"', metric: 'euclidean', exactBytes, limit: 11 },
      target,
      { ...QUERY, filter },
    );
    const literal = (at: string): string => {
      const value = values[Number(at) - 1];
      return Buffer.isBuffer(value) ? `'[${target.join(',')}]'::vector` : `'${String(value)}'`;
    };
    const sql = text.replaceAll(/\$(\d+)/g, (_, at: string) => literal(at));
    return JSON.stringify(await server.query(`EXPLAIN (ANALYZE, TIMING OFF) ${sql}`));
  };

  it('is one by the index, and with a filter one that goes on until there are enough', async () => {
    expect(await plan(0)).toMatch(/Index Scan using indexed_hnsw[^"]*rows=11/);
    // Left the choice, the planner looks at all of so few rows, which is exact.
    await server.query('SET enable_seqscan = off');
    try {
      expect(await plan(0, { one: 7 })).toMatch(/Index Scan using indexed_hnsw[^"]*actual rows=11/);
      await server.query('SET hnsw.iterative_scan = off');
      expect(await plan(0, { one: 7 })).toMatch(/Index Scan using indexed_hnsw[^"]*actual rows=[0-3]\./);
    } finally {
      await server.query('SET hnsw.iterative_scan = relaxed_order; SET enable_seqscan = on');
    }
  });

  it('runs only the half of its statement that the size of the table asks for', async () => {
    const runs = (text: string): readonly string[] =>
      text.match(/(?:Index|Seq) Scan[^"]*never executed/g) ?? [];
    expect(runs(await plan(1_000))).toEqual([expect.stringContaining('Seq Scan')]);
    expect(runs(await plan(1e9))).toEqual([expect.stringContaining('Index Scan')]);
  });

  it('finds nearly what an exact one finds', async () => {
    const found = new Set(ids(await client.search(target, { ...QUERY, topK: 100 }, NEVER)));
    expect(nearest(records, target, 100).filter((id) => found.has(id)).length).toBeGreaterThanOrEqual(95);
  });

  it('fills topK from one record in a hundred, and from none where none match', async () => {
    const few = records.filter(({ metadata }) => metadata?.['one'] === 7);
    const found = await client.search(target, { ...QUERY, topK: 50, filter: { one: 7 } }, NEVER);
    expect(ids(found)).toEqual(nearest(few, target, 50));
    expect(await client.search(target, { ...QUERY, filter: { one: 'x' } }, NEVER)).toEqual([]);
  });

  it.each([100, 300, 999, 1_000, 4_999, 10_000])('finds %d of them', async (topK) => {
    const found = await client.search(target, { ...QUERY, topK }, NEVER);
    expect(found).toHaveLength(Math.min(topK, records.length));
    expect(new Set(ids(found)).size).toBe(found.length);
  });

  it('asks for more where those at the cut are equally near, and takes the smallest ids', async () => {
    const same = ['e', 'b', 'd', 'a', 'c'].map((id) => ({ id, values: target }));
    await client.upsert(same, NEVER);
    try {
      expect(ids(await client.search(target, { ...QUERY, topK: 3 }, NEVER))).toEqual(['a', 'b', 'c']);
    } finally {
      await client.delete({ ids: ids(same) }, NEVER);
    }
  });

  it('looks at every row where pgvector is too old to go on', async () => {
    await server.query(`UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'`);
    try {
      const old = await open({ table: 'indexed', exact_max_mb: 0 }, context);
      expect(await old.check(NEVER)).toContainEqual({
        level: 'warn',
        message: expect.stringContaining('0.7.4'),
      });
      await server.query(`SET hnsw.iterative_scan = off`);
      const few = records.filter(({ metadata }) => metadata?.['one'] === 7);
      const found = await old.search(target, { ...QUERY, topK: 50, filter: { one: 7 } }, NEVER);
      expect(ids(found)).toEqual(nearest(few, target, 50));
    } finally {
      await server.query(`UPDATE pg_extension SET extversion = '0.8.7' WHERE extname = 'vector'`);
      await server.query(`SET hnsw.iterative_scan = relaxed_order`);
    }
  });

  it('is refused before 0.5.0, and not as if the credentials were wrong', async () => {
    const stages: string[] = [];
    await server.query(`UPDATE pg_extension SET extversion = '0.4.4' WHERE extname = 'vector'`);
    try {
      const own: VectorOpenContext = {
        ...context,
        stage: (name, step) => {
          stages.push(name);
          return step();
        },
      };
      await expect(open({}, own)).rejects.toMatchObject({
        code: 'unsupported',
        message: expect.stringContaining('pgvector is 0.4.4'),
      });
    } finally {
      await server.query(`UPDATE pg_extension SET extversion = '0.8.7' WHERE extname = 'vector'`);
    }
    expect(stages.at(-1)).toBe('collection');
  });

  it('warns where somebody dropped it, and goes on without', async () => {
    const own = await open({ table: 'bare', exact_max_mb: 0 });
    await server.query('DROP INDEX bare_hnsw');
    expect(await own.check(NEVER)).toContainEqual({
      level: 'warn',
      message: expect.stringContaining('no HNSW index'),
    });
    await own.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    expect(ids(await own.search([1, 0, 0], QUERY, NEVER))).toEqual(['a']);
  });
});

describe('equally near records at the cut', () => {
  it.each([[40], [1_500]])(
    'are those with the smallest ids, among %d that an index has little to tell apart by',
    async (count) => {
      const client = await open({ exact_max_mb: 0 });
      const id = (i: number): string => `t${String((i * 7) % count).padStart(4, '0')}`;
      await client.upsert(
        Array.from({ length: count }, (_, i) => ({ id: id(i), values: [1, 2, 3] })),
        NEVER,
      );
      await client.upsert([{ id: 'nearer', values: [1, 1, 1] }], NEVER);
      const found = await client.search([1, 1, 1], { ...QUERY, topK: 4 }, NEVER);
      expect(ids(found)).toEqual(['nearer', 't0000', 't0001', 't0002']);
    },
  );
});

describe('scores', () => {
  it.each<[DistanceMetric, number]>([
    ['cosine', 0.6],
    ['euclidean', Math.sqrt(20)],
    ['dot', 15],
  ])('by %s are no negated, squared or subtracted figures', async (metric, expected) => {
    const client = await open({}, vectorContext('/nowhere', 2, metric));
    await client.upsert([{ id: 'a', values: [3, 4] }], NEVER);
    const [match] = await client.search([5, 0], QUERY, NEVER);
    expect(match?.rawScore).toBeCloseTo(expected, 6);
  });

  it('of long vectors that nearly cancel are those of float64', async () => {
    const client = await open({}, vectorContext('/nowhere', 64, 'dot'));
    const [a = [], b = []] = numbers(2, 64, 8).map((values) =>
      values.map((value) => Math.fround(value * 1e4)),
    );
    await client.upsert([{ id: 'a', values: a }], NEVER);
    const [match] = await client.search(b, QUERY, NEVER);
    const exact = a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);
    expect(match?.rawScore).toBeCloseTo(exact, 5);
  });

  it('that do not fit into float32 on their way are those of float64', async () => {
    for (const [metric, expected] of [
      ['cosine', 1],
      ['euclidean', 0],
    ] as const) {
      const client = await open({}, vectorContext('/nowhere', 2, metric));
      await client.upsert([{ id: 'a', values: [3e30, 4e30] }], NEVER);
      const [match] = await client.search([3e30, 4e30].map(Math.fround), QUERY, NEVER);
      expect(match?.rawScore).toBeCloseTo(expected, 6);
    }
  });
});

describe('vectors of more than 2,000 numbers', () => {
  it('are kept without an index, with a warning, and found', async () => {
    const dimension = 2_001;
    const client = await open({ exact_max_mb: 0 }, vectorContext('/nowhere', dimension, 'cosine'));
    const vectors = numbers(3, dimension);
    await client.upsert(
      vectors.map((values, i) => ({ id: `v${i}`, values })),
      NEVER,
    );
    expect(ids(await client.search(vectors[1] ?? [], QUERY, NEVER))[0]).toBe('v1');
    expect((await client.fetch(['v2'], NEVER))[0]?.values).toEqual(vectors[2]);
    expect(await client.check(NEVER)).toContainEqual({
      level: 'warn',
      message: expect.stringContaining('2000'),
    });
  });
});

describe('the character U+0000', () => {
  it('has its record refused, and no other', async () => {
    const client = await open();
    const values = [1, 0, 0];
    const refused = await client.upsert(
      [
        { id: 'a\0', values },
        { id: 'b', values, text: 'x\0y' },
        { id: 'c', values, metadata: { k: { d: ['\0'] } } },
        { id: 'd', values, metadata: { 'k\0': 1 } },
        { id: 'good', values, metadata: { k: '\\u0000', l: '\\\\u0000' }, text: '\\u0000' },
      ],
      NEVER,
    );
    expect(refused.map(({ index, id, code }) => [index, id, code])).toEqual([
      [0, 'a\0', 'invalid_argument'],
      [1, 'b', 'invalid_argument'],
      [2, 'c', 'invalid_argument'],
      [3, 'd', 'invalid_argument'],
    ]);
    // The place in a batch is not the one in the call.
    for (const { message } of refused) expect(message).toMatch(/^its (?:id|text|metadata) holds/);
    expect(await client.fetch(['a\0', 'good'], NEVER)).toMatchObject([
      { id: 'good', metadata: { k: '\\u0000', l: '\\\\u0000' } },
    ]);
    expect(await client.delete({ ids: ['a\0', 'b'] }, NEVER)).toBe(0);
  });

  it.each([
    [{ a: 'a\0' }, []],
    [{ a: { $ne: 'a\0' } }, ['1', '2', '3']],
    [{ a: { $in: ['a\0', 'b'] } }, ['2']],
    [{ a: { $nin: ['a\0', 'b'] } }, ['1', '3']],
    [{ a: { $gt: 'a\0' } }, ['2']],
    [{ a: { $gte: 'a\0' } }, ['2']],
    [{ a: { $lt: 'a\0' } }, ['1']],
    [{ a: { $lte: 'a\0b' } }, ['1']],
    [{ 'a\0': { $exists: true } }, []],
    [{ 'a\0.b': null }, []],
    [{ c: { $contains: '\0' } }, []],
    [{ c: { $containsAny: ['\0', 'x'] } }, ['3']],
    [{ c: { $containsAll: ['\0', 'x'] } }, []],
  ])('in a filter is equal to nothing and sorts before everything: %j', async (filter, expected) => {
    const client = await open({ table: 'nul' });
    const values = [1, 0, 0];
    const metadata = [{ a: 'a' }, { a: 'b' }, { c: ['x'] }];
    await client.upsert(
      metadata.map((one, i) => ({ id: String(i + 1), values, metadata: one })),
      NEVER,
    );
    const found: readonly ClientMatch[] = await client.search(values, { ...QUERY, filter }, NEVER);
    expect(ids(found)).toEqual(expected);
  });
});

describe('a call that is given up', () => {
  it('leaves the client as it was for the next', async () => {
    const client = await open({ pool_size: 1 });
    const control = new AbortController();
    const records = numbers(1_000, 3).map((values, i) => ({ id: `v${i}`, values }));
    const writing = client.upsert(records, control.signal);
    setImmediate(() => control.abort());
    await expect(writing).rejects.toMatchObject({ code: 'cancelled' });
    expect([0, 1_000]).toContain(await client.count(undefined, NEVER));
  });
});

describe('many callers', () => {
  it('who delete by a filter lock in the order of ids, as those who write do', async () => {
    await open({ table: 'locked' });
    const { text, values = [] } = deleteStatement('public.locked', conditions({ a: 1 }));
    const sql = values.reduce<string>(
      (all, value, i) => all.replaceAll(`$${i + 1}`, `'${String(value)}'`),
      text,
    );
    const plan = JSON.stringify(await server.query(`EXPLAIN (COSTS OFF) ${sql}`));
    expect(plan).toMatch(/LockRows.*Sort Key: locked[^"]*\.id/);
  });

  it('who write and delete the same records get along', async () => {
    const client = await open();
    const records = numbers(60, 3).map((values, i) => ({ id: `v${i}`, values }));
    await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        i % 3 === 0
          ? client.delete({ ids: ids(records).toReversed() }, NEVER)
          : client.upsert(i % 2 === 0 ? records : records.toReversed(), NEVER),
      ),
    );
    await client.upsert(records, NEVER);
    expect(await client.delete({ all: true }, NEVER)).toBe(records.length);
  });
});

describe('a page', () => {
  it.each(['', 'x', 'aWQ6', Buffer.from('id:a\0').toString('base64url'), '%%%'])(
    'by the cursor %j is refused',
    async (cursor) => {
      const client = await open({ table: 'pages' });
      await expect(client.list({ limit: 1, cursor, includeValues: false }, NEVER)).rejects.toMatchObject({
        code: 'invalid_argument',
      });
    },
  );
});
