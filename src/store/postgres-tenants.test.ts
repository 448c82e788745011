import { sql } from 'kysely';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { invocation, storeSuite } from '../testing/store-suite.ts';
import { connectorStore } from './connector-store.ts';
import type { Engine } from './engine.ts';
import { invocationStore } from './invocation-store.ts';
import { keyStore } from './key-store.ts';
import { TABLES } from './migrations/postgres.ts';
import { openPostgres } from './postgres.ts';
import type { Database } from './schema.ts';
import type { Store } from './store.ts';

const NOW = new Date(1_700_000_000_000);

describe.skipIf(noPostgres !== undefined)('tenants in PostgreSQL', () => {
  const postgres = usePostgres();
  let url: string;
  let engine: Engine;
  let tables: readonly string[];
  const suite = storeSuite(() => store as Store);
  let store: ReturnType<typeof connectorStore>;
  beforeAll(async () => {
    url = await postgres.database();
    engine = await openPostgres(url);
    store = connectorStore(engine);
    const rows = await query(
      url,
      `select table_name from information_schema.columns
        where table_schema = 'public' and column_name = 'tenant_id' order by table_name`,
    );
    tables = (rows as readonly { table_name: string }[]).map((row) => row.table_name);
    for (const tenantId of ['a', 'b']) await fill(tenantId);
  }, 60_000);
  afterAll(() => engine.close());

  /** One row at least of a tenant in every table. */
  async function fill(tenantId: string): Promise<void> {
    const secrets = [{ field: 'f', keyId: 'k', sealed: 's' }];
    const { record } = await suite.stored({ tenantId, connectorType: 'serverless', secrets });
    await invocationStore(engine).addInvocation(invocation(record, { requestId: suite.fresh('request') }));
    const key = {
      keyId: suite.fresh('key'),
      tenantId,
      role: 'reader',
      label: '',
      hash: suite.fresh('hash'),
    } as const;
    await keyStore(engine).insertKey({ ...key, createdAt: NOW, revokedAt: null });
    await engine.peers?.claimHome(tenantId, record.connectorId, 'home');
    const { connectorId } = record;
    await query(
      url,
      `insert into connections (connector_id, tenant_id, server_id) values ('${connectorId}', '${tenantId}', 's')`,
      `insert into probes (connector_id, tenant_id, due_at, failures) values ('${connectorId}', '${tenantId}', 0, 0)`,
    );
  }

  const tenantsIn = async (db: Database, table: string) =>
    (
      await sql<{ tenant_id: string | null }>`
        select distinct tenant_id from ${sql.table(table)} order by tenant_id`.execute(db)
    ).rows.map((row) => row.tenant_id);

  it('has row security forced, with a policy, on every table with a tenant', async () => {
    const guarded = await query(
      url,
      `select relname as table, relrowsecurity and relforcerowsecurity as forced, count(polname)::int as policies
        from pg_class left join pg_policy on polrelid = pg_class.oid
        where relname = any(string_to_array('${tables.join()}', ',')) group by 1, 2 order by 1`,
    );
    expect(guarded).toEqual(tables.map((table) => ({ table, forced: true, policies: 1 })));
    expect(tables.length).toBeGreaterThan(7);
  });

  it('has a tenant in every table, but those that are named here', async () => {
    const none = TABLES.filter((table) => !tables.includes(table)).toSorted();
    expect(none).toEqual(['facts', 'rate_limits', 'servers']);
  });

  it('connects as a role that is not above row security', async () => {
    const { rows } = await sql`
      select rolsuper, rolbypassrls from pg_roles where rolname = current_user`.execute(engine.reader(null));
    expect(rows).toEqual([{ rolsuper: false, rolbypassrls: false }]);
  });

  it('reaches the rows of its own tenant alone, where a statement has no condition at all', async () => {
    for (const table of tables) {
      expect([table, await tenantsIn(engine.reader('a'), table)]).toEqual([table, ['a']]);
      expect([table, await tenantsIn(engine.reader(null), table)]).toEqual([table, ['a', 'b']]);
      const given = sql`update ${sql.table(table)} set tenant_id = 'b'`.execute(engine.writer('a'));
      await expect(given).rejects.toMatchObject({ details: { postgresCode: '42501' } });
      const added = sql`insert into ${sql.table(table)} select made.* from ${sql.table(table)} own
        cross join lateral json_populate_record(own, '{"tenant_id": "b"}') made`.execute(engine.writer('a'));
      await expect(added).rejects.toMatchObject({ details: { postgresCode: '42501' } });
    }
    await sql`delete from connectors`.execute(engine.writer('b'));
    for (const table of tables) expect(await tenantsIn(engine.reader('a'), table)).toEqual(['a']);
    await fill('b');
  });

  it('reaches nothing without a tenant, with that of none, or after the tenant of a transaction that ended', async () => {
    const client = new Client({ connectionString: url, options: '-c role=connector_registry' });
    await client.connect();
    for (const table of tables) {
      const rows = async () => (await client.query(`select from ${table}`)).rowCount;
      expect([table, await rows()]).toEqual([table, 0]);
      await client.query("begin; select set_config('app.tenant', 'a', true)");
      expect(await rows()).toBeGreaterThan(0);
      await client.query('commit');
      expect([table, await rows()]).toEqual([table, 0]);
      await client.query("set app.tenant = 'nobody'");
      expect([table, await rows()]).toEqual([table, 0]);
      await client.query('reset app.tenant');
    }
    await client.end();
  });

  it('hands a connection from tenant to tenant without what the one before could see', async () => {
    const one = await openPostgres(url, { poolSize: 1 });
    for (const tenantId of ['a', 'b', 'a', 'nobody', 'b']) {
      const seen = await tenantsIn(one.reader(tenantId), 'connectors');
      expect(seen).toEqual(tenantId === 'nobody' ? [] : [tenantId]);
      // A statement that fails takes its tenant with it as well.
      await expect(sql`select 1 / 0`.execute(one.reader(tenantId))).rejects.toThrow('the store failed');
      const within = await one
        .writer(tenantId)
        .transaction()
        .execute((db) => tenantsIn(db, 'connectors'));
      expect(within).toEqual(seen);
    }
    await one.close();
  });

  it('makes no administrator of a tenant that is called as they are', async () => {
    for (const table of tables)
      expect([table, await tenantsIn(engine.reader('*'), table)]).toEqual([table, []]);
    const stored = suite.stored({ tenantId: '*' });
    await expect(stored).rejects.toMatchObject({ details: { postgresCode: '42501' } });
  });
});
