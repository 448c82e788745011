import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { PostgresPeers } from '../store/postgres-peers.ts';
import { SqlStore } from '../store/sql-store.ts';
import type { Store } from '../store/store.ts';
import { postgresProxy } from '../testing/postgres-proxy.fixture.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { registryWith, vectors } from './registry.fixture.ts';
import type { ConnectorRegistry } from './registry.ts';
import { scriptedDriver } from './scripted-driver.fixture.ts';

const IN_FORCE = { timeout: 2_000, interval: 10 };
const ENV = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64') };

/** From now on nothing is notified, and who listens has to begin anew: then all is compared. */
const DEAFEN = [
  'alter table connectors disable trigger user',
  'alter table api_keys disable trigger user',
] as const;
const CUT = `select pg_terminate_backend(pid) from pg_stat_activity
  where application_name = 'connector-registry listener' and datname = current_database()`;

describe.skipIf(noPostgres !== undefined)('of servers on one database, one', () => {
  const postgres = usePostgres();

  const open = async (databaseUrl: string, options: Parameters<typeof registryWith>[1] = {}) =>
    (await registryWith({ remote: true }, { databaseUrl, env: ENV, ...options })).registry;

  /** A server that reads a connector and then waits for its driver, until the test goes on. */
  async function reading(url: string, connectorId: string) {
    const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { drivers } = scriptedDriver({ remote: true });
    const registry = await open(url, {
      drivers: {
        async 'vector/scripted'() {
          begin();
          await gate;
          return drivers['vector/scripted']();
        },
      },
    });
    const got = registry.get(connectorId);
    got.catch(() => {});
    await begun;
    return { registry, got, goOn };
  }

  /** A server whose store the test changes. */
  async function changed(url: string, change: (store: Store) => Partial<Store>) {
    const openStore = SqlStore.open.bind(SqlStore);
    const opening = vi.spyOn(SqlStore, 'open').mockImplementation(async (where) => {
      const store = await openStore(where);
      return { ...store, ...change(store) };
    });
    try {
      return await open(url);
    } finally {
      opening.mockRestore();
    }
  }

  /** Ends when `there` has heard of everything that was changed on `here` during `work`. */
  async function heard(here: ConnectorRegistry, there: ConnectorRegistry, work: () => Promise<unknown>) {
    const { record } = await here.keys.create({ tenantId: 'acme', role: 'reader' });
    const forget = vi.spyOn(there.keys, 'forget');
    await work();
    await here.keys.revoke(null, record.keyId);
    // Not that the key is refused: that is so, too, where it is looked up anew because nothing was heard for a second.
    await vi.waitFor(() => expect(forget).toHaveBeenCalled(), IN_FORCE);
    forget.mockRestore();
  }

  it('makes no object of what was changed while it loaded the driver', async () => {
    const url = await postgres.database();
    const a = await open(url);
    const { connectorId } = await a.createVectorConnector(vectors());
    const { registry: b, got, goOn } = await reading(url, connectorId);
    await heard(a, b, () => a.update(connectorId, { metadata: { changed: true } }));
    goOn();
    expect((await got).version).toBe(2);
  });

  it('makes no object of what was removed while it loaded the driver', async () => {
    const url = await postgres.database();
    const a = await open(url);
    const { connectorId } = await a.createVectorConnector(vectors());
    const { registry: b, got, goOn } = await reading(url, connectorId);
    await heard(a, b, () => a.delete(connectorId));
    goOn();
    await expect(got).rejects.toMatchObject({ code: 'not_found' });
  });

  it('makes no object of what may have changed while it did not listen', async () => {
    const url = await postgres.database();
    const a = await open(url);
    const { connectorId } = await a.createVectorConnector(vectors());
    const { registry: b, got, goOn } = await reading(url, connectorId);
    await query(url, ...DEAFEN);
    await heard(a, b, async () => {
      await a.update(connectorId, { metadata: { changed: true } });
      await query(url, CUT);
    });
    goOn();
    expect((await got).version).toBe(2);
  });

  it('does not go back to its own change when another one is heard of before the answer', async () => {
    const url = await postgres.database();
    const { promise: gate, resolve: answer } = Promise.withResolvers<void>();
    const a = await changed(url, (store) => ({
      async updateConnector(...change) {
        const is = await store.updateConnector(...change);
        await gate;
        return is;
      },
    }));
    const b = await open(url);
    const { connectorId } = await a.createVectorConnector(vectors());
    const there = await b.get(connectorId);
    const updating = a.update(connectorId, { metadata: { by: 'a' } });
    await vi.waitFor(() => expect(there.version).toBe(2), IN_FORCE);
    await heard(b, a, () => b.update(connectorId, { metadata: { by: 'b' } }));
    answer();
    await updating;
    expect((await a.get(connectorId)).record).toMatchObject({ version: 3, metadata: { by: 'b' } });
  });

  it('knows what another one changed of a new connector before it had the answer', async () => {
    const url = await postgres.database();
    const { promise: gate, resolve: answer } = Promise.withResolvers<void>();
    const { promise: stored, resolve: store } = Promise.withResolvers<void>();
    const a = await changed(url, ({ insertConnectors }) => ({
      async insertConnectors(connectors) {
        await insertConnectors(connectors);
        store();
        await gate;
      },
    }));
    const b = await open(url);
    const creating = a.createVectorConnector(vectors());
    await stored;
    const { connectorId } = await b.getByName('acme', 'docs');
    await heard(b, a, () => b.update(connectorId, { metadata: { by: 'b' } }));
    answer();
    expect((await creating).version).toBe(2);
    expect((await a.get(connectorId)).version).toBe(2);
  });

  it('does not take a connector for another one that had its id', async () => {
    const url = await postgres.database();
    const [a, b] = [await open(url), await open(url)];
    await a.createVectorConnector({ ...vectors(), connectorId: 'same' });
    const before = await b.get('same');
    await query(url, ...DEAFEN);
    await a.delete('same');
    await a.createVectorConnector({ ...vectors('docs', 'other'), connectorId: 'same' });
    await query(url, CUT);
    await vi.waitFor(
      () => expect(b.get('same', { tenantId: 'acme' })).rejects.toMatchObject({ code: 'not_found' }),
      IN_FORCE,
    );
    const after = await b.get('same', { tenantId: 'other' });
    expect(after).not.toBe(before);
    expect(after).toMatchObject({ tenantId: 'other', version: 1 });
  });

  it('changes the connector that has the id by now, not the one that had it', async () => {
    const url = await postgres.database();
    const [a, b] = [await open(url), await open(url)];
    const config = (mode: 'a' | 'b') => ({ config: { options: { mode } } });
    await a.createVectorConnector({ ...vectors(), ...config('a'), connectorId: 'same' });
    await b.get('same');
    await query(url, ...DEAFEN);
    await a.delete('same');
    await a.createVectorConnector({ ...vectors(), ...config('b'), connectorId: 'same' });
    const { record } = await b.update('same', { metadata: { changed: true } });
    expect(record).toMatchObject({
      version: 2,
      metadata: { changed: true },
      config: { options: { mode: 'b' } },
    });
  });

  it('reads nothing again that is as it knows it', async () => {
    const url = await postgres.database();
    const compared: number[] = [];
    const read: string[] = [];
    const a = await changed(url, ({ getConnectorStates, getConnectors }) => ({
      getConnectorStates(ids) {
        compared.push(ids.length);
        return getConnectorStates(ids);
      },
      getConnectors(ids) {
        read.push(...ids);
        return getConnectors(ids);
      },
    }));
    const b = await open(url);
    const spec = (name: string) => ({
      ...vectors(name),
      config: { endpoint: 'https://a.example', maxRetries: 1, credentials: { 'env.B': 'b', api_key: 'a' } },
      metadata: { z: [1, { 2: 'two', 1: null }], a: '\u0000\ud800é' },
    });
    await a.createVectorConnector(spec('made'));
    const { connectorId } = await b.createVectorConnector(spec('loaded'));
    await a.get(connectorId);
    await a.update(connectorId, { config: { timeoutSeconds: 5 } });
    await a.getStatistics();
    await heard(b, a, async () => {});
    read.length = 0;
    await query(url, CUT);
    const earlier = compared.length;
    await vi.waitFor(() => expect(compared.slice(earlier)).toContain(2), IN_FORCE);
    await heard(b, a, async () => {});
    expect(read).toEqual([]);
  });

  it('makes a change from the credentials that the connector has by now', async () => {
    const url = await postgres.database();
    const [a, b] = [await open(url), await open(url)];
    const config = { credentials: { api_key: 'first' } };
    const { connectorId } = await a.createVectorConnector({ ...vectors(), config });
    await b.get(connectorId);
    await query(url, ...DEAFEN);
    await a.update(connectorId, { config: { credentials: { 'auth.password': 'other' } } });
    const { record } = await b.update(connectorId, { config: { timeoutSeconds: 5 } });
    expect(record.config.toDict()).toMatchObject({
      timeout_seconds: 5,
      credentials: { 'auth.password': '***' },
    });
    await a.delete(connectorId);
    await expect(b.update(connectorId, { config: { timeoutSeconds: 6 } })).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('goes back to what is stored where a standby took over that lacks the last changes', async () => {
    const url = await postgres.database();
    const a = await open(url);
    const { connectorId } = await a.createVectorConnector(vectors());
    await query(url, ...DEAFEN, 'create table standby as table connectors');
    const change = (times: number) => a.update(connectorId, { metadata: { times } });
    const lose = `update connectors c set version = s.version, record = s.record, record_check = s.record_check from standby s`;
    await change(1);
    await query(url, lose);
    expect((await change(2)).record).toMatchObject({ version: 2, metadata: { times: 2 } });
    await query(url, lose, CUT);
    await vi.waitFor(
      async () => expect((await a.get(connectorId)).record).toMatchObject({ version: 1, metadata: {} }),
      IN_FORCE,
    );
  });

  it('leaves the object of a connector alone where one that had its id was read before', async () => {
    const url = await postgres.database();
    const { promise: gate, resolve: goOn } = Promise.withResolvers<void>();
    const { promise: read, resolve: begun } = Promise.withResolvers<void>();
    const a = await changed(url, ({ listConnectors }) => ({
      async listConnectors(filter) {
        const rows = await listConnectors(filter);
        begun();
        await gate;
        return rows;
      },
    }));
    const b = await open(url);
    await b.createVectorConnector({ ...vectors(), connectorId: 'same' });
    await query(url, ...DEAFEN);
    const listing = a.list();
    await read;
    await b.delete('same');
    await b.createVectorConnector({ ...vectors(), connectorId: 'same' });
    const later = await a.get('same');
    goOn();
    expect(await listing).toEqual([later]);
    expect(await a.get('same')).toBe(later);
  });

  it('has its own changes in force whose answers were lost', async () => {
    const proxy = await postgresProxy(await postgres.database());
    const a = await open(proxy.url);
    const config = { credentials: { api_key: 'first' } };
    const { connectorId } = await a.createVectorConnector({ ...vectors(), config });
    const { key, record } = await a.keys.create({ tenantId: 'acme', role: 'reader' });
    await a.keys.verify(key);
    const unavailable = { code: 'unavailable' };

    proxy.loseAnswer('COMMIT');
    const updating = a.update(connectorId, { config: { credentials: { api_key: 'second' } } });
    await expect(updating).rejects.toMatchObject(unavailable);
    await vi.waitFor(async () => expect((await a.get(connectorId)).version).toBe(2), IN_FORCE);

    proxy.loseAnswer('UPDATE 1');
    await expect(a.keys.revoke(null, record.keyId)).rejects.toMatchObject(unavailable);
    await vi.waitFor(
      () => expect(a.keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' }),
      IN_FORCE,
    );

    proxy.loseAnswer('DELETE 1');
    await expect(a.delete(connectorId)).rejects.toMatchObject(unavailable);
    await vi.waitFor(() => expect(a.get(connectorId)).rejects.toMatchObject({ code: 'not_found' }), IN_FORCE);
    await a.close();
    await proxy.close();
  });

  it('stores no figure twice where some were stored and others could not be', async () => {
    const url = await postgres.database();
    const a = await open(url);
    const specs = Array.from({ length: 150 }, (_, i) => ({
      ...vectors(`n${i}`),
      connectorType: 'vector' as const,
    }));
    const ids = await a.createMany(specs);
    const connectors = await Promise.all(ids.map((id) => a.get(id)));
    const lastId = ids.toSorted().at(-1);
    await query(
      url,
      `create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$`,
      `create trigger refuse before update on connectors for each row
        when (new.connector_id = '${lastId}') execute function refuse()`,
    );
    for (const connector of connectors) connector.recordFailure(new Error('it failed'));
    await expect(a.getStatistics()).rejects.toMatchObject({ code: 'internal' });
    await query(url, 'drop trigger refuse on connectors');
    expect((await a.getStatistics()).toDict()).toMatchObject({ total_errors: 150 });
  });

  it('leaves a connector deprecated that another one deprecated meanwhile', async () => {
    const url = await postgres.database();
    const [a, b] = [await open(url), await open(url)];
    const here = await a.createVectorConnector(vectors());
    const there = await b.get(here.connectorId);
    await there.connect();
    await b.getStatistics();
    await vi.waitFor(() => expect(here.status).toBe('connected'), IN_FORCE);
    await query(url, ...DEAFEN);
    await a.update(here.connectorId, { status: 'deprecated' });
    await there.disconnect();
    await b.getStatistics();
    expect((await a.list({ status: 'deprecated' })).map((one) => one.connectorId)).toEqual([
      here.connectorId,
    ]);
    expect(there.status).toBe('deprecated');
  });

  it('is closed within seconds while the database stands still', async (test) => {
    const { own } = postgres;
    if (!own) return test.skip('the server of CONNECTORS_TEST_PG_URL is not ours to pause');
    const a = await open(await postgres.database());
    const connector = await a.createVectorConnector(vectors());
    connector.recordFailure(new Error('it failed'));
    const paused = own.pause();
    try {
      const startMs = performance.now();
      await a.close();
      expect(performance.now() - startMs).toBeLessThan(6_000);
    } finally {
      paused.resume();
    }
  }, 30_000);

  it('lets go of its data directory where it could not be opened', async (test) => {
    const folder = await mkdtemp(join(tmpdir(), 'shared-faults-'));
    test.onTestFinished(() => rm(folder, { recursive: true }));
    const url = await postgres.database();
    const watch = vi.spyOn(PostgresPeers.prototype, 'watch').mockRejectedValueOnce(new Error('away'));
    test.onTestFinished(() => watch.mockRestore());
    const fails = open(url, { dataDir: folder });
    await expect(fails).rejects.toThrow('away');
    await (await open(url, { dataDir: folder })).close();
  });
});
