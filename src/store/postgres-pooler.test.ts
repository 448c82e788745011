import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { noPgBouncer, startPgBouncer, type TestPooler } from '../testing/pgbouncer.fixture.ts';
import { noPostgres } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { storeSuite } from '../testing/store-suite.ts';
import type { Change } from './peers.ts';
import { openPostgres, readPostgres } from './postgres.ts';
import { SqlStore } from './sql-store.ts';

describe.skipIf(noPostgres !== undefined || noPgBouncer !== undefined)('behind PgBouncer', () => {
  const postgres = usePostgres();
  let url: string;
  beforeAll(async () => {
    url = await postgres.database();
  }, 60_000);

  describe('in the mode "session"', () => {
    let pooler: TestPooler;
    beforeAll(async () => void (pooler = await startPgBouncer(url, 'session')));
    afterAll(() => pooler.close());

    it('each connection is of the role and has the limits that it has without', async () => {
      const engine = await openPostgres(pooler.url, { statementMs: 7_000, lockMs: 3_000 });
      const { rows } = await sql`
        select current_user, current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
          current_setting('idle_in_transaction_session_timeout') as idle`.execute(engine.reader('a'));
      expect(rows).toEqual([{ current_user: 'connector_registry', statement: '7s', lock: '3s', idle: '4s' }]);
      await engine.close();
    });

    it('what another server changed is heard of', async () => {
      const behind = await SqlStore.open({ databaseUrl: pooler.url });
      const direct = await SqlStore.open({ databaseUrl: url });
      const { connectorId } = (await storeSuite(() => direct).stored({ tenantId: 'a' })).record;
      const changes: Change[] = [];
      await behind.peers?.watch(async (change) => void changes.push(change));
      await direct.deleteConnector('a', connectorId);
      await vi.waitFor(() => expect(changes.length).toBeGreaterThan(2), 5_000);
      expect(behind.peers?.isCurrent()).toBe(true);
      expect(await behind.getConnector('a', connectorId)).toBeUndefined();
      await behind.close();
      await direct.close();
    });
  });

  it('in the mode "transaction", where tenants would share connections, it is refused', async () => {
    const pooler = await startPgBouncer(url, 'transaction');
    const refused = {
      code: 'invalid_argument',
      issues: [{ path: 'databaseUrl', message: expect.stringContaining('the mode "session"') as string }],
    };
    await expect(openPostgres(pooler.url)).rejects.toMatchObject(refused);
    await expect(readPostgres(pooler.url)).rejects.toMatchObject(refused);
    await pooler.close();
  });
});
