import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import { drivers } from '../drivers.generated.ts';
import { ConnectorError } from '../errors/error.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { registryWith, vectors } from './registry.fixture.ts';

/** What one server changes is in force on the others within this time. */
const IN_FORCE = { timeout: 1_000, interval: 10 };
const CUT = `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'connector-registry listener'`;
const env = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64') };

describe.skipIf(noPostgres !== undefined)('two servers on one database', () => {
  const postgres = usePostgres();

  const open = async (databaseUrl: string, script: Parameters<typeof registryWith>[0] = { remote: true }) =>
    registryWith(script, { databaseUrl, env });

  /** Two of them, and a connector that both have used. */
  async function both(script?: Parameters<typeof registryWith>[0]) {
    const url = await postgres.database();
    const [a, b] = [await open(url, script), await open(url, script)];
    const config = { options: { mode: 'a' as const }, credentials: { api_key: 'first' } };
    const made = await a.registry.createVectorConnector({ ...vectors(), config });
    const { connectorId } = made;
    const there = (await b.registry.get(connectorId)) as VectorConnector;
    return { url, a, b, here: made, there, connectorId };
  }

  it('use a configuration and credentials that the other one changed, on a new client', async () => {
    const { a, b, here, there, connectorId } = await both();
    await here.countVectors();
    await there.countVectors();
    await a.registry.update(connectorId, {
      config: { credentials: { api_key: 'second' }, options: { mode: 'b' } },
    });
    await vi.waitFor(() => expect(there.version).toBe(2), IN_FORCE);
    await there.countVectors();
    expect(b.seen.opened.at(-1)?.options).toMatchObject({ api_key: 'second', mode: 'b' });
    await vi.waitFor(() => expect(b.seen.closed).toBe(1), IN_FORCE);
    expect(await b.registry.get(connectorId)).toBe(there);
  });

  it('let calls in flight end on the client that they have', async () => {
    const { promise: counted, resolve: goOn } = Promise.withResolvers<number>();
    const { a, b, there, connectorId } = await both({ remote: true, client: { count: () => counted } });
    const inFlight = there.countVectors();
    await vi.waitFor(() => expect(b.seen.opened).toHaveLength(1), IN_FORCE);
    await a.registry.update(connectorId, { config: { options: { mode: 'b' } } });
    await vi.waitFor(() => expect(there.version).toBe(2), IN_FORCE);
    expect(b.seen.closed).toBe(0);
    goOn(7);
    expect(await inFlight).toBe(7);
    await vi.waitFor(() => expect(b.seen.closed).toBe(1), IN_FORCE);
  });

  it('know nothing any more of a connector that the other one removed', async () => {
    const { a, b, there, connectorId } = await both();
    const removed = new Promise((resolve) => b.registry.on('removed', resolve));
    await a.registry.delete(connectorId);
    expect(await removed).toEqual({ tenantId: 'acme', connectorId });
    await expect(there.countVectors()).rejects.toMatchObject({ code: 'not_found' });
    await expect(b.registry.get(connectorId)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('refuse a key that the other one revoked', async () => {
    const { a, b } = await both();
    const { key, record } = await a.registry.keys.create({ tenantId: 'acme', role: 'reader' });
    expect((await b.registry.keys.verify(key)).keyId).toBe(record.keyId);
    await a.registry.keys.revoke(null, record.keyId);
    await vi.waitFor(
      () => expect(b.registry.keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' }),
      IN_FORCE,
    );
  });

  it('make a change again that says no version, and refuse one that was made from an older one', async () => {
    const { a, b, connectorId } = await both();
    const names = Array.from({ length: 10 }, (_, i) => `n${i}`);
    await Promise.all(
      names.map((name, i) =>
        (i % 2 === 0 ? a : b).registry.update(connectorId, { metadata: { [name]: true } }),
      ),
    );
    const { version } = await a.registry.getByName('acme', 'docs');
    expect(version).toBe(11);
    await expect(b.registry.update(connectorId, { name: 'late', version: 10 })).rejects.toMatchObject({
      code: 'conflict',
      details: { version: 11 },
    });
    expect((await b.registry.update(connectorId, { name: 'late', version: 11 })).version).toBe(12);
  });

  it('agree on the status and add up the figures', async () => {
    const { a, b, here, there } = await both();
    await here.connect();
    await a.registry.getStatistics();
    await vi.waitFor(() => expect(there.status).toBe('connected'), IN_FORCE);
    expect(there.connectionCount).toBe(1);
    await there.connect();
    await b.registry.getStatistics();
    await vi.waitFor(() => expect(here.connectionCount).toBe(2), IN_FORCE);
    // It is connected for as long as one of them has it so.
    await there.disconnect();
    expect((await b.registry.getStatistics()).toDict()).toMatchObject({
      connected_connectors: 1,
      total_connections: 2,
    });
    expect(there.status).toBe('connected');
    await here.disconnect();
    expect((await a.registry.getStatistics()).toDict()).toMatchObject({ connected_connectors: 0 });
    await vi.waitFor(() => expect(there.status).toBe('disconnected'), IN_FORCE);
  });

  it('take one that has left for disconnected', async () => {
    const { a, here, there } = await both();
    await here.connect();
    await a.registry.getStatistics();
    await vi.waitFor(() => expect(there.status).toBe('connected'), IN_FORCE);
    await a.registry.close();
    await vi.waitFor(() => expect(there.status).toBe('disconnected'), IN_FORCE);
  });

  it('have nothing connected by a configuration that is changed, whenever they hear of it', async () => {
    const refused = new ConnectorError('auth_failed', 'no');
    let isRefused = false;
    const count = async () => {
      if (isRefused) throw refused;
      return 0;
    };
    const { url, a, b, here, there, connectorId } = await both({ remote: true, client: { count } });
    const change = (mode: 'a' | 'b') => a.registry.update(connectorId, { config: { options: { mode } } });
    const stored = async () => {
      await a.registry.getStatistics();
      await b.registry.getStatistics();
      const [status] = await query(url, 'select status from connectors');
      return status;
    };
    // Stored before the change.
    await there.connect();
    await b.registry.getStatistics();
    await change('b');
    await vi.waitFor(() => expect(there.version).toBe(2), IN_FORCE);
    isRefused = true;
    await expect(here.countVectors()).rejects.toMatchObject({ code: 'auth_failed' });
    expect(await stored()).toEqual({ status: 'error' });
    // Not stored yet when the other one hears of the change.
    await there.connect();
    await change('a');
    await vi.waitFor(() => expect(there.version).toBe(3), IN_FORCE);
    expect(await stored()).toEqual({ status: 'ready' });
    // Stored after the change, of which the other one has not heard.
    await there.connect();
    await query(url, 'alter table connectors disable trigger tell_of_update_of_connectors');
    await change('b');
    expect(await stored()).toEqual({ status: 'connected' });
    await query(url, CUT);
    await vi.waitFor(() => expect(there.version).toBe(4), IN_FORCE);
    expect(await stored()).toEqual({ status: 'disconnected' });
  });

  it('hear of changes where nothing is notified', async () => {
    const { url, a, b, there, connectorId } = await both();
    await query(url, 'alter table connectors disable trigger tell_of_update_of_connectors');
    await a.registry.update(connectorId, { metadata: { heard: false } });
    await query(url, CUT);
    await vi.waitFor(() => expect(there.version).toBe(2), IN_FORCE);
    expect(await b.registry.get(connectorId)).toBe(there);
  });

  it('refuse what an embedded engine stores on the other one, and do not take that for a failure', async () => {
    const { here, there } = await both({});
    await here.upsertVectors([{ id: 'one', values: [1, 0, 0] }]);
    await expect(there.countVectors()).rejects.toThrow(
      /keeps what it stores in the data directory .* of another server/,
    );
    await expect(there.countVectors()).rejects.toMatchObject({ code: 'invalid_state' });
    expect(there).toMatchObject({ errorCount: 0, lastError: null });
    expect(await here.countVectors()).toBe(0);
  });

  it('keep nothing of a connector that the other one removed and they have not used since they were started', async () => {
    const url = await postgres.database();
    const dataDir = await mkdtemp(join(tmpdir(), 'shared-'));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    const home = () => registryWith({}, { databaseUrl: url, env, dataDir, drivers });
    const notes = { tenantId: 'acme', name: 'notes', connectorId: 'same' };
    const before = await home();
    await (await before.registry.createFileConnector(notes)).writeFile('a.txt', 'removed');
    await before.registry.close();
    const { registry: a } = await home();
    const { registry: b } = await registryWith({}, { databaseUrl: url, env, drivers });
    expect(await b.delete('same')).toBe(true);
    const content = join(dataDir, 'tenants', 'acme', 'files');
    await vi.waitFor(async () => expect(await readdir(content)).toEqual([]), IN_FORCE);
    const again = await a.createFileConnector(notes);
    expect((await again.listFiles()).files).toEqual([]);
  });

  it('rely on nothing that they remember while the database is away, and go on after it', async (test) => {
    const { own } = postgres;
    if (!own) return test.skip('the server of CONNECTORS_TEST_PG_URL is not ours to kill');
    const { b, connectorId } = await both();
    const { key } = await b.registry.keys.create({ tenantId: 'acme', role: 'reader' });
    await b.registry.keys.verify(key);
    await own.kill();
    const unavailable = { code: 'unavailable', retryAfterMs: 1_000 };
    await vi.waitFor(() => expect(b.registry.get(connectorId)).rejects.toMatchObject(unavailable), {
      timeout: 1_500,
      interval: 10,
    });
    await expect(b.registry.keys.verify(key)).rejects.toMatchObject(unavailable);
    await own.start();
    expect((await b.registry.keys.verify(key)).tenantId).toBe('acme');
    expect((await b.registry.get(connectorId)).connectorId).toBe(connectorId);
  });
});
