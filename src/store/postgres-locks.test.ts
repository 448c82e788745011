import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NO_ACTIVITY } from '../connectors/base.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { secret, storeSuite } from '../testing/store-suite.ts';
import { SqlStore } from './sql-store.ts';
import type { Store } from './store.ts';

describe.skipIf(noPostgres !== undefined)('transactions that meet', () => {
  const postgres = usePostgres();
  let url: string;
  let store: Store;
  let holder: Client;
  const suite = storeSuite(() => store);
  beforeEach(async () => {
    url = await postgres.database();
    store = await SqlStore.open({ databaseUrl: url });
    holder = new Client({ connectionString: url });
    await holder.connect();
  });
  afterEach(async () => {
    await holder.end();
    await store.close();
  });

  /** Begins one after the other while rows are held that both need, and lets both go on. */
  async function inTurn<A, B>(held: string, first: () => Promise<A>, second: () => Promise<B>) {
    await holder.query('begin');
    await holder.query(`${held} for update`);
    const waiting = (count: number) =>
      vi.waitFor(async () => {
        const rows = await query(url, `select from pg_stat_activity where wait_event_type = 'Lock'`);
        expect(rows).toHaveLength(count);
      });
    const one = first();
    await waiting(1);
    const other = second();
    await waiting(2);
    await holder.query('commit');
    return Promise.all([one, other]);
  }

  it('do not wait for each other where one changes the credentials of what another one removes', async () => {
    const { record } = await suite.stored({ secrets: [secret('key', 'before')] });
    const { tenantId, connectorId } = record;
    const both = await inTurn(
      'select from secrets',
      () => store.updateConnector({ ...record, version: 2 }, [secret('key', 'after')]),
      () => store.deleteConnector(tenantId, connectorId),
    );
    expect(both).toEqual([true, true]);
  });

  it('do not wait for each other where one ends what a process had connected', async () => {
    const other = await SqlStore.open({ databaseUrl: url });
    await other.peers?.join({ keyIds: [] });
    const { record } = await suite.stored({ activity: { ...NO_ACTIVITY, status: 'connected' } });
    const { tenantId, connectorId } = record;
    await query(
      url,
      `insert into connections values ('${connectorId}', '${tenantId}', '${other.peers?.serverId}')`,
    );
    const both = await inTurn(
      'select from connections',
      () => other.close(),
      () => store.deleteConnector(tenantId, connectorId),
    );
    expect(both).toEqual([undefined, true]);
  });

  it('do not wait for each other where one looks after the health of what another one removes', async () => {
    const connected = {
      activity: { ...NO_ACTIVITY, status: 'connected' },
      secrets: [secret('key', 'x')],
    } as const;
    const stored = [await suite.stored(connected), await suite.stored(connected)];
    const [known] = stored.map(({ record }) => record.connectorId).toSorted();
    await query(
      url,
      `insert into probes select connector_id, tenant_id, 0, 0 from connectors where connector_id = '${known}'`,
    );
    const want = { now: new Date(), nextAt: () => new Date(), limit: 20, home: undefined };
    const both = await inTurn(
      'select from secrets',
      () => store.clearTenant(stored[0]?.record.tenantId ?? ''),
      () => store.claimProbes(want),
    );
    expect(both).toEqual([expect.any(Array), []]);
    expect(both[0]).toHaveLength(2);
  });
});
