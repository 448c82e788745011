/**
 * The store at 1,000,000 connectors, each figure beside what bare node:sqlite does on the same file with the same
 * statements: `node bench/store.ts [--quick]` (100,000).
 */
import { execFile } from 'node:child_process';
import { randomUUIDv7 } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { promisify } from 'node:util';
import { NO_ACTIVITY } from '../src/connectors/base.ts';
import { ConnectorConfig } from '../src/connectors/config.ts';
import { activityColumns, recordColumns } from '../src/store/connector-rows.ts';
import { SqlStore } from '../src/store/sql-store.ts';
import type { NewConnector, Store } from '../src/store/store.ts';
import { report, type Row } from './report.ts';

const total = process.argv.includes('--quick') ? 100_000 : 1_000_000;
const run = promisify(execFile);
const BATCH = 10_000;
const PER_TENANT = 1_000;
const folder = mkdtempSync(join(tmpdir(), 'bench-store-'));
const rows: Row[] = [];

const config = new ConnectorConfig({
  credentials: { api_key: '***' },
  options: { dimension: 384, metric: 'cosine', indexed_fields: { lang: 'string' } },
});
const created = new Date();

function connector(i: number, name = `connector-${String(i).padStart(7, '0')}`): NewConnector {
  return {
    record: {
      // Ids in order of time, as the registry makes them: random ones dirty a page of the index for each row.
      connectorId: randomUUIDv7(),
      tenantId: tenant(i),
      name,
      connectorType: 'vector',
      provider: 'embedded',
      config,
      settings: { vector_dimension: 384, distance_metric: 'cosine' },
      capabilities: ['read', 'write', 'vector_search'],
      metadata: { team: 'search' },
      trusted: false,
      version: 1,
      createdAt: created,
      updatedAt: created,
    },
    activity: { ...NO_ACTIVITY, status: 'ready' },
    secrets: i % 10 === 0 ? [{ field: 'api_key', keyId: 'key-1', sealed: 'x'.repeat(120) }] : [],
  };
}

function tenant(i: number): string {
  return `tenant-${String(Math.floor(i / PER_TENANT)).padStart(4, '0')}`;
}

/** Milliseconds of one run. */
async function timeMs(run: () => unknown): Promise<number> {
  const began = performance.now();
  await run();
  return performance.now() - began;
}

type Call = (i: number) => unknown;
type Pair = { readonly ms: number; readonly bareMs: number };

/** Medians of five runs of `times` calls each, in milliseconds for one call, after one run to warm up. */
async function medianMs(times: number, call: Call): Promise<number> {
  return (await mediansMs(times, [call]))[0] ?? Number.NaN;
}

/** The same for ours and the bare one, run by run in turn, so that both see the same machine. */
async function pairMs(times: number, call: Call, bareCall: Call): Promise<Pair> {
  const [ms = Number.NaN, bareMs = Number.NaN] = await mediansMs(times, [call, bareCall]);
  return { ms, bareMs };
}

async function mediansMs(times: number, calls: readonly Call[]): Promise<readonly number[]> {
  const runs = calls.map((): number[] => []);
  for (let run = 0; run < 6; run++) {
    for (const [which, call] of calls.entries()) {
      const ms = await timeMs(async () => {
        for (let i = 0; i < times; i++) await call(run * times + i);
      });
      if (run > 0) runs[which]?.push(ms / times);
    }
  }
  return runs.map((ms) => ms.toSorted((a, b) => a - b)[2] ?? Number.NaN);
}

function addRate(what: string, { ms, bareMs }: Pair, target?: number): void {
  const figure = 1_000 / ms;
  const goal = target === undefined ? {} : { target: `>= ${target}`, ok: figure >= target };
  rows.push({
    what,
    figure,
    unit: '/s',
    ...goal,
    note: `bare ${Math.round(1_000 / bareMs)}/s, ${ratio(bareMs, ms)}`,
  });
}

function addTime(what: string, { ms, bareMs }: Partial<Pair> & Pick<Pair, 'ms'>, target?: number): void {
  const goal = target === undefined ? {} : { target: `<= ${target}`, ok: ms <= target };
  const note = bareMs === undefined ? '' : `bare ${bareMs.toFixed(3)} ms, ${ratio(bareMs, ms)}`;
  rows.push({ what, figure: ms, unit: 'ms', ...goal, note });
}

function ratio(bare: number, ours: number): string {
  return `ratio ${(bare / ours).toFixed(2)}`;
}

function bare(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: 5_000, enableForeignKeyConstraints: true });
  db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 4000');
  db.exec(`pragma cache_size = -${24 * 1024}`);
  return db;
}

/** The columns of a connector, made beforehand: the bare run pays for SQLite alone. */
function columns({ record, activity }: NewConnector): SQLInputValue[] {
  return Object.values({ ...recordColumns(record), ...activityColumns(activity) });
}

const COLUMNS =
  'connector_id, tenant_id, name, connector_type, version, record, record_check, status, connection_count, error_count, activity, activity_check';

function insertStatement(db: DatabaseSync, count: number) {
  const places = Array.from({ length: count }, () => '(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  return db.prepare(`insert into connectors (${COLUMNS}) values ${places.join()}`);
}

type Imported = {
  readonly store: Store;
  readonly file: string;
  readonly ids: readonly string[];
  readonly each: Pair;
};

/** Imports by the store and bare, batch by batch in turn into two files, so that both see the same machine. */
async function importBoth(size: number, name: (i: number) => string | undefined): Promise<Imported> {
  const file = join(mkdtempSync(join(folder, 'import-')), 'registry.db');
  const bareFile = join(mkdtempSync(join(folder, 'bare-')), 'registry.db');
  const store = await SqlStore.open({ file });
  await (await SqlStore.open({ file: bareFile })).close();
  const db = bare(bareFile);
  const insert = insertStatement(db, 50);
  const insertSecret = db.prepare('insert into secrets values (?, ?, ?, ?, ?, ?)');
  const ids: string[] = [];
  let [ms, bareMs] = [0, 0];
  for (let at = 0; at < size; at += BATCH) {
    const batch = Array.from({ length: BATCH }, (_, i) => connector(at + i, name(at + i)));
    ids.push(...batch.map(({ record }) => record.connectorId));
    ms += await timeMs(() => store.insertConnectors(batch));
    const values = batch.map(columns);
    bareMs += await timeMs(() => {
      db.exec('begin immediate');
      for (let i = 0; i < BATCH; i += 50) insert.run(...values.slice(i, i + 50).flat());
      for (const { record, secrets } of batch) {
        for (const { field, keyId, sealed } of secrets) {
          insertSecret.run(record.connectorId, record.tenantId, field, keyId, sealed, 0);
        }
      }
      db.exec('commit');
    });
  }
  db.close();
  return { store, file, ids, each: { ms: ms / size, bareMs: bareMs / size } };
}

/** Opens the store in a process of its own, reads there from one end to the other, and says how large it grew. */
async function residentMb(file: string): Promise<number> {
  const program = `
    import { SqlStore } from ${JSON.stringify(new URL('../src/store/sql-store.ts', import.meta.url).href)};
    const store = await SqlStore.open({ file: ${JSON.stringify(file)} });
    for (let offset = 0; offset < ${total}; offset += 5_000) {
      for (const { record } of await store.listConnectors({ limit: 200, offset })) {
        await store.getConnector(record.tenantId, record.connectorId);
      }
    }
    const { rss } = process.memoryUsage();
    await store.close();
    console.log(rss);`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program]);
  return Number(stdout) / 2 ** 20;
}

async function benchWriting(store: Store, db: DatabaseSync): Promise<void> {
  const insert = insertStatement(db, 1);
  let next = total;
  const create = await pairMs(
    500,
    () => store.insertConnectors([connector(next++)]),
    () => insert.run(...columns(connector(next++))),
  );
  addRate('created one after another, durable', create, 3_000);

  const some = await store.listConnectors({ limit: 1_000, offset: 0 });
  const activity = { ...NO_ACTIVITY, status: 'connected', connectionCount: 1 } as const;
  const since = { connections: 1, errors: 0, isMoved: true, from: 'ready' } as const;
  const changes = some.map(({ record: { tenantId, connectorId } }) => ({
    tenantId,
    connectorId,
    activity,
    since,
  }));
  addTime('activity of 1,000 stored', { ms: await medianMs(1, () => store.saveActivity(changes)) });
}

async function benchReading(store: Store, db: DatabaseSync, ids: readonly string[]): Promise<void> {
  // Far from one another, so that neither the cache nor the order of insertion helps.
  const any = (i: number) => (i * 7919) % total;
  const byId = db.prepare('select * from connectors where connector_id = ? and tenant_id = ?');
  const get = await pairMs(
    20_000,
    (i) => store.getConnector(tenant(any(i)), ids[any(i)] ?? ''),
    (i) => byId.get(ids[any(i)] ?? '', tenant(any(i))),
  );
  addRate('got by id, not cached', get, 40_000);

  const order = 'order by name, connector_id limit ? offset ?';
  const inTenant = db.prepare(`select * from connectors where tenant_id = ? ${order}`);
  const page = { limit: 100, offset: 0 };
  const within = await pairMs(
    200,
    (i) => store.listConnectors({ tenantId: tenant(any(i)), ...page }),
    (i) => inTenant.all(tenant(any(i)), 100, 0),
  );
  addTime('list of 100 within a tenant', within, 1);

  const everywhere = db.prepare(`select * from connectors ${order}`);
  const across = (times: number, offset: number) =>
    pairMs(
      times,
      () => store.listConnectors({ limit: 100, offset }),
      () => everywhere.all(100, offset),
    );
  addTime('list of 100 across all', await across(200, 0), 3);
  addTime(`list of 100 across all, after ${total / 2}`, await across(2, total / 2));
  const rare = { status: 'deprecated', ...page } as const;
  addTime('list across all, a status that none has', {
    ms: await medianMs(20, () => store.listConnectors(rare)),
  });
  const none = { connectorType: 'sql', ...page } as const;
  addTime('list across all, a type that none has', {
    ms: await medianMs(2, () => store.listConnectors(none)),
  });

  const counted = 'connector_type, status, count(*), sum(connection_count), sum(error_count)';
  const sums = db.prepare(`select ${counted} from connectors group by 1, 2`);
  addTime('statistics of all', {
    ms: await medianMs(20, () => store.statistics(null)),
    bareMs: await timeMs(() => sums.all()),
  });
}

async function benchOpening(store: Store, file: string): Promise<void> {
  addTime('closed, checksum of the file included', { ms: await timeMs(() => store.close()) });
  const mb = await residentMb(file);
  rows.push({
    what: 'resident memory, all of it read',
    figure: mb,
    unit: 'MB',
    target: '<= 400',
    ok: mb <= 400,
  });
  for (const stop of ['a clean stop', 'an unclean stop']) {
    if (stop === 'an unclean stop') rmSync(`${file}.sum`);
    let opened: Store | undefined;
    addTime(`opened after ${stop}`, {
      ms: await timeMs(async () => (opened = await SqlStore.open({ file }))),
    });
    await opened?.close();
  }
}

try {
  const same = await importBoth(100_000, (i) => `connector-${i % PER_TENANT}`);
  await same.store.close();
  const { store, file, ids, each } = await importBoth(total, () => undefined);
  addRate(`imported 10,000 at a time, ${total} in all`, each, 60_000);
  addRate('the same, 100,000, the same 1,000 names in each tenant', same.each);
  const db = bare(file);
  await benchWriting(store, db);
  await benchReading(store, db, ids);
  db.close();
  await benchOpening(store, file);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
report('store', rows);
