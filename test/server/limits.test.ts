import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ConnectorRegistry, type RegistryOptions, type VectorConnector } from '../../src/index.ts';
import type { Log } from '../../src/driver.ts';
import { scriptedDriver } from '../../src/registry/scripted-driver.fixture.ts';
import { noPostgres } from '../../src/testing/postgres.fixture.ts';
import { usePostgres } from '../../src/testing/postgres-suite.fixture.ts';
import { noRedis, startRedis, type TestRedis } from '../../src/testing/redis.fixture.ts';
import { type Server, testServer } from './harness.ts';

const { drivers } = scriptedDriver({ remote: true });
const LIMITED = {
  rate_limit_enabled: true,
  rate_limit_requests: 30,
  rate_limit_window_seconds: 3_600,
  max_retries: 0,
};
const SPEC = {
  connector_type: 'vector',
  provider: 'scripted',
  vector_dimension: 3,
  name: 'limited',
  config: LIMITED,
};

/** How many of so many calls on each of the connectors, all at once, were let through; none may fail otherwise. */
async function letThrough(times: number, ...connectors: readonly VectorConnector[]): Promise<number> {
  const calls = connectors.flatMap((one) => Array.from({ length: times }, () => one.countVectors()));
  const outcomes = await Promise.allSettled(calls);
  const through = outcomes.filter(({ status }) => status === 'fulfilled').length;
  const limited = outcomes.filter((one) => one.status === 'rejected' && one.reason.code === 'rate_limited');
  expect(through + limited.length).toBe(calls.length);
  return through;
}

function recorder(): { readonly log: Log; readonly logged: string[] } {
  const logged: string[] = [];
  const write = (level: string) => (message: string, fields: unknown) =>
    void logged.push(`${level}: ${message} ${JSON.stringify(fields)}`);
  return {
    logged,
    log: { debug: () => {}, info: write('info'), warn: write('warn'), error: write('error') },
  };
}

const metric = async (server: Server, name: string) => {
  const { text } = await server.ask('GET //metrics', { key: '' });
  return Number(new RegExp(`^connector_registry_${name} (\\d+)$`, 'm').exec(text)?.[1]);
};

it('serves few gauges in the text format of Prometheus to anybody, without a name of a tenant', async () => {
  const server = await testServer({ drivers, env: {} });
  await server.registry.createFromDict('acme', SPEC);
  const answer = await server.ask('GET //metrics', { key: '' });
  expect(answer).toMatchObject({
    status: 200,
    headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
  });
  expect(answer.text).toMatchInlineSnapshot(`
    "# HELP connector_registry_limits_degraded 1 while rate limits are this server's share, because the counts that servers share do not answer.
    # TYPE connector_registry_limits_degraded gauge
    connector_registry_limits_degraded 0
    # HELP connector_registry_servers Servers on the same store, this one included.
    # TYPE connector_registry_servers gauge
    connector_registry_servers 1
    # HELP connector_registry_open_clients Clients of connectors that are open in this process.
    # TYPE connector_registry_open_clients gauge
    connector_registry_open_clients 0
    # HELP connector_registry_store_current 0 while this server does not know what others changed, because the store does not answer.
    # TYPE connector_registry_store_current gauge
    connector_registry_store_current 1
    "
  `);
});

describe.skipIf(noRedis !== undefined)('rate limits on Redis', () => {
  let redis: TestRedis;
  beforeAll(async () => void (redis = await startRedis()));
  afterAll(() => redis.close());

  it('are kept by this server alone while Redis is killed, and counted there again once it is back', async (test) => {
    if (!redis.own) return test.skip('the Redis of CONNECTORS_TEST_REDIS_URL is not ours to kill');
    const { log, logged } = recorder();
    const server = await testServer({ drivers, log, env: { CONNECTORS_REDIS_URL: redis.url } });
    const connector = (await server.registry.createFromDict('acme', SPEC)) as VectorConnector;
    expect(await letThrough(10, connector)).toBe(10);
    expect(await metric(server, 'limits_degraded')).toBe(0);

    await redis.own.kill();
    const startMs = performance.now();
    // The server's share, anew: what was counted in Redis is gone with it.
    expect(await letThrough(100, connector)).toBe(30);
    expect(performance.now() - startMs).toBeLessThan(2_000);
    expect(await metric(server, 'limits_degraded')).toBe(1);

    await redis.own.start();
    await expect.poll(() => metric(server, 'limits_degraded'), { timeout: 10_000 }).toBe(0);
    expect(await letThrough(100, connector)).toBe(30);
    expect(logged.map((line) => line.slice(0, 40))).toEqual([
      "warn: rate limits are this server's shar",
      'info: rate limits hold across servers ag',
    ]);
    expect(logged.join('')).not.toContain(redis.own.password);
  });

  it('hold up no call for longer than a moment where Redis hangs, and only those under way', async (test) => {
    if (!redis.own) return test.skip('the Redis of CONNECTORS_TEST_REDIS_URL is not ours to stop');
    const server = await testServer({ drivers, env: {}, redisUrl: redis.url });
    const connector = (await server.registry.createFromDict('acme', SPEC)) as VectorConnector;
    await connector.countVectors();
    redis.own.pause();
    const startMs = performance.now();
    await connector.countVectors();
    const firstMs = performance.now() - startMs;
    expect(firstMs).toBeGreaterThan(95);
    expect(firstMs).toBeLessThan(900);
    for (let call = 0; call < 20; call++) await connector.countVectors();
    // Were each to wait, it would be two seconds.
    expect(performance.now() - startMs - firstMs).toBeLessThan(1_000);
    redis.own.resume();
    await expect.poll(() => metric(server, 'limits_degraded'), { timeout: 10_000 }).toBe(0);
  });

  it('start without a Redis that answers, name a refused password in the log, and never show it', async (test) => {
    if (!redis.own)
      return test.skip('the Redis of CONNECTORS_TEST_REDIS_URL is not ours: its password is unknown');
    const { log, logged } = recorder();
    const redisUrl = redis.url.replace(redis.own.password, 'swordfish');
    await using registry = await ConnectorRegistry.open({ drivers, env: {}, log, redisUrl });
    expect(registry.gauges().limitsDegraded).toBe(true);
    expect(logged.length).toBe(1);
    expect(logged[0]).toContain('Redis refused the user or the password in its address');
    expect(logged[0]).not.toContain('swordfish');
    const connector = (await registry.createFromDict('acme', SPEC)) as VectorConnector;
    expect(await letThrough(100, connector)).toBe(30);
  });

  it('refuse an address that is none when the registry is opened', async () => {
    await expect(
      ConnectorRegistry.open({ env: { CONNECTORS_REDIS_URL: 'http://host' } }),
    ).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'redisUrl' }],
    });
  });
});

describe.skipIf(noPostgres !== undefined)('rate limits of two servers on one database', () => {
  const postgres = usePostgres();
  const open: ConnectorRegistry[] = [];
  afterEach(async () => {
    for (const registry of open.splice(0)) await registry.close();
  });

  /** The same connector on two servers that know of each other. */
  async function onTwo(options: RegistryOptions = {}): Promise<readonly [VectorConnector, VectorConnector]> {
    const databaseUrl = await postgres.database();
    const env = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('hex') };
    for (let server = 0; server < 2; server++)
      open.push(await ConnectorRegistry.open({ drivers, env, databaseUrl, ...options }));
    const [first, second] = open;
    if (!first || !second) throw new Error('two were opened');
    await expect.poll(() => first.gauges().servers, { timeout: 20_000 }).toBe(2);
    const { connectorId } = await first.createFromDict('acme', SPEC);
    const both = [await first.get(connectorId), await second.get(connectorId)];
    return both as unknown as readonly [VectorConnector, VectorConnector];
  }

  it('hold exactly, are halved while the database is down, fail no call, and hold again when it is back', async (test) => {
    const { own } = postgres;
    if (!own) return test.skip('the server of CONNECTORS_TEST_PG_URL is not ours to kill');
    const both = await onTwo();
    const degraded = () => open.map((registry) => registry.gauges().limitsDegraded);
    // Opened by a call each: what comes at once on one server is counted together, and may be all that is let through.
    for (const one of both) await one.countVectors();
    expect(await letThrough(300, ...both)).toBe(28);
    expect(degraded()).toEqual([false, false]);
    await own.kill();
    expect(await letThrough(100, ...both)).toBe(30);
    expect(await letThrough(100, both[0])).toBe(0);
    expect(degraded()).toEqual([true, true]);
    await own.start();
    await expect.poll(degraded, { timeout: 20_000 }).toEqual([false, false]);
    expect(await letThrough(100, ...both)).toBe(30);
  }, 60_000);

  it.skipIf(noRedis !== undefined)(
    'hold exactly in Redis, and at half each without it',
    async (test) => {
      const redis = await startRedis();
      test.onTestFinished(() => redis.close());
      const both = await onTwo({ redisUrl: redis.url });
      expect(await letThrough(300, ...both)).toBe(30);
      if (!redis.own) return;
      await redis.own.kill();
      expect(await letThrough(100, both[0])).toBe(15);
      expect(await letThrough(100, both[1])).toBe(15);
    },
    60_000,
  );
});
