/**
 * The registry on PostgreSQL over loopback, in turns with bare `pg`: a pool of the same size, the same statements, named.
 *
 *     node bench/postgres.ts [--quick]
 *
 * `--quick` uses a hundredth of the connectors.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Pool } from 'pg';
import { NO_ACTIVITY } from '../src/connectors/base.ts';
import { ConnectorConfig } from '../src/connectors/config.ts';
import { ConnectorRegistry, type ConnectorSpec } from '../src/index.ts';
import { activityColumns, recordColumns } from '../src/store/connector-rows.ts';
import { SqlStore } from '../src/store/sql-store.ts';
import { noPostgres, query, startPostgres } from '../src/testing/postgres.fixture.ts';
import { median, pairs, ratioRow, row, timedMs } from './pairs.ts';
import { report, type Row } from './report.ts';

const QUICK = process.argv.includes('--quick');
const CONNECTORS = QUICK ? 10_000 : 1_000_000;
const PER_TENANT = 1_000;
const BATCH = 10_000;
/** Many short runs: whatever else the machine does then falls on both sides of a pair, or on few of them. */
const PAIRS = QUICK ? 9 : 99;
const POOL_SIZE = 10;
/** Calls of one run of a pair. */
const GETS = QUICK ? 100 : 300;
const CREATES = QUICK ? 30 : 50;
/** How long servers work at once, and how often one and two of them take turns. */
const SERVE_MS = QUICK ? 500 : 4_000;
const TURNS = QUICK ? 1 : 5;

const GET = 'select * from connectors where connector_id = $1 and tenant_id = $2';
const COLUMNS = Object.keys({ ...recordColumns(record(0)), ...activityColumns(NO_ACTIVITY) });
const INSERT = `insert into connectors (${COLUMNS.join()}) values (${COLUMNS.map((_, i) => `$${i + 1}`).join()})`;
const SERVED = 16;

const folder = mkdtempSync(join(tmpdir(), 'bench-postgres-'));
process.env['CONNECTORS_MASTER_KEY'] = Buffer.alloc(32, 7).toString('base64');

const [, , mode, url = ''] = process.argv;
try {
  if (mode === 'memory') process.send?.(await residentMb());
  else if (mode === 'serve') await serve();
  else if (noPostgres === undefined) await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (process.connected) process.disconnect();

async function main(): Promise<void> {
  const postgres = await startPostgres();
  try {
    const databaseUrl = await postgres.database();
    report('postgres', await measure(databaseUrl));
  } finally {
    await postgres.close();
  }
}

async function measure(databaseUrl: string): Promise<Row[]> {
  const rows: Row[] = [];
  const many = CONNECTORS.toLocaleString('en');
  let registry = await open(databaseUrl);
  const importedPerSecond: number[] = [];
  for (let done = 0; done < CONNECTORS; done += BATCH) {
    const startMs = performance.now();
    await registry.createMany(Array.from({ length: BATCH }, (_, n) => spec(done + n)));
    importedPerSecond.push((BATCH / (performance.now() - startMs)) * 1_000);
  }
  await registry.close();
  await query(databaseUrl, 'vacuum analyze');

  const startMs = performance.now();
  registry = await open(databaseUrl);
  const openingMs = performance.now() - startMs;
  const store = await SqlStore.open({ databaseUrl });
  const bare = new Pool({ connectionString: databaseUrl, max: POOL_SIZE });
  bare.on('error', () => {});

  let at = 0;
  // A stride that visits each id once, far from the one before.
  const any = () => (at++ * 7_919 + 13) % CONNECTORS;
  const bareGet = async (n: number) => {
    const values = [id(n), tenant(n)];
    const { rows: found } = await bare.query({ name: 'get', text: GET, values });
    if (found.length !== 1) throw new Error(`no ${id(n)}`);
  };
  for (const callers of [1, 8]) {
    const calls = GETS * Math.min(callers, 2);
    const runOf = (call: (n: number) => Promise<unknown>) => () => atOnce(callers, calls, () => call(any()));
    const bareRun = runOf(bareGet);
    const ofRegistry = runOf((n) => registry.get(id(n), { tenantId: tenant(n) }));
    const ofStore = runOf((n) => store.getConnector(tenant(n), id(n)));
    const called = callers === 1 ? 'one after another' : `${callers} at once`;
    rows.push(
      ratioRow(`get, uncached, ${called}`, await pairs(PAIRS, bareRun, ofRegistry), 0.8, calls, '/s'),
      ratioRow(`... of the store alone, ${called}`, await pairs(PAIRS, bareRun, ofStore), 0.8, calls, '/s'),
    );
  }

  let next = CONNECTORS;
  const bareCreate = (n: number) => bare.query({ name: 'create', text: INSERT, values: columns(n) });
  for (const callers of [1, 8]) {
    const calls = CREATES * Math.min(callers, 2);
    const runOf = (call: (n: number) => Promise<unknown>) => () => atOnce(callers, calls, () => call(next++));
    const found = await pairs(
      PAIRS,
      runOf(bareCreate),
      runOf((n) => registry.create(spec(n))),
    );
    const called = callers === 1 ? 'one after another' : `${callers} at once`;
    rows.push(ratioRow(`create, durable, ${called}`, found, 0.7, calls, '/s'));
  }

  const hot = id(0);
  await registry.get(hot);
  const cachedPerSecond: number[] = [];
  for (let run = 0; run < 5; run++) {
    const count = 200_000;
    const runMs = await timedMs(async () => {
      for (let n = 0; n < count; n++) {
        await registry.get(hot);
        // What is cached is used only while the database is heard from, which takes turns of the loop.
        if (n % 10_000 === 0) await nextTurn();
      }
    });
    cachedPerSecond.push((count / runMs) * 1_000);
  }
  const cached = median(cachedPerSecond);
  rows.push({ what: 'get, cached', figure: cached, unit: '/s', target: '>= 1,000,000', ok: cached >= 1e6 });

  const listMs: number[] = [];
  for (let n = 0; n < (QUICK ? 10 : 200); n++) {
    const tenantId = tenant(any());
    listMs.push(await timedMs(() => registry.list({ tenantId, limit: 100 })));
  }
  rows.push(row(`list of 100 within a tenant, at ${many}`, median(listMs), 'ms', { atMost: 3 }));
  const allMs: number[] = [];
  for (let n = 0; n < 20; n++)
    allMs.push(await timedMs(() => registry.list({ limit: 100, offset: 100 * n })));
  rows.push(
    row(`list of 100 across all, at ${many}`, median(allMs), 'ms'),
    row('statistics of all', median(await several(() => registry.getStatistics())), 'ms'),
    row(
      'statistics of one tenant',
      median(await several(() => registry.getStatistics({ tenantId: tenant(0) }))),
      'ms',
    ),
    row(`opening a registry of ${many}`, openingMs, 'ms', { atMost: 1_000 }),
    row('resident memory, 20,000 of them got', await memoryOfAnother(databaseUrl), 'MB'),
    { what: 'imported 10,000 at a time', figure: median(importedPerSecond), unit: '/s' },
  );
  await store.close();
  await registry.close();
  await bare.end();
  rows.push(await twoAgainstOne(databaseUrl));
  return rows;
}

/** `calls` calls by that many callers, each waiting for its answer. */
async function atOnce(callers: number, calls: number, call: () => Promise<unknown>): Promise<void> {
  let left = calls;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (left-- > 0) await call();
    }),
  );
}

/** The same number of callers, of one server or half of them of each of two. */
async function twoAgainstOne(databaseUrl: string): Promise<Row> {
  const one: number[] = [];
  const two: number[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    one.push(await served(databaseUrl, 1));
    two.push(await served(databaseUrl, 2));
  }
  const ratio = median(two.map((calls, turn) => calls / (one[turn] ?? Number.NaN)));
  const note = `${Math.round(median(two))} calls/s against ${Math.round(median(one))}, one create to nine gets, ${SERVED} callers`;
  const what = 'two servers against one, same cores';
  return { what, figure: ratio, unit: 'x', target: '>= 0.9', ok: ratio >= 0.9, note };
}

async function served(databaseUrl: string, servers: number): Promise<number> {
  const children = Array.from({ length: servers }, () =>
    fork(import.meta.filename, [
      'serve',
      databaseUrl,
      String(SERVED / servers),
      ...(QUICK ? ['--quick'] : []),
    ]),
  );
  await Promise.all(children.map((child) => once(child, 'message')));
  const counts = children.map((child) => once(child, 'message'));
  const exits = children.map((child) => once(child, 'exit'));
  for (const child of children) child.send('go');
  // The one message that a server sends at its end.
  const calls = (await Promise.all(counts)).map(([count]) => count as number);
  await Promise.all(exits);
  return (calls.reduce((sum, count) => sum + count, 0) / SERVE_MS) * 1_000;
}

/** One of the servers: answers its callers for a while, and says how many calls that were. */
async function serve(): Promise<void> {
  const registry = await open(url);
  const call = async (n: number) => {
    if (n % 10 === 0)
      await registry.create({
        ...spec(n),
        connectorId: `s-${process.pid}-${n}`,
        name: `s-${process.pid}-${n}`,
      });
    else await registry.get(id((n * 7_919 + process.pid) % CONNECTORS));
  };
  let count = 0;
  const untilMs = async (endMs: number) => {
    while (performance.now() < endMs) await call(count++);
  };
  await untilMs(performance.now() + 500);
  process.send?.('ready');
  await once(process, 'message');
  const before = count;
  const endMs = performance.now() + SERVE_MS;
  await Promise.all(Array.from({ length: Number(process.argv[4]) }, () => untilMs(endMs)));
  process.send?.(count - before);
  await registry.close();
}

async function memoryOfAnother(databaseUrl: string): Promise<number> {
  const child = fork(import.meta.filename, ['memory', databaseUrl, ...(QUICK ? ['--quick'] : [])]);
  const [mb] = (await once(child, 'message')) as [number];
  return mb;
}

async function residentMb(): Promise<number> {
  const registry = await open(url);
  await atOnce(8, 20_000, () => registry.get(id(Math.floor(Math.random() * CONNECTORS))));
  const { rss } = process.memoryUsage();
  await registry.close();
  return rss / 2 ** 20;
}

function open(databaseUrl: string): Promise<ConnectorRegistry> {
  return ConnectorRegistry.open({ dataDir: join(folder, 'data'), databaseUrl });
}

/** What the registry stores of the same connector, made without it. */
function columns(n: number): unknown[] {
  return Object.values({
    ...recordColumns(record(n)),
    ...activityColumns({ ...NO_ACTIVITY, status: 'ready' }),
  });
}

function record(n: number) {
  const created = new Date();
  return {
    ...{ connectorId: id(n), tenantId: tenant(n), name: `connector-${n}` },
    ...({ connectorType: 'file', provider: 'local', config: new ConnectorConfig() } as const),
    ...({ settings: {}, capabilities: ['read', 'write', 'stream'], metadata: { n } } as const),
    ...{ trusted: true, version: 1, createdAt: created, updatedAt: created },
  };
}

function spec(n: number): ConnectorSpec {
  const [connectorId, tenantId, name] = [id(n), tenant(n), `connector-${n}`];
  return { connectorType: 'file', connectorId, tenantId, name, metadata: { n } };
}
function id(n: number): string {
  return `c-${String(n).padStart(8, '0')}`;
}
function tenant(n: number): string {
  return `tenant-${Math.floor(n / PER_TENANT)}`;
}

async function several(run: () => Promise<unknown>): Promise<number[]> {
  const figures: number[] = [];
  for (let n = 0; n < 9; n++) figures.push(await timedMs(run));
  return figures;
}
