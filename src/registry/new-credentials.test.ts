import { expect, it, vi } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { SqlStore } from '../store/sql-store.ts';
import type { Store } from '../store/store.ts';
import { testClock } from '../testing/clock.ts';
import { registryWith, vectors } from './registry.fixture.ts';

/** The grace that calls in flight have. */
const GRACE_MS = 5_000;
const refused = () => new ConnectorError('auth_failed', 'the key is not known');

/** A backend that knows its newest key alone, and answers those who come with another one when the test says so. */
function backend() {
  const { promise: gate, resolve: answer } = Promise.withResolvers<void>();
  let asked = 0;
  return {
    answer,
    asked: () => asked,
    async ask(isOld: boolean) {
      asked += 1;
      if (!isOld) return;
      await gate;
      throw refused();
    },
  };
}

const first = { ...vectors(), config: { credentials: { api_key: 'first' } } };
const second = { config: { credentials: { api_key: 'second' } } };

it('does not hold against new credentials that a call in flight had the old ones refused', async () => {
  const { answer, asked, ask } = backend();
  let isOld = true;
  const count = async () => {
    await ask(isOld);
    return 7;
  };
  const clock = testClock();
  const { registry, seen } = await registryWith({ remote: true, client: { count } }, { clock });
  const connector = await registry.createVectorConnector(first);
  const inFlight = connector.countVectors();
  await vi.waitFor(() => expect(asked()).toBe(1));
  isOld = false;
  const updating = registry.update(connector.connectorId, second);
  await vi.waitFor(() => expect(connector.version).toBe(2));
  await clock.advance(GRACE_MS);
  await updating;
  answer();
  await expect(inFlight).rejects.toMatchObject({ code: 'auth_failed' });
  expect(connector).toMatchObject({ status: 'ready', errorCount: 0, lastError: null });
  expect(await connector.countVectors()).toBe(7);
  expect(seen.opened.at(-1)?.options).toMatchObject({ api_key: 'second' });
});

it('does not hold against them that a client which was being opened had the old ones refused', async () => {
  const { answer, asked, ask } = backend();
  let isOld = true;
  const clock = testClock();
  const { registry } = await registryWith({ remote: true, open: () => ask(isOld) }, { clock });
  const connector = await registry.createVectorConnector(first);
  const opening = connector.countVectors();
  await vi.waitFor(() => expect(asked()).toBe(1));
  isOld = false;
  const updating = registry.update(connector.connectorId, second);
  await vi.waitFor(() => expect(connector.version).toBe(2));
  answer();
  await expect(opening).rejects.toMatchObject({ code: 'auth_failed' });
  await updating;
  expect(connector).toMatchObject({ status: 'ready', errorCount: 0, lastError: null });
  expect(await connector.countVectors()).toBe(0);
});

it('does not hold against them that a health check had the old ones refused', async () => {
  const { answer, asked, ask } = backend();
  let isOld = true;
  const { registry } = await registryWith({ remote: true, open: () => ask(isOld) });
  const connector = await registry.createVectorConnector(first);
  const checking = connector.healthCheck();
  await vi.waitFor(() => expect(asked()).toBe(1));
  isOld = false;
  await registry.update(connector.connectorId, second);
  answer();
  expect((await checking).ok).toBe(false);
  expect(connector).toMatchObject({ status: 'ready', errorCount: 0, lastError: null });
  expect(await connector.countVectors()).toBe(0);
});

/** A registry and its store, which the test changes. */
async function registryOn(change: (store: Store) => Partial<Store>) {
  const openStore = SqlStore.open.bind(SqlStore);
  const { promise: opened, resolve } = Promise.withResolvers<Store>();
  const opening = vi.spyOn(SqlStore, 'open').mockImplementation(async (place) => {
    const store = await openStore(place);
    resolve(store);
    return { ...store, ...change(store) };
  });
  try {
    return { ...(await registryWith({ remote: true })), store: await opened };
  } finally {
    opening.mockRestore();
  }
}

it('sends them to their own endpoint alone while the change is stored but not yet known here', async () => {
  const { promise: gate, resolve: answer } = Promise.withResolvers<void>();
  const { promise: stored, resolve: commit } = Promise.withResolvers<void>();
  const { registry, seen } = await registryOn((store) => ({
    async updateConnector(record, secrets) {
      const isDone = await store.updateConnector(record, secrets);
      commit();
      await gate;
      return isDone;
    },
  }));
  const config = { endpoint: 'https://old.example', credentials: { api_key: 'first' } };
  const connector = await registry.createVectorConnector({ ...vectors(), config });
  const updating = registry.update(connector.connectorId, {
    config: { endpoint: 'https://new.example', credentials: { api_key: 'second' } },
  });
  await stored;
  expect(connector.version).toBe(1);
  await connector.countVectors();
  expect(seen.opened.map(({ options }) => options)).toMatchObject([
    { endpoint: 'https://new.example', api_key: 'second' },
  ]);
  answer();
  await updating;
});

it('sends those of another connector with the same id nowhere', async () => {
  const { registry, seen, store } = await registryOn(() => ({}));
  const connector = await registry.createVectorConnector(first);
  const { tenantId, connectorId } = connector;
  const made = await store.getConnectorWithSecrets(tenantId, connectorId);
  if (!made) throw new Error('it was not stored');
  await store.deleteConnector(tenantId, connectorId);
  const createdAt = new Date(connector.createdAt.getTime() + 1);
  await store.insertConnectors([{ ...made, record: { ...made.record, createdAt } }]);
  await expect(connector.countVectors()).rejects.toMatchObject({ code: 'not_found' });
  expect(seen.opened).toEqual([]);
  expect(connector).toMatchObject({ status: 'ready', errorCount: 0, lastError: null });
});
