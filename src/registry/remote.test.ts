import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { networkFailure } from '../contract/backend-error.ts';
import { reach, targetOf } from '../contract/network.ts';
import type { OpenContext } from '../contract/driver.ts';
import { ConnectorError } from '../errors/error.ts';
import { testClock } from '../testing/clock.ts';
import { registryWith, vectors } from './registry.fixture.ts';

const server = createServer((_request, response) => response.end('hello'));
let url = '';

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A listening TCP server's address is never a pipe's name.
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
});

const namesOf = (report: { readonly stages: readonly { name: string; status: string }[] }) =>
  report.stages.map(({ name, status }) => `${name} ${status}`);

describe('the test of a remote backend', () => {
  const open = async (context: OpenContext) => {
    await reach(context, targetOf(url));
    await context.stage('credentials', async () => {});
    await context.stage('collection', async () => {});
  };

  it('opens a client of its own, stage by stage, and closes it', async () => {
    const check = async () => [{ level: 'info' as const, message: 'version 7' }];
    const { registry, seen } = await registryWith({ remote: true, open, client: { check } });
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    const report = await connector.healthCheck();
    expect(report.ok).toBe(true);
    expect(namesOf(report)).toEqual([
      ...['secrets ok', 'configuration ok', 'address ok', 'connect ok', 'credentials ok', 'collection ok'],
      'capabilities ok',
    ]);
    expect(report.stages.at(-1)).toMatchObject({ message: 'version 7' });
    expect(seen).toMatchObject({ opened: { length: 2 }, closed: 1 });
  });

  it('names the stage that failed and skips the others, and shows no secret', async () => {
    const { registry } = await registryWith({
      remote: true,
      async open(context) {
        await reach(context, targetOf(url));
        await context.stage('credentials', async () => {
          throw new ConnectorError('auth_failed', 'the key hunter2hunter2 is not known');
        });
      },
    });
    const config = { credentials: { api_key: 'hunter2hunter2' } };
    const connector = await registry.createVectorConnector({ ...vectors(), config });
    const report = await connector.healthCheck();
    expect(namesOf(report).slice(2)).toEqual([
      ...['address ok', 'connect ok', 'credentials failed', 'collection skipped', 'capabilities skipped'],
    ]);
    expect(report.stages[4]).toMatchObject({
      code: 'auth_failed',
      remedy: expect.stringMatching(/credentials/),
    });
    expect(JSON.stringify([report, connector.toDict()])).not.toContain('hunter2');
    expect(connector).toMatchObject({ status: 'error', errorCount: 1, lastError: { code: 'auth_failed' } });
  });

  it('names the first stage that was not reached where a driver fails before any', async () => {
    const open = async () => {
      throw new ConnectorError('unavailable', 'the package is not installed');
    };
    const { registry } = await registryWith({ remote: true, open });
    const { connectorId } = await registry.createVectorConnector(vectors());
    const report = await registry.test(connectorId);
    expect(namesOf(report).slice(1, 4)).toEqual(['configuration ok', 'address failed', 'connect skipped']);
  });
});

describe('a backend that does not answer', () => {
  it('fails to open once, as a timeout, however the caller is released', async () => {
    const clock = testClock();
    const opening = Promise.withResolvers<void>();
    const open = ({ signal }: OpenContext) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(networkFailure(signal.reason, signal)), { once: true });
        opening.resolve();
      });
    const { registry } = await registryWith({ remote: true, open }, { clock });
    const config = { timeoutSeconds: 2, maxRetries: 0 };
    const connector = await registry.createVectorConnector({ ...vectors(), config });
    const attempt = expect(connector.search([1, 0, 0])).rejects.toMatchObject({ code: 'timeout' });
    await opening.promise;
    await clock.advance(2_000);
    await attempt;
    expect(connector).toMatchObject({ status: 'error', errorCount: 1, lastError: { code: 'timeout' } });
  });
});

describe('a health check', () => {
  it('waits 30 seconds for the backend, however long the calls of the connector may take', async () => {
    for (const [timeoutSeconds, limitMs] of [
      [900, 30_000],
      [2, 2_000],
    ] as const) {
      for (const remote of [true, undefined] as const) {
        const clock = testClock();
        const { promise: asked, resolve } = Promise.withResolvers<AbortSignal>();
        const check = (signal: AbortSignal) =>
          new Promise<never>((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason), { once: true });
            resolve(signal);
          });
        const { registry } = await registryWith({ ...(remote && { remote }), client: { check } }, { clock });
        const connector = await registry.createVectorConnector({ ...vectors(), config: { timeoutSeconds } });
        const checking = connector.healthCheck();
        const signal = await asked;
        await clock.advance(limitMs - 1);
        expect(signal.aborted).toBe(false);
        await clock.advance(1);
        const { stages } = await checking;
        expect(stages.find(({ status }) => status === 'failed')).toMatchObject({ code: 'timeout' });
      }
    }
  });

  it('has the opening of a client end soon enough to be told which stage took so long', async () => {
    const clock = testClock();
    const { promise: opening, resolve } = Promise.withResolvers<void>();
    const open = ({ signal, stage }: OpenContext) =>
      stage('address', () => {
        resolve();
        return new Promise<void>((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(networkFailure(signal.reason, signal)), {
            once: true,
          }),
        );
      });
    const { registry } = await registryWith({ remote: true, open }, { clock });
    const connector = await registry.createVectorConnector({ ...vectors(), config: { timeoutSeconds: 900 } });
    const checking = connector.healthCheck();
    await opening;
    await clock.advance(30_000);
    const stage = (await checking).stages.find(({ name }) => name === 'address');
    expect(stage).toMatchObject({ status: 'failed', ms: 28_500, code: 'timeout' });
  });
});

describe('egress', () => {
  const open = async (context: OpenContext) => void (await reach(context, targetOf(url)));
  const openByFetch = async (context: OpenContext) => {
    await context.network
      .fetcher()
      .fetch(url)
      .catch((error: unknown) => {
        throw networkFailure(error);
      });
  };
  const denied = { code: 'egress_denied' };

  it('lets a connector that an administrator made reach this machine', async () => {
    const { registry } = await registryWith({ open });
    const connector = await registry.createVectorConnector(vectors());
    await expect(connector.connect()).resolves.toBeUndefined();
  });

  it('keeps the connector of a tenant from it, by socket and by fetch', async () => {
    for (const way of [open, openByFetch]) {
      const { registry } = await registryWith({ open: way });
      const connector = await registry.forTenant('acme').createVectorConnector(vectors());
      await expect(connector.connect()).rejects.toMatchObject(denied);
    }
  });

  it('lets it through where the operator allows the address or private networks', async () => {
    for (const egress of [{ allowPrivate: true }, { allowCidrs: ['127.0.0.0/8'] }]) {
      const { registry } = await registryWith({ open }, { egress });
      const connector = await registry.forTenant('acme').createVectorConnector(vectors());
      await expect(connector.connect()).resolves.toBeUndefined();
    }
  });

  it('ends the trust in a connector once its tenant said where it leads', async () => {
    const { registry } = await registryWith({ open });
    const { connectorId } = await registry.createVectorConnector(vectors());
    const tenant = registry.forTenant('acme');
    await tenant.update(connectorId, { config: { timeoutSeconds: 5 } });
    const connector = await registry.get(connectorId);
    await expect(connector.connect()).resolves.toBeUndefined();
    await tenant.update(connectorId, { config: { endpoint: 'http://127.0.0.1:1' } });
    await expect(connector.connect()).rejects.toMatchObject(denied);
    await registry.update(connectorId, { config: { endpoint: url } });
    await expect(connector.connect()).resolves.toBeUndefined();
  });

  it('ends it once its tenant took its credentials away or said who it is, as the host itself may be next', async () => {
    const credentials = { api_key: 'one' };
    for (const [config, isTrusted] of [
      [{ credentials: { api_key: 'another' } }, true],
      [{ timeout_seconds: 5 }, true],
      [{ credentials: {} }, false],
      [{ auth_type: 'iam', credentials: {} }, false],
    ] as const) {
      const { registry, seen } = await registryWith({ remote: true });
      const made = await registry.createVectorConnector({
        ...vectors(),
        config: { authType: 'api_key', credentials },
      });
      const tenant = registry.forTenant('acme', { admin: false });
      const updated = await tenant.updateFromDict(made.connectorId, { config });
      await updated.connect();
      expect(seen.opened.at(-1)?.context.trusted).toBe(isTrusted);
    }
  });

  it("never takes an administrator's credentials to where a tenant says", async () => {
    for (const config of [
      { endpoint: url },
      { options: { mode: 'b' } },
      { auth_type: 'iam' },
      // What is left of them would be a tenant's to take elsewhere by the next change.
      { credentials: { api_key: '***' } },
    ]) {
      const { registry } = await registryWith({ remote: true });
      const { connectorId } = await registry.createVectorConnector({
        ...vectors(),
        config: { authType: 'api_key', credentials: { api_key: 'one', 'auth.password': 'two' } },
      });
      const tenant = registry.forTenant('acme', { admin: false });
      await expect(tenant.updateFromDict(connectorId, { config })).rejects.toMatchObject({
        code: 'permission_denied',
        issues: [{ path: 'config.credentials.api_key' }],
      });
      const credentials = { api_key: 'own' };
      await tenant.updateFromDict(connectorId, { config: { ...config, credentials } });
    }
  });

  it("takes a tenant's own along as before", async () => {
    const { registry, seen } = await registryWith({ remote: true });
    const tenant = registry.forTenant('acme', { admin: false });
    const config = { credentials: { api_key: 'own' } };
    const { connectorId } = await tenant.createVectorConnector({ ...vectors(), config });
    const moved = await tenant.updateFromDict(connectorId, { config: { options: { mode: 'b' } } });
    await moved.connect();
    expect(seen.opened.at(-1)?.options).toEqual({ api_key: 'own', mode: 'b' });
  });

  it('remembers over a restart whom it trusts', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'remote-'));
    try {
      const { registry } = await registryWith({ open }, { dataDir });
      const { connectorId } = await registry.createVectorConnector(vectors());
      const own = await registry.forTenant('acme').createVectorConnector(vectors('own'));
      await registry.close();
      const { registry: next } = await registryWith({ open }, { dataDir });
      await expect((await next.get(connectorId)).connect()).resolves.toBeUndefined();
      await expect((await next.get(own.connectorId)).connect()).rejects.toMatchObject(denied);
    } finally {
      rmSync(dataDir, { recursive: true });
    }
  });
});
