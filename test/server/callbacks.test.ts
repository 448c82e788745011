import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { conformanceFunctions } from '../../src/drivers/serverless/openfaas/functions-double.fixture.ts';
import {
  GatewayDouble,
  type GatewayDoubleOptions,
} from '../../src/drivers/serverless/openfaas/gateway-double.fixture.ts';
import { work } from '../../src/drivers/serverless/openfaas/queue-worker-double.fixture.ts';
import { ConnectorRegistry, type RegistryOptions } from '../../src/index.ts';
import { serverLogger, startServer } from '../../src/server/index.ts';

const REQUEST_ID = /^[0-9a-f-]{36}$/;

async function start(options: RegistryOptions = {}) {
  const lines: string[] = [];
  const logger = serverLogger({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const registry = await ConnectorRegistry.open({ egress: { allowPrivate: true }, ...options });
  const server = await startServer({ registry, port: 0, logger });
  const close = async () => {
    await server.close();
    await registry.close();
  };
  onTestFinished(close);
  const tenant = registry.forTenant('acme');
  const { key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' });
  const ask = async (what: string, init: RequestInit = {}) => {
    const [method = 'GET', path = '/'] = what.split(' ');
    const authorization = `Bearer ${key}`;
    return fetch(`${server.url}/api/v1${path}`, {
      method,
      ...init,
      headers: { authorization, ...init.headers },
    });
  };
  return { registry, server, tenant, lines, logger, key, ask, close };
}

async function gatewayDouble(options: Partial<GatewayDoubleOptions> = {}): Promise<GatewayDouble> {
  const gateway = await GatewayDouble.start({ functions: conformanceFunctions(), ...options });
  onTestFinished(async () => {
    await gateway.close();
    gateway.assertNoProblems();
  });
  return gateway;
}

type Config = Readonly<Record<string, unknown>>;

type Setting = {
  readonly config?: Config;
  readonly gateway?: Partial<GatewayDoubleOptions>;
  readonly registry?: RegistryOptions;
};

/** A server, a gateway and a connector to it. */
async function connected({ config = {}, gateway: given = {}, registry = {} }: Setting = {}) {
  const [started, gateway] = await Promise.all([start(registry), gatewayDouble(given)]);
  const make = (name: string) =>
    started.tenant.createServerlessConnector({
      name,
      provider: 'openfaas',
      config: { endpoint: gateway.url, maxRetries: 0, ...config },
    });
  return { ...started, gateway, make, connector: await make('functions') };
}

/** The same with one invocation that waits in the gateway's queue. */
async function queued({ name = 'echo', ...setting }: Setting & { readonly name?: string } = {}) {
  const made = await connected(setting);
  const { connector, gateway } = made;
  const { requestId } = await connector.invoke(name, { a: 1 }, { async: true });
  await expect.poll(() => gateway.queue.length).toBe(1);
  const url = gateway.queue[0]?.callbackUrl ?? '';
  const state = () => connector.getResult(requestId);
  // The row says that the gateway has it only after the gateway said so.
  await expect.poll(async () => (await state()).native).toEqual({ kind: 'queued call', id: requestId });
  return { ...made, requestId, url, state };
}

const ENDED = { 'x-function-status': '200', 'content-type': 'application/json' };

const report = (url: string, { body = '{"a":1}', headers = ENDED, ...init }: Report = {}) =>
  fetch(url, { method: 'POST', headers, body, ...init });
type Report = Omit<RequestInit, 'body' | 'headers'> & {
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream | null;
  readonly headers?: Readonly<Record<string, string>>;
};

describe('the end of a call in the queue of a platform', () => {
  it('reaches whoever waits for it over REST', async () => {
    const { ask, connector, gateway, lines } = await connected();
    const at = `/connectors/${connector.connectorId}`;
    const accepted = await ask(`POST ${at}/functions/echo/invocations`, {
      body: JSON.stringify({ payload: { of: 'REST' } }),
      headers: { 'content-type': 'application/json', prefer: 'respond-async' },
    });
    expect(accepted.status).toBe(202);
    const location = accepted.headers.get('location') ?? '';
    expect(location).toMatch(new RegExp(`^/api/v1${at}/invocations/[0-9a-f-]{36}$`));
    const ended = ask(`GET ${location.replace('/api/v1', '')}?wait=30`);
    await expect.poll(() => gateway.queue.length).toBe(1);
    const { pathname } = new URL(gateway.queue[0]?.callbackUrl ?? '');
    expect(await work(gateway)).toEqual([204]);
    const answer = (await (await ended).json()) as { request_id: string };
    expect(answer).toMatchObject({
      request_id: expect.stringMatching(REQUEST_ID),
      status: 'completed',
      result: { of: 'REST' },
      duration_ms: 12.5,
      native: { kind: 'queued call', id: answer.request_id },
    });
    const [sealed = ''] = pathname.split('/').slice(-1);
    expect(sealed.length).toBeGreaterThan(40);
    const logged = lines.join('');
    expect(logged).toContain('"route":"/callbacks/:connector_id/:sealed"');
    for (const secret of [sealed, sealed.slice(-24)]) expect(logged).not.toContain(secret);
  });

  it.each([
    ['fails', { status: 'failed', error: { name: 'TypeError', message: 'on purpose' } }],
    ['absent', { status: 'failed', error: { message: expect.stringMatching(/^answered 404/) } }],
  ])('is stored as it was, for %s', async (name, end) => {
    const { gateway, state } = await queued({
      name,
      // A gateway that does not let us ask queues what it does not have.
      gateway: { admits: () => 'not this' },
      config: { credentials: { api_key: 'key' } },
    });
    expect(await work(gateway)).toEqual([204]);
    expect(await state()).toMatchObject(end);
  });

  it('counts when it comes before the word that the call is in the queue', async () => {
    const held = Promise.withResolvers<void>();
    const { gateway, connector, close } = await connected({
      gateway: {
        instead: ({ route, headers, body }, response) => {
          if (!route.startsWith('POST /async-function/')) return undefined;
          gateway.queue.push({ path: 'echo', callbackUrl: String(headers['x-callback-url']), headers, body });
          void held.promise.then(() => response.writeHead(202).end());
          return true;
        },
      },
    });
    const { requestId } = await connector.invoke('echo', 'early', { async: true });
    await expect.poll(() => gateway.queue.length).toBe(1);
    expect(await work(gateway)).toEqual([204]);
    const early = await connector.getResult(requestId);
    expect(early).toMatchObject({ status: 'completed', result: 'early' });
    held.resolve();
    await close();
    expect(gateway.at('POST /function/')).toHaveLength(1);
  });

  it('counts after a restart, by the address from before', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'callbacks-'));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    const first = await queued({ registry: { dataDir } });
    await first.close();
    const second = await start({ dataDir });
    const url = new URL(first.url);
    url.port = new URL(second.server.url).port;
    expect((await report(url.href)).status).toBe(204);
    const again = await second.registry.forTenant('acme').serverless(first.connector.connectorId);
    expect(await again.getResult(first.requestId)).toMatchObject({ status: 'completed', result: { a: 1 } });
  });

  it.each<[string, Config, (of: Awaited<ReturnType<typeof queued>>) => Promise<unknown>]>([
    [
      'the platform cannot be reached by then',
      {},
      async ({ gateway, connector }) => {
        await connector.disconnect();
        await gateway.close();
      },
    ],
    [
      'the breaker is open by then',
      {},
      async ({ gateway, connector }) => {
        await gateway.close();
        for (let i = 0; i < 6; i++) await connector.listFunctions().catch(() => {});
      },
    ],
    [
      'the limit of the connector is used up',
      { rateLimitEnabled: true, rateLimitRequests: 1, rateLimitWindowSeconds: 3_600 },
      async () => {},
    ],
  ])('counts where %s', async (_why, config, spoil) => {
    const made = await queued({ config });
    await spoil(made);
    expect((await report(made.url)).status).toBe(204);
    expect(await made.state()).toMatchObject({ status: 'completed', result: { a: 1 } });
  });

  it('is for the invocation of the address, whatever id the platform tells', async () => {
    const { connector, gateway, requestId, url, state } = await queued();
    const other = await connector.invoke('echo', 2, { async: true });
    await expect.poll(() => gateway.queue.length).toBe(2);
    expect((await report(url, { headers: { ...ENDED, 'x-call-id': other.requestId } })).status).toBe(204);
    expect(await state()).toMatchObject({ requestId, status: 'completed' });
    expect(await connector.getResult(other.requestId)).toMatchObject({ status: 'running' });
  });
});

describe('after the end', () => {
  it('a repetition is taken and changes nothing', async () => {
    const { url, state, gateway } = await queued();
    expect(await work(gateway, 3)).toEqual([204, 204, 204]);
    const ended = await state();
    const late = await report(url, { body: '"other"', headers: { 'x-function-status': '500' } });
    expect([late.status, await late.text()]).toEqual([204, '']);
    // What says nothing is not read any more.
    expect((await report(url, { headers: {} })).status).toBe(204);
    expect(await state()).toEqual(ended);
  });

  it('by cancelling, what the platform says is taken and changes nothing', async () => {
    const { url, state, connector, requestId } = await queued();
    const ended = await connector.cancel(requestId);
    expect((await report(url)).status).toBe(204);
    expect(await state()).toEqual(ended);
  });

  it('of many repetitions at once, one counts', async () => {
    const { url, state } = await queued();
    const bodies = Array.from({ length: 20 }, (_, i) => String(i));
    const answers = await Promise.all(bodies.map((body) => report(url, { body })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
    const ended = await state();
    expect(ended).toMatchObject({ status: 'completed', result: expect.any(Number) });
    await report(url, { body: '"late"' });
    expect(await state()).toEqual(ended);
  });
});

describe('an address', () => {
  it('is answered in the same words whatever is wrong with it, and nothing changes', async () => {
    const { connector, make, url, state, server, registry, tenant, key, lines, logger } = await queued();
    const sealed = url.slice(url.lastIndexOf('/') + 1);
    const at = (id: string, token = sealed) => `/callbacks/${id}/${token}`;
    const second = await make('second');
    const theirs = await registry
      .forTenant('other')
      .createServerlessConnector({ name: 'functions', provider: 'openfaas', config: connector.config });
    const files = await tenant.createFileConnector({ name: 'notes' });
    await files.writeFile('a', 'content');
    const file = new URL((await files.presign('a')).url).pathname.split('/').at(-1);
    const gone = await make('gone');
    const { requestId: lost } = await gone.invoke('echo', 1, { async: true });
    expect(lost).toMatch(REQUEST_ID);
    await tenant.delete(gone.connectorId);
    const flipped = [...sealed].map((letter, i) =>
      letter === '.' ? undefined : sealed.slice(0, i) + (letter === 'A' ? 'B' : 'A') + sealed.slice(i + 1),
    );
    const wrong = [
      ...[second, theirs, files, gone].map(({ connectorId }) => at(connectorId)),
      ...[at('nobody'), at(encodeURIComponent('../x')), at('%00'), at(files.connectorId, file)],
      ...flipped.filter((token) => token !== undefined).map((token) => at(connector.connectorId, token)),
      ...['x', 'v1.x', sealed.slice(0, -1), `${sealed}A`, key, 'a'.repeat(8_000)].map((token) =>
        at(connector.connectorId, token),
      ),
    ];
    const said = new Set<string>();
    // Each server has whoever fails twenty times wait.
    for (let first = 0; first < wrong.length; first += 20) {
      const another = await startServer({ registry, port: 0, logger });
      for (const path of wrong.slice(first, first + 20)) {
        const answer = await report(`${another.url}${path}`);
        expect([answer.status, path]).toEqual([403, path]);
        said.add(await answer.text());
      }
      await another.close();
    }
    expect([...said]).toHaveLength(1);
    // Nor is a file read with it.
    expect((await fetch(`${server.url}/signed/${files.connectorId}/${sealed}`)).status).toBe(403);
    expect(await state()).toMatchObject({ status: 'running' });
    expect(lines.join('')).not.toContain(sealed.slice(-24));
    expect((await report(url)).status).toBe(204);
    expect(await state()).toMatchObject({ status: 'completed' });
  });

  it('of a connector that was deleted is not valid, though a new one has its name', async () => {
    const { url, connector, make, tenant } = await queued();
    await tenant.delete(connector.connectorId);
    await make('functions');
    expect((await report(url)).status).toBe(403);
  });

  it('needs no API key, and none takes its place', async () => {
    const { url, key, registry, state } = await queued();
    const { key: root } = await registry.keys.create({ tenantId: null, role: 'admin' });
    const forged = url.replace(/[^/]+$/, 'v1.forged');
    for (const authorization of [`Bearer ${key}`, `Bearer ${root}`, 'Basic eDp5', 'Bearer'])
      expect((await report(forged, { headers: { ...ENDED, authorization } })).status).toBe(403);
    expect(await state()).toMatchObject({ status: 'running' });
    expect((await report(url, { headers: { ...ENDED, authorization: 'Bearer wrong' } })).status).toBe(204);
    expect(await state()).toMatchObject({ status: 'completed' });
  });

  it.each(['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])(
    'is not for %s',
    async (method) => {
      const { url, state } = await queued();
      expect((await fetch(url, { method, headers: ENDED })).status).toBe(404);
      expect(await state()).toMatchObject({ status: 'running' });
    },
  );

  it('takes no query, no more path and no less for its own', async () => {
    const { url, state, server } = await queued();
    for (const other of [`${url}/more`, url.slice(0, url.lastIndexOf('/')), `${server.url}/callbacks`])
      expect((await report(other)).status).toBe(404);
    expect(await state()).toMatchObject({ status: 'running' });
  });
});

describe('what is posted', () => {
  it.each([
    ['no body', null, null],
    ['an empty body', '', null],
    ['a body of no type', 'plain words', 'plain words'],
  ])('may be %s', async (_what, body, result) => {
    const { url, state } = await queued();
    const headers = { 'x-function-status': '200', 'content-type': '' };
    const posted = request(url, { method: 'POST', headers });
    posted.removeHeader('content-type');
    posted.end(body ?? undefined);
    const status = await new Promise((resolve, reject) => {
      posted.once('response', (answer) => resolve(answer.resume().statusCode));
      posted.once('error', reject);
    });
    expect(status).toBe(204);
    expect(await state()).toMatchObject({ status: 'completed', result });
  });

  it.each([
    ['no status', {}],
    ['an empty status', { 'x-function-status': '' }],
    ['a status that is none', { 'x-function-status': 'ok' }],
    ['two of them', { 'x-function-status': '200, 500' }],
  ])('is refused with %s, and the call goes on', async (_what, headers) => {
    const { url, state } = await queued();
    const answer = await report(url, { headers });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'headers.x-function-status' }],
    });
    expect(await state()).toMatchObject({ status: 'running' });
    expect((await report(url)).status).toBe(204);
    expect(await state()).toMatchObject({ status: 'completed' });
  });

  it.each([
    'application/json; charset',
    ';;;',
    'nonsense',
    'text/plain; charset=latin1',
    'multipart/form-data',
  ])('may be of the type %s', async (type) => {
    const { url, state } = await queued();
    expect((await report(url, { headers: { ...ENDED, 'content-type': type } })).status).toBe(204);
    expect(await state()).toMatchObject({ status: 'completed' });
  });

  it.each([
    ['no JSON, though it says so,', '{"a":', { status: 'completed', result: '{"a":' }],
    ['no text', Uint8Array.of(0xff), { status: 'failed', error: { name: 'ResultError' } }],
    ['deeper than JSON may be', '['.repeat(200) + ']'.repeat(200), { status: 'failed' }],
    ['a key that is none', '{"__proto__":1}', { status: 'failed', error: { name: 'ResultError' } }],
  ])('that is %s ends the invocation all the same', async (_what, body, end) => {
    const { url, state } = await queued();
    expect((await report(url, { body })).status).toBe(204);
    expect(await state()).toMatchObject(end);
  });

  it('fails the invocation where it is more than a result may be', async () => {
    const { url, state } = await queued();
    expect((await report(url, { body: `"${'x'.repeat(7 * 2 ** 20)}"` })).status).toBe(204);
    const ended = await state();
    expect(ended).toMatchObject({ status: 'failed', error: { name: 'payload_too_large' } });
    expect(ended).not.toHaveProperty('result');
  });

  it.each(['at once', 'in chunks'])('is refused beyond 16 MiB, sent %s', async (how) => {
    const { url, state } = await queued();
    const big = new Uint8Array(17 * 2 ** 20).fill(0x20);
    const body = how === 'at once' ? big : new Blob([big]).stream();
    const answer = await report(url, { body, duplex: 'half' });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([
      413,
      'payload_too_large',
    ]);
    expect(await state()).toMatchObject({ status: 'running' });
  });

  it('is not taken where it breaks off', async () => {
    const { url, state, server } = await queued();
    const broken = request(url, { method: 'POST', headers: { ...ENDED, 'content-length': '100' } });
    broken.on('error', () => {});
    broken.write('{"a":');
    await new Promise((resolve) => broken.once('socket', (socket) => socket.once('connect', resolve)));
    broken.destroy();
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    expect(await state()).toMatchObject({ status: 'running' });
  });
});
