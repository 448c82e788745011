import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { BaseConnector, type ConnectorInit, type HealthReport } from '../connectors/base.ts';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import { ConnectorError } from '../errors/error.ts';
import { testClock } from '../testing/clock.ts';
import { registryWith, vectors } from './registry.fixture.ts';
import { ConnectorRegistry } from './registry.ts';

const CANARY = 'canary-91c0-secret';

class Crm extends BaseConnector {
  failure: Error | undefined;
  constructor(init: Partial<ConnectorInit> = {}) {
    super({ tenantId: 'acme', name: 'crm', connectorType: 'custom', provider: 'crm', ...init });
  }
  override async connect(): Promise<void> {
    this.recordConnection();
  }
  override async disconnect(): Promise<void> {
    this.moveTo('disconnected');
  }
  override async healthCheck(): Promise<HealthReport> {
    return { ok: true, stages: [] };
  }
  ask(): Promise<string> {
    return this.call('crm.ask', { idempotent: true }, async () => {
      if (this.failure) throw this.failure;
      return 'answer';
    });
  }
}

describe('creating', () => {
  it('answers a connector that is ready and has the usual configuration', async () => {
    const { registry } = await registryWith();
    const connector = await registry.createVectorConnector(vectors());
    expect(connector.toDict()).toMatchObject({
      tenant_id: 'acme',
      name: 'docs',
      connector_type: 'vector',
      provider: 'scripted',
      status: 'ready',
      vector_dimension: 3,
      distance_metric: 'cosine',
      config: { timeout_seconds: 30, max_retries: 3 },
      connection_count: 0,
      error_count: 0,
      last_error: null,
    });
  });

  it('refuses a name that the tenant has, and allows it to another tenant', async () => {
    const { registry } = await registryWith();
    await registry.createVectorConnector(vectors('docs', 'acme'));
    await registry.createVectorConnector(vectors('docs', 'umbrella'));
    await expect(registry.createVectorConnector(vectors('docs', 'acme'))).rejects.toMatchObject({
      code: 'already_exists',
    });
    expect(await registry.list()).toHaveLength(2);
  });

  it('stores all of many or none', async () => {
    const { registry } = await registryWith();
    const specs = ['a', 'b', 'a'].map((name) => ({ ...vectors(name), connectorType: 'vector' as const }));
    await expect(registry.createMany(specs)).rejects.toMatchObject({ code: 'already_exists' });
    expect(await registry.list()).toEqual([]);
    expect(await registry.createMany(specs.slice(0, 2))).toHaveLength(2);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ name: '' }, 'name'],
    [{ name: ' padded ' }, 'name'],
    [{ provider: 'nothing' }, 'provider'],
    [{ vectorDimension: 0 }, 'vector_dimension'],
    [{ vectorDimension: 9 }, 'vector_dimension'],
    [{ surprise: true }, 'surprise'],
    [{ config: { timeoutSeconds: -1 } }, 'config.timeout_seconds'],
    [{ config: { surprise: 1 } }, 'config.surprise'],
    [{ config: { options: { surprise: 1 } } }, 'config.options.surprise'],
    [{ config: { options: { mode: 'c' } } }, 'config.options.mode'],
    [{ config: { credentials: { surprise: 'x' } } }, 'config.credentials.surprise'],
    [{ metadata: { at: () => 1 } }, 'metadata.at'],
    [{ metadata: JSON.parse('{"a":{"__proto__":1}}') }, 'metadata.a.__proto__'],
    [{ config: { options: JSON.parse('{"__proto__":{"mode":"b"}}') } }, 'config.options.__proto__'],
    [{ config: { credentials: JSON.parse('{"__proto__":"x"}') } }, 'config.credentials.__proto__'],
  ])('refuses %j, names the field and stores nothing', async (part, path) => {
    const { registry } = await registryWith();
    const failure = await registry
      .createVectorConnector({ ...vectors(), ...part })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'invalid_argument', issues: [expect.objectContaining({ path })] });
    expect(await registry.list()).toEqual([]);
  });

  it('refuses nesting that would exhaust the stack', async () => {
    const { registry } = await registryWith();
    const deep: unknown = JSON.parse('['.repeat(50_000) + ']'.repeat(50_000));
    await expect(registry.createFromDict('acme', { metadata: { a: { b: deep } } })).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'metadata.a.b' }],
    });
  });

  it.each(['', 'a b', 'a/b', '..\u0000', 'x'.repeat(129)])('refuses the tenant %j', async (tenantId) => {
    const { registry } = await registryWith();
    await expect(registry.createVectorConnector(vectors('docs', tenantId))).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'tenant_id' }],
    });
  });
});

describe('using', () => {
  it('connects at first use, once however many call', async () => {
    const { registry, seen } = await registryWith();
    const connector = await registry.createVectorConnector(vectors());
    await Promise.all(Array.from({ length: 20 }, () => connector.search([1, 0, 0])));
    expect([seen.opened.length, connector.status, connector.connectionCount]).toEqual([1, 'connected', 1]);
  });

  it('closes an idle client unnoticed and opens another at the next use', async () => {
    const clock = testClock();
    const { registry, seen } = await registryWith({}, { clock, idleCloseMs: 1_000 });
    const connector = await registry.createVectorConnector(vectors());
    await connector.search([1, 0, 0]);
    await clock.advance(2_000);
    expect([seen.closed, connector.status]).toEqual([1, 'connected']);
    await connector.search([1, 0, 0]);
    expect([seen.opened.length, connector.connectionCount]).toEqual([2, 2]);
  });

  it('moves to disconnected when it is told to, and back at the next use', async () => {
    const { registry } = await registryWith();
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    await connector.disconnect();
    expect(connector.status).toBe('disconnected');
    await connector.search([1, 0, 0]);
    expect(connector.status).toBe('connected');
  });

  it('counts a failed call without giving the connection up, and keeps its message', async () => {
    const failing = async () => {
      throw new ConnectorError('backend_error', 'index is being rebuilt');
    };
    const { registry } = await registryWith({ client: { search: failing } });
    const connector = await registry.createVectorConnector(vectors());
    await expect(connector.search([1, 0, 0])).rejects.toMatchObject({
      code: 'backend_error',
      message: 'vector connector "docs": index is being rebuilt',
      connectorId: connector.connectorId,
    });
    expect([connector.status, connector.errorCount, connector.lastError?.code]).toEqual([
      'connected',
      1,
      'backend_error',
    ]);
  });

  it('counts a failure to connect once, however many calls waited for it', async () => {
    const { promise: gate, resolve: letGo } = Promise.withResolvers<void>();
    const open = async () => {
      await gate;
      throw new ConnectorError('unavailable', 'no answer');
    };
    const { registry } = await registryWith({ open });
    const connector = await registry.createVectorConnector({ ...vectors(), config: { maxRetries: 0 } });
    const calls = Promise.allSettled([connector.search([1, 0, 0]), connector.search([1, 0, 0])]);
    letGo();
    expect((await calls).map((call) => call.status)).toEqual(['rejected', 'rejected']);
    expect([connector.status, connector.errorCount]).toEqual(['error', 1]);
  });

  it('shows no more of a bug in a driver than its class', async () => {
    const failing = async () => {
      throw new TypeError(`cannot read ${CANARY}`);
    };
    const { registry } = await registryWith({ client: { search: failing } });
    const connector = await registry.createVectorConnector(vectors());
    await expect(connector.search([1, 0, 0])).rejects.toMatchObject({
      code: 'internal',
      message: 'vector connector "docs": vector.search failed in the driver (TypeError)',
    });
  });

  it('changes nothing along with a status that cannot follow on the one it has', async () => {
    const { registry } = await registryWith();
    const { connectorId } = await registry.createVectorConnector(vectors());
    const attempt = registry.update(connectorId, { name: 'renamed', status: 'disconnected' });
    await expect(attempt).rejects.toMatchObject({ code: 'invalid_state' });
    expect((await registry.get(connectorId)).record).toMatchObject({ name: 'docs', version: 1 });
  });

  it('goes on serving when it is deprecated, and says so', async () => {
    const { registry } = await registryWith();
    const connector = await registry.createVectorConnector(vectors());
    await registry.update(connector.connectorId, { status: 'deprecated' });
    await connector.search([1, 0, 0]);
    expect(connector.toDict()).toMatchObject({ status: 'deprecated', connection_count: 1 });
  });
});

describe('health', () => {
  it('reports its stages in order', async () => {
    const notes = [{ level: 'warn' as const, message: 'the index is missing' }];
    const { registry } = await registryWith({ client: { check: async () => notes } });
    const { connectorId } = await registry.createVectorConnector(vectors());
    const report = await registry.test(connectorId);
    expect(report).toMatchObject({
      ok: true,
      stages: [
        { name: 'secrets', status: 'ok' },
        { name: 'configuration', status: 'ok' },
        { name: 'backend', status: 'warn', message: 'the index is missing' },
      ],
    });
  });

  it('says what failed and what to do, and makes an error of three failures in a row', async () => {
    let down = true;
    const check = async () => {
      if (down) throw new ConnectorError('unavailable', 'no answer');
      return [];
    };
    const { registry } = await registryWith({ client: { check } });
    const connector = await registry.createVectorConnector(vectors());
    const first = await connector.healthCheck();
    expect(first).toMatchObject({
      ok: false,
      stages: [
        {},
        {},
        { name: 'backend', status: 'failed', code: 'unavailable', remedy: expect.any(String) },
      ],
    });
    await connector.healthCheck();
    expect(connector.status).toBe('connected');
    await connector.healthCheck();
    expect(connector.status).toBe('error');
    down = false;
    expect((await connector.healthCheck()).ok).toBe(true);
    expect(connector.status).toBe('connected');
  });
});

describe('finding', () => {
  it('answers one object for one connector', async () => {
    const { registry } = await registryWith();
    const created = await registry.createVectorConnector(vectors());
    const found = [
      await registry.get(created.connectorId),
      await registry.getByName('acme', 'docs'),
      (await registry.list())[0],
    ];
    expect(found.every((connector) => connector === created)).toBe(true);
  });

  it('lists by name, filters, and pages', async () => {
    const { registry } = await registryWith();
    for (const name of ['c', 'a', 'b']) await registry.createVectorConnector(vectors(name));
    await registry.createVectorConnector(vectors('a', 'umbrella'));
    await (await registry.getByName('acme', 'b')).connect();
    const names = async (options: Parameters<typeof registry.list>[0]) =>
      (await registry.list(options)).map((c) => c.name);
    expect(await names({ tenantId: 'acme' })).toEqual(['a', 'b', 'c']);
    expect(await names({ tenantId: 'acme', limit: 1, offset: 1 })).toEqual(['b']);
    expect(await names({ name: 'a' })).toEqual(['a', 'a']);
    expect(await names({ name: 'a', tenantId: 'umbrella' })).toEqual(['a']);
    expect(await names({ status: 'connected' })).toEqual(['b']);
    expect(await names({ connectorType: 'file' })).toEqual([]);
    await expect(registry.list({ limit: 0 })).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'limit' }],
    });
  });

  it("reads another tenant's connector exactly like one that never existed", async () => {
    const { registry } = await registryWith();
    const { connectorId } = await registry.createVectorConnector(vectors());
    const view = registry.forTenant('umbrella');
    const unknown = '00000000-0000-4000-8000-000000000000';
    const outcome = async (id: string) => {
      const calls = [
        view.get(id),
        view.vector(id),
        view.file(id),
        view.update(id, { name: 'mine' }),
        view.test(id),
        view.getByName('docs'),
      ];
      const failures = await Promise.all(
        calls.map((call) =>
          call.catch((error: ConnectorError) => JSON.stringify(error).replaceAll(id, 'ID')),
        ),
      );
      return [
        ...failures,
        await view.delete(id),
        await view.list(),
        JSON.stringify(await view.getStatistics()),
        await view.clear(),
      ];
    };
    expect(await outcome(connectorId)).toEqual(await outcome(unknown));
    expect((await registry.get(connectorId)).name).toBe('docs');
  });
});

describe('removing', () => {
  it('answers whether there was one, and ends objects that callers still hold', async () => {
    const { registry, seen } = await registryWith();
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    expect([
      await registry.delete(connector.connectorId),
      await registry.delete(connector.connectorId),
    ]).toEqual([true, false]);
    await expect(connector.search([1, 0, 0])).rejects.toMatchObject({ code: 'not_found' });
    await expect(registry.get(connector.connectorId)).rejects.toMatchObject({ code: 'not_found' });
    expect([seen.opened.length, seen.closed]).toEqual([1, 1]);
  });

  it('clears one tenant and leaves the others', async () => {
    const { registry } = await registryWith();
    await registry.createVectorConnector(vectors('a'));
    await registry.createVectorConnector(vectors('b'));
    await registry.createVectorConnector(vectors('a', 'umbrella'));
    expect(await registry.clearTenant('acme')).toBe(2);
    expect((await registry.list()).map((connector) => connector.tenantId)).toEqual(['umbrella']);
    await registry.reset();
    expect(await registry.list()).toEqual([]);
  });
});

describe('updating', () => {
  it('refuses a version that is not the stored one', async () => {
    const { registry } = await registryWith();
    const { connectorId } = await registry.createVectorConnector(vectors());
    await registry.update(connectorId, { metadata: { team: 'a' }, version: 1 });
    await expect(registry.update(connectorId, { metadata: { team: 'b' }, version: 1 })).rejects.toMatchObject(
      { code: 'conflict' },
    );
    expect((await registry.get(connectorId)).metadata).toEqual({ team: 'a' });
  });

  it('lets one of two changes at once win and tells the other', async () => {
    const { registry } = await registryWith();
    const { connectorId } = await registry.createVectorConnector(vectors());
    const outcomes = await Promise.allSettled([
      registry.update(connectorId, { name: 'left' }),
      registry.update(connectorId, { name: 'right' }),
    ]);
    expect(outcomes.map((outcome) => outcome.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect((await registry.get(connectorId)).version).toBe(2);
  });

  it('changes nothing when the new configuration is refused', async () => {
    const { registry } = await registryWith();
    const connector = await registry.createVectorConnector(vectors());
    await expect(
      registry.update(connector.connectorId, { name: 'new', config: { options: { mode: 'c' } } }),
    ).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    expect([connector.name, connector.version, connector.status]).toEqual(['docs', 1, 'ready']);
  });
});

describe('statistics and events', () => {
  it('counts connectors, connections and errors', async () => {
    const { registry } = await registryWith();
    const connector = await registry.createVectorConnector(vectors('a'));
    await registry.createVectorConnector(vectors('b'));
    await connector.connect();
    expect((await registry.getStatistics({ tenantId: 'acme' })).toDict()).toEqual({
      total_connectors: 2,
      ready_connectors: 1,
      connected_connectors: 1,
      error_connectors: 0,
      connectors_by_type: { vector: 2 },
      total_connections: 1,
      total_errors: 0,
    });
  });

  it('tells listeners what happens, and survives one that throws', async () => {
    const { registry } = await registryWith();
    const heard: string[] = [];
    registry.on('registered', () => {
      heard.push('registered');
      throw new Error('listener');
    });
    registry.on('status_changed', ({ from, to }) => void heard.push(`${from}>${to}`));
    registry.on('updated', () => void heard.push('updated'));
    registry.on('removed', () => void heard.push('removed'));
    const connector = await registry.createVectorConnector(vectors());
    await connector.connect();
    await registry.update(connector.connectorId, { name: 'renamed' });
    await registry.delete(connector.connectorId);
    expect(heard).toEqual(['registered', 'ready>connected', 'updated', 'removed']);
  });
});

describe("connectors of the application's own class", () => {
  it('are stored, listed, wrapped in policies and counted', async () => {
    const { registry } = await registryWith();
    const crm = new Crm();
    await registry.register(crm);
    expect([await crm.ask(), crm.status, (await registry.list())[0] === crm]).toEqual([
      'answer',
      'ready',
      true,
    ]);
    crm.failure = new ConnectorError('backend_error', 'no');
    await expect(crm.ask()).rejects.toMatchObject({ code: 'backend_error', connectorId: crm.connectorId });
    expect(crm.errorCount).toBe(1);
    expect((await registry.getStatistics()).connectorsByType).toEqual({ custom: 1 });
  });

  it('are the same ones in the next process, however often they were changed', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'registry-'));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    const before = await ConnectorRegistry.open({ dataDir, env: {} });
    const crm = new Crm();
    const { connectorId } = crm;
    await before.register(crm);
    await before.update(connectorId, { metadata: { times: 1 } });
    await before.close();
    const { registry } = await registryWith({}, { dataDir });
    await registry.register(new Crm({ connectorId, createdAt: new Date(0) }));
    const { record } = await registry.update(connectorId, { metadata: { times: 2 } });
    expect(record).toMatchObject({ version: 3, metadata: { times: 2 }, createdAt: crm.createdAt });
  });

  it('cannot take the name of another', async () => {
    const { registry } = await registryWith();
    await registry.register(new Crm());
    await expect(registry.register(new Crm())).rejects.toMatchObject({ code: 'already_exists' });
  });
});

describe('closing', () => {
  it('closes every client, and refuses what comes after', async () => {
    const { registry, seen } = await registryWith();
    const connector: VectorConnector = await registry.createVectorConnector(vectors());
    await connector.connect();
    await Promise.all([registry.close(), registry.close()]);
    expect(seen.closed).toBe(1);
    await expect(registry.list()).rejects.toMatchObject({ code: 'invalid_state' });
  });
});
