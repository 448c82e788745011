import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NO_ACTIVITY } from '../connectors/base.ts';
import { postgresProxy } from '../testing/postgres-proxy.fixture.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { storeSuite } from '../testing/store-suite.ts';
import type { Change } from './peers.ts';
import { SqlStore } from './sql-store.ts';
import type { Store } from './store.ts';

describe.skipIf(noPostgres !== undefined)('processes that share a database', () => {
  const postgres = usePostgres();
  let url: string;
  let store: Store;
  const suite = storeSuite(() => store);
  beforeEach(async () => {
    url = await postgres.database();
    store = await SqlStore.open({ databaseUrl: url });
  });
  afterEach(() => store.close());

  /** Connectors that a process has connected which was last heard of so many seconds ago. */
  async function connected(count: number, serverId: string, secondsAgo: number): Promise<void> {
    const activity = { ...NO_ACTIVITY, status: 'connected' } as const;
    await store.insertConnectors(Array.from({ length: count }, () => suite.connector({ activity })));
    const seenAt = `extract(epoch from now()) * 1000 - ${secondsAgo * 1_000}`;
    await query(
      url,
      `insert into servers values ('${serverId}', '', ${seenAt}) on conflict (server_id) do update set seen_at = ${seenAt}`,
      `insert into connections select connector_id, tenant_id, '${serverId}' from connectors`,
    );
  }

  it('disconnect all that one had connected that is gone, however much it is, once it had the time to be back', async () => {
    await connected(1_200, 'gone', 20);
    const startMs = performance.now();
    await store.peers?.join({ keyIds: [] });
    const { peers } = store;
    // Killed right before the database's clock was set back by an hour.
    await connected(0, 'ahead', -3_600);
    const silent = ['ahead', 'gone'].map((serverId) => ({ serverId, keyIds: [] }));
    expect(await peers?.silent()).toEqual(silent);
    expect(await peers?.servers()).toEqual([{ serverId: peers?.serverId, keyIds: [] }]);
    const byStatus = async () => (await store.statistics(null)).byStatus;
    await vi.waitFor(async () => expect(await byStatus()).toEqual({ disconnected: 1_200 }), 25_000);
    expect(performance.now() - startMs).toBeGreaterThan(15_000);
    expect(await peers?.servers()).toEqual([{ serverId: peers?.serverId, keyIds: [] }]);
    await vi.waitFor(async () => expect(await query(url, 'select from servers')).toHaveLength(1));
  }, 30_000);

  it('take none for gone while they could not say themselves that they serve', async () => {
    await store.peers?.join({ keyIds: [] });
    await connected(1, 'other', 20);
    const own = `server_id = '${store.peers?.serverId}'`;
    await query(url, `update servers set seen_at = seen_at - 20000 where ${own}`);
    const isBack = `select from servers where ${own} and seen_at > extract(epoch from now()) * 1000 - 5000`;
    await vi.waitFor(async () => expect(await query(url, isBack)).toHaveLength(1), 10_000);
    expect(await query(url, `select from servers where server_id = 'other'`)).toHaveLength(1);
    expect((await store.statistics(null)).byStatus).toEqual({ connected: 1 });
  }, 15_000);

  it('compare everything again and again behind a pooler, which may keep from them what is notified', async () => {
    const proxy = await postgresProxy(url, { asPooler: true });
    const behind = await SqlStore.open({ databaseUrl: proxy.url });
    const changes: Change[] = [];
    await behind.peers?.watch(async (change) => void changes.push(change));
    // One is for what was before, and one for what was missed until it listened.
    await vi.waitFor(() => expect(changes).toHaveLength(4), 5_000);
    expect(changes).toEqual(
      Array.from({ length: 4 }, () => ({ connectorIds: 'all', removed: [], keys: true })),
    );
    expect(behind.peers?.isCurrent()).toBe(true);
    await proxy.close();
    await vi.waitFor(() => expect(behind.peers?.isCurrent()).toBe(false), 5_000);
    await behind.close();
  });
});
