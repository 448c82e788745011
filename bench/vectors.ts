/**
 * Embedded vectors: recall and times at 100,000 × 384, the connector against its own engine, the exact scan, the event
 * loop and memory. Run: node bench/vectors.ts [--quick] [--only=scan|engine|memory|large]
 */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import type { VectorConnector } from '../src/connectors/vector/connector.ts';
import type {
  Filter,
  VectorClient,
  VectorOpenContext,
  VectorRecord,
} from '../src/connectors/vector/driver.ts';
import { systemClock } from '../src/contract/clock.ts';
import { Arena } from '../src/drivers/vector/embedded/arena.ts';
import { Collection } from '../src/drivers/vector/embedded/collection.ts';
import type { NewRow } from '../src/drivers/vector/embedded/database.ts';
import driver from '../src/drivers/vector/embedded/index.ts';
import { ScanSet } from '../src/drivers/vector/embedded/scan-set.ts';
import { standardPolicies } from '../src/policies/standard.ts';
import { vectorConnector, vectorContext } from '../src/testing/vector-suite.ts';
import { median, timedMs } from './pairs.ts';
import { report, type Row } from './report.ts';
import { clustered, clusteredValues, DIMENSION, exactly, recordOf } from './vector-data.ts';

const QUICK = process.argv.includes('--quick');
const MANY = QUICK ? 30_000 : 100_000;
const SOME = QUICK ? 5_000 : 20_000;
const QUERIES = QUICK ? 50 : 200;
const RUNS = 5;

if (process.argv.includes('--memory')) await memoryOfSmallCollections();
else await main();

async function main(): Promise<void> {
  const scratch = mkdtempSync(path.join(tmpdir(), 'bench-vectors-'));
  const parts: Readonly<Record<string, () => Promise<readonly Row[]>>> = {
    scan: async () => exactScan(),
    engine: () => againstEngine(scratch),
    memory: async () => [await smallCollections()],
    large: () => large(scratch),
  };
  const asked = process.argv.find((argument) => argument.startsWith('--only='))?.slice('--only='.length);
  try {
    const rows: Row[] = [];
    for (const [name, measure] of Object.entries(parts)) {
      if (asked === undefined || asked === name) rows.push(...(await measure()));
    }
    report(asked === undefined ? 'vectors' : `vectors-${asked}`, rows);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** One scan with the machine code, one in plain JavaScript, and how fast memory can be read at all. */
function exactScan(): readonly Row[] {
  const records = clustered(SOME);
  const queries = clustered(50, 7).map(({ values }) => values);
  const timeOf = (simd: boolean): number => {
    const set = new ScanSet(new Arena({ simd }), DIMENSION, 'cosine');
    records.forEach(({ values }, slot) => set.put(slot, Float32Array.from(values)));
    return median(queries.map((query) => timed(() => set.nearest(Float32Array.from(query), 10))));
  };
  const [simd, plain] = [timeOf(true), timeOf(false)];
  const megabytes = (SOME * DIMENSION * 4) / 1e6;
  const source = new Uint8Array(megabytes * 1e6).fill(1);
  const target = new Uint8Array(source.length);
  // A copy reads and writes each byte.
  const copied = median(Array.from({ length: 20 }, () => timed(() => target.set(source))));
  const what = `${SOME} × ${DIMENSION}, top 10`;
  return [
    { what: `exact scan, ${what}, SIMD`, figure: simd, unit: 'ms' },
    { what: `exact scan, ${what}, plain JavaScript`, figure: plain, unit: 'ms' },
    { what: 'memory read by the SIMD scan', figure: megabytes / simd, unit: 'GB/s' },
    {
      what: 'memory moved by a plain copy (read and written)',
      figure: (2 * megabytes) / copied,
      unit: 'GB/s',
    },
  ];
}

/** The same calls through the connector, its policies and the worker, and on the engine in this thread. */
async function againstEngine(scratch: string): Promise<readonly Row[]> {
  const records = clustered(SOME);
  const queries = clustered(QUERIES, 7).map(({ values }) => values);
  const searches: number[][] = [[], []];
  const upserts: number[][] = [[], []];
  const crowds: number[][] = [[], []];
  // The worker lives as long as a collection is open: as in a server, it is not started anew for each run.
  const keeper = await driver.open(driver.options.parse({}), vectorContext(scratch, DIMENSION, 'cosine'));
  for (let run = 0; run < RUNS; run++) {
    const context = vectorContext(scratch, DIMENSION, 'cosine');
    const client = await driver.open(driver.options.parse({}), context);
    const connector = connectorOn(client, context);
    const engine = await engineIn(vectorContext(scratch, DIMENSION, 'cosine'));
    const rows = records.map(rowOf);
    const both = [
      async () => {
        upserts[0]?.push(await timedMs(async () => void (await upsertAll(connector, records))));
        searches[0]?.push(await searchTime(queries, (query) => connector.search(query)));
        crowds[0]?.push(await crowdTime(queries, (query) => connector.search(query)));
      },
      async () => {
        upserts[1]?.push(timed(() => inBatches(rows, 1_000).forEach((batch) => engine.upsert(batch))));
        searches[1]?.push(await searchTime(queries, async (query) => engine.search(query, 10, undefined)));
        crowds[1]?.push(await crowdTime(queries, async (query) => engine.search(query, 10, undefined)));
      },
    ];
    for (const one of run % 2 === 0 ? both : both.reverse()) await one();
    await client.close();
    await engine.close();
  }
  await keeper.close();
  const [throughMs = 0, engineMs = 0] = searches.map(median);
  const [writtenMs = 0, engineWrittenMs = 0] = upserts.map(median);
  const [crowdMs = 0, engineCrowdMs = 0] = crowds.map(median);
  const ratio = (what: string, figure: number, target: number): Row => ({
    ...{ what, figure, unit: 'ratio', target: `>= ${target}`, ok: figure >= target },
  });
  return [
    { what: `search through the connector, ${SOME}`, figure: throughMs, unit: 'ms p50' },
    { what: `search on the engine, ${SOME}`, figure: engineMs, unit: 'ms p50' },
    ratio('search, one caller: connector against engine', engineMs / throughMs, 0.9),
    ratio('search, 8 callers at once: connector against engine', engineCrowdMs / crowdMs, 0.9),
    { what: 'upsert through the connector', figure: (SOME / writtenMs) * 1e3, unit: 'records/s' },
    { what: 'upsert on the engine', figure: (SOME / engineWrittenMs) * 1e3, unit: 'records/s' },
    ratio('batch upsert: connector against engine', engineWrittenMs / writtenMs, 0.75),
  ];
}

/** Many vectors: the index against the truth, times, and what the event loop of the caller notices. */
async function large(scratch: string): Promise<readonly Row[]> {
  const values = clusteredValues(MANY, 1);
  const context = vectorContext(scratch, DIMENSION, 'cosine');
  const options = driver.options.parse({ indexed_fields: { group: 'number' } });
  const client = await driver.open(options, context);
  const connector = connectorOn(client, context);
  const queries = clustered(QUERIES, 7).map(({ values }) => values);
  const rows: Row[] = [];

  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const loadMs = await timedMs(async () => {
    for (let start = 0; start < MANY; start += 10_000) {
      // Made as they are needed, so that it is not the benchmark's own heap whose collection is measured.
      await upsertBatch(
        connector,
        Array.from({ length: 10_000 }, (_, i) => recordOf(values, start + i)),
      );
      for (const query of queries.slice(0, 10)) await connector.search(query);
    }
  });
  loop.disable();
  rows.push({ what: `upsert of ${MANY}, 10 searches after each 10,000`, figure: loadMs / 1000, unit: 's' });
  rows.push(...delay('while upserting and searching', loop));

  const builtMs = await timedMs(async () => {
    // A second is nothing beside the minutes that building takes.
    while ((await client.check(context.signal)).length > 0)
      await new Promise((resolve) => setTimeout(resolve, 1000));
  });
  rows.push({ what: 'index caught up after', figure: builtMs / 1000, unit: 's' });

  const filters: readonly (readonly [string, Filter | undefined])[] = [
    ['no filter', undefined],
    ['a filter that 50 % match', { group: { $lt: 50 } }],
    ['a filter that 1 % match', { group: 7 }],
    ['50 %, a field not indexed', { plain: { $lt: 50 } }],
    ['1 %, a field not indexed', { plain: 7 }],
  ];
  const truth = exactly(
    values,
    queries,
    filters.map(([, filter]) => filter),
  );
  for (const [, filter] of filters) await connector.search(queries[0] ?? [], { filter });
  loop.reset();
  loop.enable();
  for (const [f, [what, filter]] of filters.entries()) {
    const times: number[] = [];
    let found = 0;
    for (const [q, query] of queries.entries()) {
      const start = performance.now();
      const matched = await connector.search(query, { filter });
      times.push(performance.now() - start);
      // By nearness, not by id: what is as near as the tenth is as right.
      const tenth = truth[q]?.[f] ?? Infinity;
      found += matched.filter((match) => match.rawScore >= tenth - 1e-9).length;
    }
    const recall = found / (10 * QUERIES);
    rows.push({
      what: `recall@10, ${what}`,
      figure: recall,
      unit: '',
      target: '>= 0.98',
      ok: recall >= 0.98,
    });
    rows.push({ what: `search, ${what}`, figure: median(times), unit: 'ms p50' });
  }
  loop.disable();
  rows.push(...delay('while searching', loop));
  await client.close();
  return rows;
}

/** The resident memory of a process of its own with 300 collections open and searched. */
async function smallCollections(): Promise<Row> {
  const child = fork(fileURLToPath(import.meta.url), ['--memory']);
  const megabytes = await new Promise<number>((resolve, reject) => {
    child.once('message', (figure) => resolve(Number(figure)));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the child ended with ${code}`)));
  });
  const what = `memory of 300 open collections of 300 × ${DIMENSION}, all searched`;
  return { what, figure: megabytes, unit: 'MB RSS', target: '<= 300', ok: megabytes <= 300 };
}

async function memoryOfSmallCollections(): Promise<void> {
  const scratch = mkdtempSync(path.join(tmpdir(), 'bench-vectors-'));
  const records = clustered(300);
  const clients: VectorClient[] = [];
  for (let i = 0; i < 300; i++) {
    const context = vectorContext(scratch, DIMENSION, 'cosine');
    const client = await driver.open(driver.options.parse({}), context);
    const connector = connectorOn(client, context);
    await connector.upsertVectors(records);
    await connector.search(records[0]?.values ?? [], { filter: { group: { $lt: 50 } } });
    clients.push(client);
  }
  process.send?.(process.memoryUsage.rss() / 1e6);
  for (const client of clients) await client.close();
  rmSync(scratch, { recursive: true, force: true });
  process.disconnect?.();
}

function connectorOn(client: VectorClient, context: VectorOpenContext): VectorConnector {
  const policy = standardPolicies(
    { key: context.connectorId, timeoutMs: 30_000, maxRetries: 3, retryDelayMs: 1_000 },
    { clock: systemClock },
  );
  return vectorConnector(client, context, driver.capabilities, policy);
}

function engineIn({ folder }: VectorOpenContext): Promise<Collection> {
  const silent = (): void => {};
  return Collection.open(
    { folder, dimension: DIMENSION, metric: 'cosine', exactBytes: 32e6, indexedFields: {} },
    {
      arena: new Arena(),
      log: { debug: silent, info: silent, warn: silent, error: silent },
      progress: silent,
      grew: silent,
    },
  );
}

async function upsertAll(connector: VectorConnector, records: readonly VectorRecord[]): Promise<void> {
  for (const batch of inBatches(records, 10_000)) await upsertBatch(connector, batch);
}

async function upsertBatch(connector: VectorConnector, batch: readonly VectorRecord[]): Promise<void> {
  const { failed } = await connector.upsertVectors(batch);
  if (failed > 0) throw new Error(`${failed} records were refused`);
}

async function searchTime(
  queries: readonly (readonly number[] | Float32Array)[],
  search: (query: Float32Array) => Promise<unknown>,
): Promise<number> {
  const times: number[] = [];
  for (const values of queries) {
    const query = Float32Array.from(values);
    times.push(await timedMs(() => search(query)));
  }
  return median(times);
}

/** All queries by 8 callers, each of whom waits for an answer before asking again. */
async function crowdTime(
  queries: readonly (readonly number[] | Float32Array)[],
  search: (query: Float32Array) => Promise<unknown>,
): Promise<number> {
  const left = queries.map((values) => Float32Array.from(values));
  const caller = async (): Promise<void> => {
    for (let query = left.pop(); query; query = left.pop()) await search(query);
  };
  return timedMs(() => Promise.all(Array.from({ length: 8 }, caller)));
}

function rowOf({ id, values, metadata }: VectorRecord): NewRow {
  const floats = Float32Array.from(values);
  return { id, values: new Uint8Array(floats.buffer), metadata: JSON.stringify(metadata), text: null };
}

function inBatches<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}

function delay(when: string, loop: ReturnType<typeof monitorEventLoopDelay>): readonly Row[] {
  return [
    { what: `event loop delay ${when}, p99`, figure: loop.percentile(99) / 1e6, unit: 'ms' },
    {
      what: `event loop delay ${when}, max`,
      ...{ figure: loop.max / 1e6, unit: 'ms', target: '<= 20', ok: loop.max / 1e6 <= 20 },
    },
  ];
}

function timed(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}
