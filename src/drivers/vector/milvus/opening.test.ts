import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { connect as connectTo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { DistanceMetric, VectorClient, VectorOpenContext } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';
import { startMilvus, type MilvusDouble } from './milvus.fixture.ts';

/** A machine that is busy takes its time. */
const WITHIN = { timeout: 20_000 };
const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const one of open.splice(0).toReversed()) await one.close();
});

async function start(options: Parameters<typeof startMilvus>[0] = {}): Promise<MilvusDouble> {
  const server = await startMilvus(options);
  open.push(server);
  return server;
}

async function connect(
  options: Readonly<Record<string, unknown>>,
  context: Partial<VectorOpenContext> & { readonly metric?: DistanceMetric } = {},
): Promise<VectorClient> {
  const client = await driver.open(driver.options.parse(options), {
    ...vectorContext(scratch, 3, 'cosine'),
    ...context,
  });
  open.push(client);
  return client;
}

describe('the options', () => {
  it('have the token, or user and password, and not both', () => {
    const endpoint = 'http://localhost:19530';
    const parses = (options: object): boolean => driver.options.safeParse({ endpoint, ...options }).success;
    expect(parses({})).toBe(true);
    expect(parses({ token: 't' })).toBe(true);
    expect(parses({ username: 'u', password: 'p' })).toBe(true);
    expect(parses({ username: 'u' })).toBe(false);
    expect(parses({ password: 'p' })).toBe(false);
    expect(parses({ token: 't', username: 'u', password: 'p' })).toBe(false);
  });

  it('have an endpoint of scheme, host and port alone', () => {
    const parses = (endpoint: string): boolean => driver.options.safeParse({ endpoint }).success;
    expect(parses('https://in01.zillizcloud.com')).toBe(true);
    expect(parses('http://localhost:19530/')).toBe(true);
    for (const bad of [
      'localhost:19530',
      'http://u:p@localhost',
      'http://localhost/x',
      'http://localhost?a',
      'ftp://x',
      '',
    ])
      expect(parses(bad), bad).toBe(false);
  });
});

describe('the network', () => {
  it('is asked for the name once, and gets the address that was checked from then on', async () => {
    const server = await start();
    const asked: string[] = [];
    const guarded = network(egressPolicy({ allowPrivate: true }), (host, _options, done) => {
      asked.push(host);
      done(null, [{ address: '127.0.0.1', family: 4 }]);
    });
    // No resolver but this one knows the name, so the client would fail if it asked.
    const endpoint = `http://milvus.invalid:${server.port}`;
    const client = await connect({ endpoint }, { network: guarded });
    const before = asked.length;
    await client.count(undefined, NEVER);
    expect(asked).toHaveLength(before);
    expect(new Set(asked)).toEqual(new Set(['milvus.invalid']));
    expect(new Set(server.requests.map(({ host }) => host))).toEqual(
      new Set([`milvus.invalid:${server.port}`]),
    );
  });

  it('is asked again once nobody is at the address, and the client follows the name', async () => {
    const server = await start();
    // The same server at two addresses: one of them is a way to the other, and goes away.
    const way = createServer((socket) => {
      const on = connectTo(server.port, '127.0.0.1');
      for (const [one, other] of [
        [socket, on],
        [on, socket],
      ] as const)
        one.on('error', () => {}).on('close', () => other.destroy());
      socket.pipe(on).pipe(socket);
      sockets.add(socket);
    });
    const sockets = new Set<Socket>();
    way.listen(server.port, '127.0.0.2');
    await once(way, 'listening');
    let address = '127.0.0.2';
    const guarded = network(egressPolicy({ allowPrivate: true }), (_host, _options, done) =>
      done(null, [{ address, family: 4 }]),
    );
    const endpoint = `http://milvus.invalid:${server.port}`;
    const client = await connect({ endpoint }, { network: guarded });
    expect(await client.count(undefined, NEVER)).toBe(0);
    way.close();
    for (const socket of sockets) socket.destroy();
    await expect(client.count(undefined, NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    address = '127.0.0.1';
    await vi.waitFor(async () => expect(await client.count(undefined, NEVER)).toBe(0), WITHIN);
  });

  it('is refused where the rule forbids the address, before anything is sent', async () => {
    const server = await start();
    const guarded = network(egressPolicy({ allowPrivate: false }));
    await expect(connect({ endpoint: server.url }, { network: guarded })).rejects.toMatchObject({
      code: 'egress_denied',
    });
    expect(server.requests).toEqual([]);
  });

  it('is never left for a proxy that the environment names', async () => {
    for (const name of ['grpc_proxy', 'http_proxy', 'https_proxy']) vi.stubEnv(name, 'http://127.0.0.1:1');
    vi.stubEnv('no_proxy', '');
    const server = await start();
    await expect(connect({ endpoint: server.url })).resolves.toBeDefined();
  });

  it('may be TLS by a certificate of its own, for a name and for an address', async () => {
    const tls = selfSignedCertificate();
    const server = await start({ tls });
    for (const host of ['localhost', '127.0.0.1']) {
      const client = await connect({ endpoint: `https://${host}:${server.port}`, ca: tls.cert });
      expect(await client.count(undefined, NEVER)).toBe(0);
    }
  });
});

describe('opening', () => {
  it('goes through the stages in their order', async () => {
    const server = await start();
    const stages: string[] = [];
    const stage = <T>(name: string, step: () => Promise<T>): Promise<T> => {
      stages.push(name);
      return step();
    };
    await connect({ endpoint: server.url }, { stage });
    expect(stages).toEqual(['address', 'connect', 'credentials', 'collection']);
  });

  it('sends a token, or user and password, with every request', async () => {
    const server = await start({ token: 'root:Milvus' });
    const client = await connect({ endpoint: server.url, token: 'root:Milvus' });
    expect(await client.count(undefined, NEVER)).toBe(0);
    await expect(
      connect({ endpoint: server.url, username: 'root', password: 'Milvus' }),
    ).resolves.toBeDefined();
  });

  it('names both dimensions, or both metrics, where they differ', async () => {
    const server = await start();
    const endpoint = server.url;
    await connect({ endpoint, collection: 'shared' });
    await expect(connect({ endpoint, collection: 'shared' }, { dimension: 4 })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringMatching(/vectors of 3 numbers.*vectors of 4/) as string,
    });
    await expect(connect({ endpoint, collection: 'shared' }, { metric: 'dot' })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringMatching(/metric is cosine.*dot/) as string,
    });
  });

  it("refuses a collection that is somebody else's", async () => {
    const server = await start();
    server.answer('DescribeCollection', () => ({
      status: { error_code: 'Success', code: 0 },
      schema: {
        fields: [
          { name: 'id', data_type: 'Int64', is_primary_key: true },
          { name: 'vector', data_type: 'FloatVector', type_params: [{ key: 'dim', value: '3' }] },
        ],
      },
    }));
    await expect(connect({ endpoint: server.url, collection: 'theirs' })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('its field id is Int64, not VarChar') as string,
    });
    expect(server.requests.map(({ method }) => method)).not.toContain('CreateIndex');
  });

  it('completes a collection that a crash left without its index', async () => {
    const server = await start();
    let crashed = false;
    server.answer('CreateIndex', () => {
      crashed = true;
      return { grpc: 'UNAVAILABLE', details: 'gone' };
    });
    await expect(connect({ endpoint: server.url, collection: 'half' })).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(crashed).toBe(true);
    server.restore('CreateIndex');
    const client = await connect({ endpoint: server.url, collection: 'half' });
    await client.upsert([{ id: 'a', values: [1, 2, 3] }], NEVER);
    expect(await client.count(undefined, NEVER)).toBe(1);
  });

  it('makes an exact index where that is asked for, and says which one there is', async () => {
    const server = await start();
    const flat = await connect({ endpoint: server.url, index: 'flat' });
    const auto = await connect({ endpoint: server.url });
    expect(await flat.check(NEVER)).toEqual([
      {
        level: 'info',
        message: expect.stringMatching(/^Milvus v2\.6\.4, collection connector_[0-9a-f]{32}$/) as string,
      },
    ]);
    expect(await auto.check(NEVER)).toContainEqual({
      level: 'info',
      message: 'searches of large collections are approximate (AUTOINDEX)',
    });
  });

  it('refuses a server that is too old, and vectors of one number', async () => {
    const old = await start({ version: 'v2.4.17' });
    const stages: string[] = [];
    const stage = <T>(name: string, step: () => Promise<T>): Promise<T> => {
      stages.push(name);
      return step();
    };
    await expect(connect({ endpoint: old.url }, { stage })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('v2.4.17') as string,
    });
    // The credentials were good.
    expect(stages.at(-1)).toBe('collection');
    await expect(connect({ endpoint: old.url }, { dimension: 1 })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });
});

describe('closing', () => {
  const handles = (): Readonly<Record<string, number>> => {
    const names = process
      .getActiveResourcesInfo()
      .filter((name) => /^(?:TCP|TLS|Timeout|GetAddr)/.test(name));
    return Object.fromEntries(
      [...new Set(names)].map((name) => [name, names.filter((one) => one === name).length]),
    );
  };

  it('leaves no socket and no timer behind, nor does an opening that fails', async () => {
    const server = await start();
    await settled(server);
    const before = handles();
    for (let i = 0; i < 3; i++) {
      const client = await driver.open(
        driver.options.parse({ endpoint: server.url }),
        vectorContext(scratch, 3, 'cosine'),
      );
      await Promise.all(Array.from({ length: 10 }, () => client.count(undefined, NEVER)));
      await client.close();
    }
    server.answer('LoadCollection', () => ({ error_code: 'UnexpectedError', code: 65_535, reason: 'no' }));
    await expect(connect({ endpoint: server.url })).rejects.toMatchObject({ code: 'backend_error' });
    await settled(server);
    const after = handles();
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)]))
      expect(after[name] ?? 0, name).toBeLessThanOrEqual(before[name] ?? 0);
  });

  it('keeps the logger of the SDK quiet', async () => {
    const server = await start();
    await connect({ endpoint: server.url });
    const { logger } = await import('@zilliz/milvus2-sdk-node');
    expect(logger.level).toBe('error');
  });

  /** Until the server has seen every connection end. */
  async function settled(server: MilvusDouble): Promise<void> {
    await vi.waitFor(() => expect(server.connections()).toBe(0), WITHIN);
  }
});
