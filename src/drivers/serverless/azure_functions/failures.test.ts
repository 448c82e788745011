import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { Log, OpenContext } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { faultProxy } from '../../../testing/fault-proxy.fixture.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { functionsHost, type Reply } from './functions-host-wire.fixture.ts';
import driver from './index.ts';
import { failureOf, invocation, openedFunctions } from './open-functions.fixture.ts';

const host = await functionsHost({
  functions: { echo: (payload) => ({ body: payload }), endless: () => undefined },
});
const own = { endpoint: host.url, function_key: host.hostKey };
const opened = openedFunctions();
afterEach(async () => {
  vi.unstubAllEnvs();
  await opened.close();
  host.assertKept();
});
afterAll(() => host.close());

const open = (options: object = {}, context: Partial<OpenContext> = {}) =>
  opened.open({ ...own, ...options }, context);

/** A server whose home page is there and whose functions answer as they are told. */
async function answering(listener: RequestListener): Promise<{ readonly endpoint: string }> {
  const server = createServer((request, response) =>
    request.url === '/' ? response.end() : listener(request, response),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.keep({
    async close() {
      server.closeAllConnections();
      server.close();
    },
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return { endpoint: `http://127.0.0.1:${port}` };
}

describe('options', () => {
  const valid = (options: object) =>
    driver.options.safeParse({ endpoint: 'https://app.example', ...options });
  const principal = { tenant_id: 't', client_id: 'c', client_secret: 's' };
  const app = {
    subscription_id: '11111111-2222-4333-8444-555555555555',
    resource_group: 'rg',
    app_name: 'app',
  };

  it('take a key, a principal, or an app to list', () => {
    for (const one of [
      {},
      { function_key: 'k' },
      { ...principal, audience: 'api://x' },
      { ...app, ...principal },
    ])
      expect(valid(one).success).toBe(true);
  });

  it('refuse halves, mixtures, and tokens in clear', () => {
    for (const name of Object.keys(principal))
      expect(valid({ ...principal, [name]: undefined }).error?.issues).toMatchObject([{ path: [name] }]);
    for (const name of Object.keys(app))
      expect(valid({ ...app, [name]: undefined }).error?.issues).toMatchObject([{ path: [name] }]);
    const bad = [
      [{ ...principal, identity_client_id: 'x' }, 'identity_client_id'],
      [{ endpoint: 'HTTP://app.example', audience: 'api://x' }, 'endpoint'],
      [{ orchestrators: ['a'], starters: ['a'] }, 'starters'],
      [{ management_endpoint: 'http://management.example' }, 'management_endpoint'],
      [{ authority_host: 'http://authority.example' }, 'authority_host'],
    ] as const;
    for (const [options, path] of bad) expect(valid(options).error?.issues).toMatchObject([{ path: [path] }]);
  });

  it('refuse what would be another address', () => {
    for (const endpoint of ['http://u:p@h/', 'https://h/?code=1', 'https://h/#x', 'ftp://h/'])
      expect(valid({ endpoint }).error?.issues).toMatchObject([{ path: ['endpoint'] }]);
    for (const route_prefix of ['/api', 'api/', 'a//b', '..', 'a?b', 'a/../b'])
      expect(valid({ route_prefix }).error?.issues).toMatchObject([{ path: ['route_prefix'] }]);
    for (const app_name of ['', 'a/b', '..', 'a.b']) expect(valid({ ...app, app_name }).success).toBe(false);
    for (const resource_group of ['', 'a/b', '..', 'x'.repeat(91)])
      expect(valid({ ...app, resource_group }).success).toBe(false);
    for (const name of ['../x', 'a/b', 'a.b']) expect(valid({ orchestrators: [name] }).success).toBe(false);
  });
});

describe('opening', () => {
  it('shows each stage', async () => {
    const stages: string[] = [];
    await open({}, { stage: (name, step) => (stages.push(name), step()) });
    expect(stages).toEqual(['address', 'connect', 'credentials']);
  });

  it('fails by kind where there is no such server', async () => {
    const closed = await closedPort();
    expect(await failureOf(open({ endpoint: closed.url }))).toMatchObject({ code: 'unavailable' });
    const noise = opened.keep(await garbage());
    expect(await failureOf(open({ endpoint: noise.url }))).toMatchObject({ code: 'backend_error' });
    const cases = [
      [401, 'auth_failed'],
      [403, 'permission_denied'],
      [500, 'backend_error'],
      [502, 'unavailable'],
      [503, 'unavailable'],
    ] as const;
    for (const [status, code] of cases) {
      const server = opened.keep(await statusServer(status));
      expect(await failureOf(open({ endpoint: server.url }))).toMatchObject({ code });
    }
  });

  it('says that an app leads elsewhere, and does not go there', async () => {
    const elsewhere = opened.keep(await statusServer(200));
    const leading = opened.keep(await statusServer(302, '', { location: elsewhere.url }));
    const client = await open({ endpoint: leading.url });
    expect(await client.check(NEVER)).toContainEqual({
      level: 'warn',
      message: 'the app leads elsewhere (302), which is not followed: it may want a login',
    });
    expect(await failureOf(client.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      code: 'backend_error',
      message: 'function echo answered a redirect (302)',
    });
    expect(elsewhere.connections()).toBe(0);
  });

  it('ends with its signal where nobody answers, and lets go of the connection', async () => {
    const silent = opened.keep(await blackHole());
    const ending = new AbortController();
    const opening = failureOf(open({ endpoint: silent.url }, { signal: ending.signal }));
    await silent.connected();
    ending.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    await silent.idle();
  });

  it('trusts a certificate of its own only where it was given', async () => {
    const secure = opened.keep(await selfSigned());
    expect(await failureOf(open({ endpoint: secure.url }))).toMatchObject({
      ...{ code: 'unavailable', message: expect.stringContaining('TLS') },
    });
    const client = await open({ endpoint: secure.url, ca: secure.certificate });
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ status: 'completed' });
  });

  it('reaches no address that the operator does not allow', async () => {
    const before = host.requests.length;
    const guarded = network(egressPolicy({ allowPrivate: false }));
    expect(await failureOf(open({}, { network: guarded }))).toMatchObject({ code: 'egress_denied' });
    expect(host.requests.length).toBe(before);
  });
});

describe('an answer', () => {
  const platform: readonly (readonly [Reply, object])[] = [
    [{ status: 401 }, { code: 'auth_failed' }],
    [{ status: 403, body: 'This web app is stopped.' }, { code: 'permission_denied' }],
    [{ status: 404 }, { code: 'not_found' }],
    [{ status: 408 }, { code: 'timeout' }],
    [{ status: 413 }, { code: 'payload_too_large' }],
    [
      { status: 429, headers: { 'retry-after': '11' } },
      { code: 'rate_limited', retryAfterMs: 11_000 },
    ],
    [{ status: 502 }, { code: 'unavailable' }],
    [
      { status: 503, headers: { 'retry-after': '4' } },
      { code: 'unavailable', retryAfterMs: 4_000 },
    ],
    [{ status: 504 }, { code: 'timeout' }],
    [{ status: 307, headers: { location: '/api/other' } }, { code: 'backend_error' }],
  ];
  it.each(platform)('%j is the platform’s, in one request', async (reply, expected) => {
    const client = await open();
    const before = host.requests.length;
    host.answerNext(reply);
    expect(await failureOf(client.invoke('echo', 1, invocation(), NEVER))).toMatchObject(expected);
    expect(host.requests.length - before).toBe(1);
  });

  const text = { 'content-type': 'text/plain' };
  const functions: readonly (readonly [Reply, object])[] = [
    [
      { status: 400, body: { error: { message: 'no such order' } } },
      { name: 'Error', message: 'no such order' },
    ],
    [
      { status: 409, headers: text, body: 'busy' },
      { name: 'HttpError', message: 'answered 409: busy' },
    ],
    [
      { status: 422, body: { message: 'no' } },
      { name: 'Error', message: 'no' },
    ],
    [{ status: 500 }, { name: 'HttpError', message: 'answered 500' }],
    [
      { status: 501, body: { name: 'E', message: 'm', stack: 's' } },
      { name: 'E', message: 'm', stack: 's' },
    ],
  ];
  it.each(functions)('%j is the function’s own failure', async (reply, error) => {
    const client = await open();
    host.answerNext(reply);
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toEqual({ status: 'failed', error });
  });

  it('that is no JSON or no text is the function’s failure as well', async () => {
    const cut = await answering((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"result": ['),
    );
    const client = await open(cut);
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({
      ...{ status: 'failed', error: { name: 'ResultError' } },
    });
    const odd = await open({ endpoint: opened.keep(await nonsense()).url });
    const ends = [];
    for (let i = 0; i < 4; i += 1) ends.push((await odd.invoke('echo', 1, invocation(), NEVER)).status);
    expect(ends.toSorted()).toEqual(['completed', 'completed', 'completed', 'failed']);
  });

  it('of no end is given up at the limit, and as a failure is read no further than it tells', async () => {
    const endless = (status: number) =>
      answering((_request, response) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        const chunk = Buffer.alloc(65_536, 'x');
        const more = (): void => {
          while (response.write(chunk));
          response.once('drain', more);
        };
        more();
      });
    const large = await open(await endless(200));
    expect(await failureOf(large.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      ...{ code: 'payload_too_large', details: { maxBytes: 16 * 2 ** 20 } },
    });
    const failing = await open(await endless(503));
    expect(await failureOf(failing.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      code: 'unavailable',
    });
  });
});

describe('a connection', () => {
  it('that is refused says that nothing was sent', async () => {
    const other = await functionsHost();
    const client = await open({ endpoint: other.url });
    await other.close();
    expect(await failureOf(client.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      code: 'unavailable',
    });
    // The second one meets no connection that was there before.
    expect(await failureOf(client.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      ...{ code: 'unavailable', details: { sent: false } },
    });
  });

  it.each(['resetAfter', 'endAfter'] as const)(
    'that is cut in the answer (%s) is unavailable',
    async (kind) => {
      const proxy = opened.keep(await faultProxy(host));
      const client = await open({ endpoint: `http://${proxy.host}:${proxy.port}` });
      for (const bytes of [0, 40, 250]) {
        proxy.meet({ kind, bytes });
        const failure = await failureOf(client.invoke('echo', 'x'.repeat(1000), invocation(), NEVER));
        expect(failure).toMatchObject({ code: 'unavailable' });
        expect(failure).not.toMatchObject({ details: { sent: false } });
      }
    },
  );

  it('that nobody answers ends at the function’s time', async () => {
    const clock = testClock();
    const proxy = opened.keep(await faultProxy(host));
    const client = await open({ endpoint: `http://${proxy.host}:${proxy.port}` }, { clock });
    proxy.meet({ kind: 'stallAfter', bytes: 0 });
    const late = failureOf(client.invoke('echo', 1, invocation(2_000), NEVER));
    await clock.advance(2_000);
    expect(await late).toMatchObject({ code: 'timeout', message: 'function echo ran longer than 2 s' });
    await proxy.idle();
    expect(clock.pendingTimers).toBe(0);
  });

  it('is closed for a caller who gives up', async () => {
    const other = await functionsHost({ functions: { endless: () => undefined } });
    const client = await open({ endpoint: other.url, function_key: other.hostKey });
    const caller = new AbortController();
    const left = failureOf(client.invoke('endless', null, invocation(), caller.signal));
    await other.asked();
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    await other.abandoned();
    await client.close();
    await other.close();
  });
});

describe('secrets', () => {
  const KEY = 'canary-key-41b7';
  const SYSTEM = 'canary-system-0e93';
  it('are in no error, note or log, even where the app repeats them', async () => {
    const said: unknown[] = [];
    const write = (...words: unknown[]): void => void said.push(words);
    const log: Log = { debug: write, info: write, warn: write, error: write };
    let status = 404;
    const repeating = await answering((request, response) => {
      const words = {
        message: `not with ${String(request.headers['x-functions-key'])}`,
        headers: request.headers,
      };
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(words));
    });
    const options = { ...repeating, function_key: KEY, durable_key: SYSTEM, orchestrators: ['flow'] };
    const client = await open(options, { log });
    said.push(await client.check(NEVER));
    for (status of [400, 401, 403, 404, 429, 500, 503]) {
      said.push(await failureOf(client.start?.('flow', 1, invocation(), NEVER)));
      said.push(await failureOf(client.follow?.('flow', { kind: 'x', id: 'x' }, NEVER)));
      const ended = client.invoke('echo', 1, invocation(), NEVER);
      said.push(await ended.catch((error: unknown) => error));
    }
    const text = inspect(said, { depth: 12, showHidden: true });
    expect(text).toContain('not with ***');
    expect(text).not.toContain(KEY);
    expect(text).not.toContain(SYSTEM);
  });

  it('that no header can hold are refused, and not repeated', async () => {
    const client = await open({ function_key: 'two\nlines-77' });
    const failure = await failureOf(client.invoke('echo', 1, invocation(), NEVER));
    expect(failure).toMatchObject({ code: 'invalid_argument' });
    expect(inspect(failure, { depth: 12, showHidden: true })).not.toContain('lines-77');
  });
});
