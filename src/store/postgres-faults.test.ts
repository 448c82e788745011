import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { sql } from 'kysely';
import { Client } from 'pg';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { noPostgres, query, type OwnPostgres } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { storeSuite } from '../testing/store-suite.ts';
import { connectorStore } from './connector-store.ts';
import type { Engine } from './engine.ts';
import { POSTGRES_MIGRATIONS } from './migrations/postgres.ts';
import { openPostgres, type PostgresOptions } from './postgres.ts';
import { SqlStore } from './sql-store.ts';
import type { Database } from './schema.ts';
import type { Store } from './store.ts';

const UNAVAILABLE = { code: 'unavailable', retryAfterMs: 1_000 };

it('says what to install where pg is not', async () => {
  vi.resetModules();
  vi.doMock('pg', () => {
    throw new Error("Cannot find package 'pg'");
  });
  const fresh = await import('./postgres.ts');
  const opened = fresh.openPostgres('postgres://127.0.0.1:1/db');
  await expect(opened).rejects.toThrow('the package pg is not installed; run: npm install pg@^8.16.0');
  vi.doUnmock('pg');
});

describe.skipIf(noPostgres !== undefined || process.env['CONNECTORS_TEST_PG_URL'] !== undefined)(
  'a database that fails',
  () => {
    const postgres = usePostgres();
    let own: OwnPostgres;
    let url: string;
    let engine: Engine;
    let store: Pick<Store, 'insertConnectors' | 'getConnector' | 'updateConnector'>;
    const suite = storeSuite(() => store as Store);
    beforeAll(async () => {
      if (!postgres.own) throw new Error('the PostgreSQL is not ours to stop');
      ({ own } = postgres);
    }, 60_000);
    beforeEach(async () => {
      url = await postgres.database();
    });
    afterEach(() => engine.close());

    async function open(options: PostgresOptions = {}, at = url): Promise<void> {
      engine = await openPostgres(at, options);
      store = connectorStore(engine);
    }
    const nameOf = async (connectorId: string, tenantId = 'tenant') =>
      (await store.getConnector(tenantId, connectorId))?.record.name;
    const several = async (count: number) =>
      Promise.all(Array.from({ length: count }, async () => (await suite.stored()).record));
    /** Connections of the pool by the server's own account; what it ends takes it a moment. */
    const connections = async () =>
      (await query(url, `select from pg_stat_activity where application_name = 'connector-registry'`)).length;
    const pid = async (db: Database) =>
      (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)).rows[0]?.pid;
    const endConnection = (of: number | undefined) => query(url, `select pg_terminate_backend(${of})`);

    it.each(['kill', 'stop'] as const)(
      'serves again within a second after a %s, from no more connections than before',
      async (how) => {
        await open({ poolSize: 4 });
        const records = await several(8);
        for (let round = 0; round < 3; round++) {
          const under = Promise.allSettled(
            Array.from({ length: 40 }, (_, i) => nameOf(records[i % 8]?.connectorId ?? '')),
          );
          await own[how]();
          for (const [i, outcome] of (await under).entries()) {
            if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject(UNAVAILABLE);
            else expect(outcome.value).toBe(records[i % 8]?.name);
          }
          await expect(suite.stored()).rejects.toMatchObject(UNAVAILABLE);
          await own.start();
          const backMs = performance.now();
          await suite.stored();
          expect(performance.now() - backMs).toBeLessThan(1_000);
          for (const { connectorId, name } of records) expect(await nameOf(connectorId)).toBe(name);
        }
        await expect.poll(connections).toBeLessThanOrEqual(4);
      },
      60_000,
    );

    it('answers while its server stands still, and ends the connections on which an answer is late', async () => {
      await open({ poolSize: 3, acquireMs: 300, answerMs: 600 });
      const records = await several(6);
      const pids = () =>
        query(url, "select pid from pg_stat_activity where application_name = 'connector-registry'");
      const before = await pids();
      expect(before).toHaveLength(3);
      const paused = own.pause();
      try {
        const outcomes = await Promise.allSettled(records.map(({ connectorId }) => nameOf(connectorId)));
        for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: UNAVAILABLE });
      } finally {
        paused.resume();
      }
      for (const { connectorId, name } of records) expect(await nameOf(connectorId)).toBe(name);
      await expect
        .poll(async () => (await pids()).filter((one) => before.some((old) => isDeepStrictEqual(one, old))))
        .toEqual([]);
      await expect.poll(connections).toBeLessThanOrEqual(3);
    });

    it('says that all connections are in use, and waits for one no longer than it is told', async () => {
      await open({ poolSize: 2, acquireMs: 200 });
      const { promise: ended, resolve: end } = Promise.withResolvers<void>();
      const holding = [1, 2].map(() =>
        engine
          .writer(null)
          .transaction()
          .execute(async (db) => {
            await pid(db);
            await ended;
          }),
      );
      await expect.poll(connections).toBe(2);
      const startMs = performance.now();
      const refused = suite.stored();
      await expect(refused).rejects.toMatchObject(UNAVAILABLE);
      await expect(refused).rejects.toThrow('all connections of the store to its database are in use');
      expect(performance.now() - startMs).toBeLessThan(2_000);
      end();
      await Promise.all(holding);
      await suite.stored();
      expect(await connections()).toBe(2);
    });

    it('ends a statement that takes too long, and keeps its connection', async () => {
      await open({ poolSize: 1, statementMs: 100 });
      const db = engine.reader(null);
      const before = await pid(db);
      const slow = sql`select pg_sleep(30)`.execute(db);
      await expect(slow).rejects.toMatchObject({ ...UNAVAILABLE, details: { postgresCode: '57014' } });
      expect(await pid(db)).toBe(before);
    });

    it('waits for what another transaction holds no longer than it is told', async () => {
      await open({ lockMs: 100 });
      const { record } = await suite.stored();
      const { promise: ended, resolve: end } = Promise.withResolvers<void>();
      const { promise: held, resolve: hold } = Promise.withResolvers<void>();
      const holding = engine
        .writer(null)
        .transaction()
        .execute(async (db) => {
          await db.selectFrom('connectors').select('name').forUpdate().execute();
          hold();
          await ended;
        });
      await held;
      const waiting = store.updateConnector({ ...record, version: 2 }, undefined);
      await expect(waiting).rejects.toMatchObject({ ...UNAVAILABLE, details: { postgresCode: '55P03' } });
      end();
      await holding;
      expect(await store.updateConnector({ ...record, version: 2 }, undefined)).toBe(true);
    });

    it('lets nobody wait in vain for what one holds that was stopped in the midst of a transaction', async () => {
      await open();
      const { record } = await suite.stored();
      const stopped = await openPostgres(url);
      const { promise: goesOn, resolve: goOn } = Promise.withResolvers<void>();
      const { promise: held, resolve: hold } = Promise.withResolvers<void>();
      const holding = stopped
        .writer(null)
        .transaction()
        .execute(async (db) => {
          await db.selectFrom('connectors').select('name').forUpdate().execute();
          hold();
          await goesOn;
          await pid(db);
        });
      await held;
      expect(await store.updateConnector({ ...record, version: 2 }, undefined)).toBe(true);
      goOn();
      await expect(holding).rejects.toMatchObject(UNAVAILABLE);
      await stopped.close();
    }, 10_000);

    it('gives up one of two transactions that wait for each other, whole, and says that it may be repeated', async () => {
      await open();
      const [a, b] = await several(2);
      const order = [a, b, b, a].map((record) => record?.connectorId ?? '');
      const { promise: both, resolve: meet } = Promise.withResolvers<void>();
      let arrived = 0;
      const swap = (first: string, second: string) =>
        engine
          .writer('tenant')
          .transaction()
          .execute(async (db) => {
            const touch = (id: string) =>
              db.updateTable('connectors').set({ name: first }).where('connector_id', '=', id).execute();
            await db.deleteFrom('secrets').where('connector_id', '=', first).execute();
            await touch(first);
            if (++arrived === 2) meet();
            await both;
            await db
              .updateTable('connectors')
              .set({ error_count: 7 })
              .where('connector_id', '=', second)
              .execute();
          });
      const outcomes = await Promise.allSettled([
        swap(order[0] ?? '', order[1] ?? ''),
        swap(order[2] ?? '', order[3] ?? ''),
      ]);
      const lost = outcomes.findIndex(({ status }) => status === 'rejected');
      expect(outcomes[lost]).toMatchObject({
        reason: { ...UNAVAILABLE, details: { postgresCode: '40P01' } },
      });
      expect(outcomes[1 - lost]).toMatchObject({ status: 'fulfilled' });
      const rows = await query(url, 'select name from connectors where error_count = 7');
      expect(rows).toEqual([{ name: [a, b][lost]?.name }]);
    });

    it('does nothing by half where the connection is lost between two statements, and loses no place in the pool', async () => {
      await open({ poolSize: 1 });
      const [one, other] = [suite.connector(), suite.connector()];
      const transaction = engine
        .writer('tenant')
        .transaction()
        .execute(async (db) => {
          const within = connectorStore({ ...engine, writer: () => db, reader: () => db });
          await within.insertConnectors([one]);
          await endConnection(await pid(db));
          await within.insertConnectors([other]);
        });
      await expect(transaction).rejects.toMatchObject(UNAVAILABLE);
      expect(await nameOf(one.record.connectorId)).toBeUndefined();
      await store.insertConnectors([one]);
      expect(await connections()).toBe(1);
    });

    it('says that a transaction failed in which an error was passed over, instead of that it was committed', async () => {
      await open();
      const passed = engine
        .writer('tenant')
        .transaction()
        .execute(async (db) => {
          await sql`select 1 / 0`.execute(db).catch(() => {});
        });
      await expect(passed).rejects.toMatchObject({ code: 'internal' });
    });

    it('is unavailable where the answer to a change is lost, which then is whole and is not made twice', async () => {
      const { hostname, port, pathname } = new URL(url);
      const proxy = createServer((near) => {
        const far = connect(Number(port), hostname);
        near.on('error', () => {}).once('close', () => far.destroy());
        far.on('error', () => {}).once('close', () => near.destroy());
        near.on('data', (chunk) => far.write(chunk));
        far.on('data', (chunk) => (isLosing ? near.destroy() : near.write(chunk)));
      }).listen(0, '127.0.0.1');
      let isLosing = false;
      await once(proxy, 'listening');
      await open({}, `postgres://owner@127.0.0.1:${(proxy.address() as AddressInfo).port}${pathname}`);
      await suite.stored();
      const one = suite.connector();
      isLosing = true;
      await expect(store.insertConnectors([one])).rejects.toMatchObject(UNAVAILABLE);
      isLosing = false;
      const names = () => query(url, `select name from connectors where name = '${one.record.name}'`);
      await expect.poll(names).toEqual([{ name: one.record.name }]);
      await expect(store.insertConnectors([one])).rejects.toMatchObject({ code: 'already_exists' });
      proxy.close();
    });

    it('goes on where another version of the program changes the tables under it', async () => {
      await open({ poolSize: 1 });
      const { record } = await suite.stored();
      expect(await nameOf(record.connectorId)).toBe(record.name);
      await query(url, 'alter table connectors add column later text');
      expect(await nameOf(record.connectorId)).toBe(record.name);
    });

    it('says what is wrong with the password and the database, and no password', async () => {
      await open();
      const [{ hba_file: file }] = (await query(url, 'show hba_file')) as [{ hba_file: string }];
      const lines = ['host all refused 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 trust'];
      await query(
        url,
        "create role refused login password 'right'",
        `copy (select unnest(array['${lines.join("','")}'])) to '${file}'`,
        'select pg_reload_conf()',
      );
      const as = (changes: Partial<URL>) => openPostgres(Object.assign(new URL(url), changes).href);
      const refused = async () => as({ username: 'refused', password: 'wrong' }).catch(String);
      await expect.poll(refused).toContain('the database refused the user or the password of the store');
      expect(await refused()).not.toContain('wrong');
      await expect(as({ pathname: '/nowhere' })).rejects.toMatchObject({
        ...UNAVAILABLE,
        message: 'the database of the store does not exist',
      });
    });

    it('refuses the schema of a newer version, and leaves it as it is', async () => {
      await open();
      await query(url, "insert into migrations values (99, 'later', 0)");
      await expect(openPostgres(url)).rejects.toMatchObject({
        code: 'invalid_state',
        details: { version: 99 },
      });
      await expect.poll(connections).toBeLessThanOrEqual(1);
    });

    it('brings the schema up to date after a start that was killed in the midst of it', async () => {
      // Holds the second step up at its first table, by an entry of the same name that is not committed.
      const blocker = new Client({ connectionString: url });
      await blocker.connect();
      await blocker.query('begin; create table secrets ()');
      const child = fork(new URL('./postgres-start.fixture.ts', import.meta.url), [url]);
      const steps = () => query(url, 'select version from migrations').catch(() => []);
      // The start of a process may take long beside others.
      await expect.poll(steps, { timeout: 20_000 }).toEqual([{ version: 1 }]);
      const waiting = () => query(url, "select from pg_stat_activity where wait_event_type = 'Lock'");
      await expect.poll(waiting).toHaveLength(1);
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      await blocker.query('rollback');
      await blocker.end();
      const opened = await SqlStore.open({ databaseUrl: url });
      await opened.close();
      expect(await steps()).toEqual(POSTGRES_MIGRATIONS.map(({ version }) => ({ version })));
      await open();
      await suite.stored();
    });
  },
);
