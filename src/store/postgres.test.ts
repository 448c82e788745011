import { sql } from 'kysely';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { invocation, storeSuite } from '../testing/store-suite.ts';
import { openPostgres } from './postgres.ts';
import { POSTGRES_MIGRATIONS } from './migrations/postgres.ts';
import { SqlStore } from './sql-store.ts';
import type { Store } from './store.ts';

const TABLES = ['connectors', 'connector_counts', 'secrets', 'api_keys', 'invocations'];
const AS_STORE = 'set role connector_registry';
const NOW = new Date(1_700_000_000_000);

it('refuses what is no address of PostgreSQL without repeating it', async () => {
  const error: unknown = await SqlStore.open({ databaseUrl: 'mysql://user:hunter2@host/db' }).catch(
    (e: unknown) => e,
  );
  expect(error).toMatchObject({ code: 'invalid_argument', issues: [{ path: 'databaseUrl' }] });
  expect(inspect(error, { depth: 9 })).not.toContain('hunter2');
});

it('is unavailable where nothing answers, and says no password', async () => {
  const databaseUrl = 'postgres://user:hunter2@127.0.0.1:1/db';
  const error: unknown = await SqlStore.open({ databaseUrl }).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
  expect(inspect(error, { depth: 9 })).not.toContain('hunter2');
});

describe.skipIf(noPostgres !== undefined)('PostgreSQL', () => {
  const postgres = usePostgres();
  let databaseUrl: string;
  let store: Store;
  const suite = storeSuite(() => store);
  beforeAll(async () => {
    databaseUrl = await postgres.database();
    store = await SqlStore.open({ databaseUrl });
  }, 60_000);
  afterAll(() => store.close());

  it('is migrated once by ten that start at once', async () => {
    const url = await postgres.database();
    const stores = await Promise.all(Array.from({ length: 10 }, () => SqlStore.open({ databaseUrl: url })));
    await Promise.all(stores.map((one) => one.close()));
    const rows = await query(url, 'select version::int from migrations order by version');
    expect(rows).toEqual(POSTGRES_MIGRATIONS.map(({ version }) => ({ version })));
  });

  it('shows the role of the store the rows of the tenant that is set, and none where none is', async () => {
    const a = await suite.stored({ tenantId: 'a', secrets: [{ field: 'f', keyId: 'k', sealed: 's' }] });
    await suite.stored({ tenantId: 'b', secrets: [{ field: 'f', keyId: 'k', sealed: 's' }] });
    await store.addInvocation(invocation(a.record, { requestId: suite.fresh('request') }));
    const key = { keyId: 'key', tenantId: 'a', role: 'reader', label: '', hash: 'h' } as const;
    await store.insertKey({ ...key, createdAt: NOW, revokedAt: null });
    for (const table of TABLES) {
      const tenants = `select distinct tenant_id from ${table}`;
      expect(await query(databaseUrl, AS_STORE, tenants)).toEqual([]);
      expect(await query(databaseUrl, AS_STORE, "set app.tenant = 'a'", tenants)).toEqual([
        { tenant_id: 'a' },
      ]);
      expect(await query(databaseUrl, AS_STORE, "set app.tenant = ''", tenants)).toEqual([]);
      const given = query(
        databaseUrl,
        AS_STORE,
        "set app.tenant = 'a'",
        `update ${table} set tenant_id = 'b'`,
      );
      await expect(given).rejects.toThrow(/row-level security/);
    }
  });

  it('waits for the disk also where the database is set not to', async () => {
    const lax = await postgres.database();
    const { pathname } = new URL(lax);
    await query(lax, `alter database ${pathname.slice(1)} set synchronous_commit = off`);
    const engine = await openPostgres(lax);
    const { rows } = await sql<object>`select current_setting('synchronous_commit') as now`.execute(
      engine.reader(null),
    );
    await engine.close();
    expect(rows).toEqual([{ now: 'on' }]);
  });

  it('has row security, for its owner too, on every table with a tenant', async () => {
    const open = await query(
      databaseUrl,
      `select relname from pg_class join pg_attribute on attrelid = pg_class.oid
        where attname = 'tenant_id' and relkind = 'r' and not (relrowsecurity and relforcerowsecurity)`,
    );
    expect(open).toEqual([]);
  });

  it('has one first key of all that are made at once', async () => {
    const fresh = await postgres.database();
    const stores = await Promise.all(Array.from({ length: 5 }, () => SqlStore.open({ databaseUrl: fresh })));
    const key = { tenantId: null, role: 'admin', label: '', createdAt: NOW, revokedAt: null } as const;
    const made = await Promise.all(
      stores.map((one, i) => one.insertFirstKey({ ...key, keyId: `key ${i}`, hash: `hash ${i}` })),
    );
    expect(made.filter(Boolean)).toHaveLength(1);
    expect(await stores[0]?.listKeys(null)).toHaveLength(1);
    await Promise.all(stores.map((one) => one.close()));
  });

  it('gives an invocation to one of two workers that claim at once', async () => {
    const { record } = await suite.stored({ tenantId: 'workers', connectorType: 'serverless' });
    const other = await SqlStore.open({ databaseUrl });
    const ids = Array.from({ length: 40 }, () => suite.fresh('request'));
    for (const requestId of ids) await store.addInvocation(invocation(record, { requestId }));
    const { tenantId, connectorId } = record;
    const want = { tenantId, connectorId, limit: 5, maxConcurrency: 99 };
    const end = new Date(NOW.getTime() + 30_000);
    const claims = await Promise.all(
      Array.from({ length: 16 }, (_, i) => (i % 2 ? store : other).claimInvocations([want], NOW, end)),
    );
    await other.close();
    const claimed = claims.flatMap((claim) => claim.claimed).map(({ requestId }) => requestId);
    expect(new Set(claimed).size).toBe(claimed.length);
    expect(claimed.length).toBeGreaterThan(0);
  });

  it('gives out no more of a connector than may run at once, to all who claim at once, and says that it is full', async () => {
    const { record } = await suite.stored({ tenantId: 'ceilings', connectorType: 'serverless' });
    const other = await SqlStore.open({ databaseUrl });
    const ids = Array.from({ length: 60 }, () => suite.fresh('request'));
    for (const requestId of ids) await store.addInvocation(invocation(record, { requestId }));
    const { tenantId, connectorId } = record;
    const want = { tenantId, connectorId, limit: 2, maxConcurrency: 7 };
    const end = new Date(NOW.getTime() + 30_000);
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? store : other).claimInvocations([want], NOW, end)),
    );
    const claimed = claims.flatMap((claim) => claim.claimed);
    expect(claimed).toHaveLength(7);
    expect(claims.filter(({ full }) => full.includes(connectorId))).toHaveLength(17);
    const [first] = claimed;
    await store.endInvocation(first ?? invocation(record, { requestId: 'none' }), {
      ...{ status: 'completed', result: 1, resultFile: null, error: null, logs: null, durationMs: 1 },
      ...{ endedAt: NOW, expiresAt: end },
    });
    const next = await other.claimInvocations([want], NOW, end);
    expect([next.claimed.length, next.full]).toEqual([1, [connectorId]]);
    // A lease that is over takes no room.
    const later = await other.claimInvocations([want], end, new Date(end.getTime() + 30_000));
    expect([later.claimed.length, later.full]).toEqual([2, []]);
    await other.close();
  });

  it('starts one invocation of many that two stores add under one key at once', async () => {
    const { record } = await suite.stored({ tenantId: 'keys', connectorType: 'serverless' });
    const other = await SqlStore.open({ databaseUrl });
    const added = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 ? store : other).addInvocation(
          invocation(record, { requestId: suite.fresh('request'), idempotencyKey: 'once' }),
        ),
      ),
    );
    await other.close();
    expect(added.filter(({ isNew }) => isNew)).toHaveLength(1);
    expect(new Set(added.map(({ record: { requestId } }) => requestId)).size).toBe(1);
  });

  it('lists an invocation whose result holds what is no text to the database', async () => {
    const { record } = await suite.stored({ tenantId: 'text', connectorType: 'serverless' });
    const [requestId, endedAt] = [suite.fresh('request'), NOW];
    const result = { nul: '\u0000', half: '\ud800', written: String.raw`\u0000` };
    await store.addInvocation(
      invocation(record, { requestId, status: 'completed', dueAt: null, result, endedAt, durationMs: 3 }),
    );
    const [listed] = await store.listInvocations('text', record.connectorId, { limit: 10 });
    expect(listed).toMatchObject({ requestId, durationMs: 3, endedAt });
    expect((await store.getInvocation('text', record.connectorId, requestId))?.result).toEqual(result);
  });

  it('refuses to store a text with a NUL, and finds none', async () => {
    const { record } = await suite.stored({ tenantId: 'a' });
    const renamed = store.updateConnector({ ...record, name: 'a\0', version: 2 }, undefined);
    await expect(renamed).rejects.toMatchObject({ code: 'invalid_argument' });
    expect(await store.getConnectorByName('a', 'a\0')).toBeUndefined();
    expect(await store.getConnector('a', record.connectorId)).toMatchObject({ record: { version: 1 } });
  });

  it('counts the same after all is summed up', async () => {
    const tenantId = suite.fresh('tenant');
    const { record } = await suite.stored({ tenantId });
    await suite.stored({ tenantId });
    await store.deleteConnector(tenantId, record.connectorId);
    const before = await store.statistics(null);
    await query(databaseUrl, 'select sum_up_connector_counts()');
    expect(await store.statistics(null)).toEqual(before);
    expect(await store.statistics(tenantId)).toMatchObject({ byType: { vector: 1 } });
  });

  it('is unavailable while its server is down, keeps what it acknowledged, and recovers by itself', async (test) => {
    const { own } = postgres;
    if (!own) return test.skip('the server of CONNECTORS_TEST_PG_URL is not ours to kill');
    const { record } = await suite.stored({ tenantId: 'kept' });
    for (let round = 0; round < 3; round++) {
      const under = Promise.allSettled(
        Array.from({ length: 20 }, () => store.getConnector('kept', record.connectorId)),
      );
      await own.kill();
      for (const outcome of await under)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'unavailable' });
      await expect(store.ping()).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
      await expect(suite.stored()).rejects.toMatchObject({ code: 'unavailable' });
      await own.start();
      await store.ping();
      expect(await store.getConnector('kept', record.connectorId)).toMatchObject({
        record: { name: record.name },
      });
      await suite.stored({ tenantId: 'kept' });
    }
  }, 60_000);
});
