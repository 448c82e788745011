import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { FetcherOptions } from '../../../driver.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { testClock } from '../../../testing/clock.ts';
import { faultProxy } from '../../../testing/fault-proxy.fixture.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { clientTo, failureOf, INVOCATION, Opened, SECRET } from './clients.fixture.ts';
import { watched } from './functions-double.fixture.ts';
import type { GatewayDouble } from './gateway-double.fixture.ts';

const basic = `Basic ${Buffer.from(`admin:${SECRET}`).toString('base64')}`;
const admits = (authorization: string | undefined) => (authorization === basic ? 'yes' : 'no');
const NATIVE = { ...INVOCATION, callbackUrl: 'https://registry.example/callbacks/1?signature=worthless' };

const opened = new Opened();
afterEach(() => opened.close());

/** A gateway that answers each call so, itself. */
async function answering(
  status: number,
  body = '',
  headers: Readonly<Record<string, string>> = {},
): Promise<Awaited<ReturnType<Opened['both']>>> {
  return opened.both(
    {
      instead: ({ route }, response) => {
        if (!/function\/[^/]+$/.test(route) || route.startsWith('GET')) return undefined;
        response.writeHead(status, headers).end(body);
        return true;
      },
    },
    { password: SECRET },
  );
}

describe('a call that fails with', () => {
  const passedOn = { 'x-start-time': '1764324000000000000' };
  const internal = (part: string) => ({ ...passedOn, 'x-openfaas-internal': part });
  it.each([
    ['401 of the watchdog', 401, passedOn, `invalid JWT token: ${SECRET}`, 'auth_failed'],
    ['403 of what stands before it', 403, {}, '<html>no</html>', 'auth_failed'],
    ['404 of the gateway', 404, {}, 'error finding function echo.openfaas-fn: not found', 'not_found'],
    ['413 of what stands before it', 413, {}, '', 'payload_too_large'],
    [
      '429 of the watchdog',
      429,
      internal('faas-middleware'),
      'Concurrent request limit exceeded',
      'rate_limited',
    ],
    ['500 of the gateway', 500, {}, 'error finding function echo: no route to host', 'unavailable'],
    ['500 of the provider', 500, internal('proxy'), "Can't reach service for: echo.", 'unavailable'],
    ['502 of the gateway', 502, passedOn, '', 'unavailable'],
    ['503 of a proxy', 503, {}, '<html>', 'unavailable'],
    ['504 of the watchdog', 504, { ...internal('of-watchdog'), 'x-duration-seconds': '10.0' }, '', 'timeout'],
    ['504 of an old watchdog', 504, { ...passedOn, 'x-duration-seconds': '10.0' }, '', 'timeout'],
    ['408 of the watchdog', 408, passedOn, '', 'timeout'],
    ['400 of a proxy', 400, {}, '<html>Request Header Or Cookie Too Large</html>', 'backend_error'],
  ])('%s has its code', async (_what, status, headers, body, code) => {
    const { client, gateway } = await answering(status, body, headers);
    const before = gateway.at('POST').length;
    const failure = await failureOf(client.invoke('echo', null, INVOCATION, NEVER));
    expect(failure).toMatchObject({ name: 'ConnectorError', code });
    expect(gateway.at('POST').length - before).toBe(1);
    expect(failure).toMatchObject({ message: expect.not.stringMatching(/[<\n]/) });
  });

  it('a redirect is not followed', async () => {
    const elsewhere = await opened.gateway();
    const { client } = await answering(307, '', { location: `${elsewhere.url}/function/echo` });
    const failure = await failureOf(client.invoke('echo', null, INVOCATION, NEVER));
    expect(failure).toMatchObject({
      code: 'backend_error',
      message: 'function echo answered a redirect (307)',
    });
    expect(elsewhere.seen).toEqual([]);
  });

  it('429 and a time has the time', async () => {
    const fn = watched(() => ({ status: 429, headers: { 'retry-after': '7' }, body: 'busy' }));
    const { client } = await opened.both({ functions: { fn } });
    const failure = await failureOf(client.invoke('fn', null, INVOCATION, NEVER));
    expect(failure).toMatchObject({ code: 'rate_limited', retryAfterMs: 7000 });
  });

  it('nothing, when the gateway waited in vain for a replica, is no success', async () => {
    const { client } = await answering(200);
    const failure = await failureOf(client.invoke('echo', null, INVOCATION, NEVER));
    expect(failure).toMatchObject({ code: 'timeout', details: { sent: false } });
  });

  it('no endpoint is not_found where the provider knows no such function, and unavailable elsewhere', async () => {
    const { client, gateway } = await opened.both({ scaleFromZero: false });
    const absent = await failureOf(client.invoke('absent', null, INVOCATION, NEVER));
    expect(absent).toMatchObject({ code: 'not_found' });
    expect(gateway.at('GET /system/function/')).toMatchObject([{ route: 'GET /system/function/absent' }]);
    const { client: closed } = await answering(503, 'No endpoints available for: echo.', internal('proxy'));
    const none = await failureOf(closed.invoke('echo', null, INVOCATION, NEVER));
    expect(none).toMatchObject({ code: 'unavailable', details: { sent: false } });
    const { client: blind } = await opened.both({ scaleFromZero: false, admits });
    const unknown = await failureOf(blind.invoke('absent', null, INVOCATION, NEVER));
    expect(unknown).toMatchObject({ code: 'unavailable', details: { sent: false } });
  });
});

describe('the API of the gateway that answers', () => {
  it.each([
    [401, 'auth_failed'],
    [403, 'permission_denied'],
    [404, 'not_found'],
    [429, 'rate_limited'],
    [500, 'unavailable'],
    [503, 'unavailable'],
    [504, 'timeout'],
    [418, 'backend_error'],
  ])('%i fails with %s', async (status, code) => {
    let isOpen = true;
    const { client } = await opened.both(
      {
        instead: (_seen, response) => {
          if (isOpen) return undefined;
          response.writeHead(status, { 'retry-after': '2' }).end(`what of ${SECRET}?`);
          return true;
        },
      },
      { password: SECRET },
    );
    isOpen = false;
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({
      code,
      message: expect.stringContaining('what of ***?'),
      retryAfterMs: 2000,
    });
    expect(await failureOf(client.logs?.('echo', 1, NEVER) ?? Promise.resolve())).toMatchObject({ code });
  });

  it('what is no listing is backend_error', async () => {
    const server = await nonsense();
    opened.closeLater(() => server.close());
    for (let turn = 0; turn < 4; turn += 1)
      expect(await failureOf(clientTo(server.url))).toMatchObject({ code: 'backend_error' });
    const noise = await garbage();
    opened.closeLater(() => noise.close());
    expect(await failureOf(clientTo(noise.url))).toMatchObject({ name: 'ConnectorError' });
  });
});

describe('a gateway that cannot be reached', () => {
  it('is told from one with other credentials, stage by stage', async () => {
    const stages: string[] = [];
    const stage = async <T>(name: string, step: () => Promise<T>): Promise<T> => {
      stages.push(name);
      return step();
    };
    const closed = await closedPort();
    const refused = await failureOf(clientTo(closed.url, { password: SECRET }, { stage }));
    expect(refused).toMatchObject({ code: 'unavailable', details: { sent: false } });
    expect(stages).toEqual(['address', 'connect']);
    const gateway = await opened.gateway({ admits });
    const wrong = await failureOf(clientTo(gateway.url, { password: `${SECRET}-not` }, { stage }));
    expect(wrong).toMatchObject({ code: 'auth_failed' });
    expect(stages).toEqual(['address', 'connect', 'address', 'connect', 'credentials']);
  });

  it('has its connections closed where it was not opened', async () => {
    const gateway = await opened.gateway({ admits });
    const real = network(egressPolicy({ allowPrivate: true }));
    let open = 0;
    const counting = {
      ...real,
      fetcher: (options: FetcherOptions) => {
        const fetcher = real.fetcher(options);
        open += 1;
        return { ...fetcher, close: () => ((open -= 1), fetcher.close()) };
      },
    };
    await failureOf(clientTo(gateway.url, { password: `${SECRET}-not` }, { network: counting }));
    expect(open).toBe(0);
    const client = await clientTo(gateway.url, { password: SECRET }, { network: counting });
    expect(open).toBe(1);
    await client.close();
    expect(open).toBe(0);
  });

  it('is refused while its certificate is not trusted', async () => {
    const certificate = selfSignedCertificate();
    const gateway = await opened.gateway({ certificate });
    const failure = await failureOf(clientTo(gateway.url, { password: SECRET }));
    expect(failure).toMatchObject({ code: 'unavailable', message: expect.stringContaining('TLS') });
    expect(gateway.seen).toEqual([]);
    const client = await opened.client(gateway.url, { password: SECRET, ca: certificate.cert });
    expect(await client.check(NEVER)).toEqual([]);
  });

  it('at a private address is egress_denied for a tenant', async () => {
    const gateway = await opened.gateway();
    const guarded = { network: network(egressPolicy({ allowPrivate: false })) };
    const failure = await failureOf(clientTo(gateway.url, { password: SECRET }, guarded));
    expect(failure).toMatchObject({ code: 'egress_denied' });
    expect(gateway.seen).toEqual([]);
  });
});

describe('a call whose connection', () => {
  async function behindProxy(gateway: GatewayDouble) {
    const proxy = await faultProxy({ host: '127.0.0.1', port: gateway.port });
    opened.closeLater(() => proxy.close());
    return { proxy, client: await opened.client(`http://127.0.0.1:${proxy.port}`) };
  }

  it.each([
    ['is cut before the answer', { kind: 'resetAfter', bytes: 0 }],
    ['is cut in the middle of it', { kind: 'resetAfter', bytes: 300 }],
    ['ends in the middle of it', { kind: 'endAfter', bytes: 300 }],
  ] as const)('%s is unavailable, and may have been made', async (_what, fault) => {
    const { proxy, client } = await behindProxy(await opened.gateway());
    proxy.meet(fault);
    const failure = await failureOf(client.invoke('large', 100_000, INVOCATION, NEVER));
    expect(failure).toMatchObject({ code: 'unavailable' });
    expect(failure).not.toMatchObject({ details: { sent: false } });
  });

  it('says nothing ends when the time of the function is over', async () => {
    const { proxy } = await behindProxy(await opened.gateway());
    const clock = testClock();
    const client = await opened.client(`http://127.0.0.1:${proxy.port}`, {}, { clock });
    proxy.meet({ kind: 'swallowAfter', bytes: 0 });
    const call = failureOf(client.invoke('echo', null, { ...INVOCATION, timeoutMs: 5_000 }, NEVER));
    await clock.advance(5_000);
    expect(await call).toMatchObject({ code: 'timeout', details: { timeoutMs: 5_000 } });
    await proxy.idle();
    expect(clock.pendingTimers).toBe(0);
  });

  it('is left by a caller who gives up is closed', async () => {
    const { client, gateway } = await opened.both();
    const caller = new AbortController();
    const asked = gateway.asked();
    const left = gateway.left();
    const call = failureOf(client.invoke('endless', null, INVOCATION, caller.signal));
    await asked;
    caller.abort();
    expect(await call).toMatchObject({ code: 'cancelled' });
    await left;
  });

  it('is still being opened ends with the attempt to open', async () => {
    const hole = await blackHole();
    opened.closeLater(() => hole.close());
    const attempt = new AbortController();
    const opening = failureOf(clientTo(hole.url, {}, { signal: attempt.signal }));
    await hole.connected();
    attempt.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    await hole.idle();
  });
});

describe('a result over the limit', () => {
  it('is not read to its end', async () => {
    const { promise: hungUp, resolve } = Promise.withResolvers<void>();
    const { client } = await opened.both({
      instead: ({ route }, response) => {
        if (!route.startsWith('POST')) return undefined;
        response.writeHead(200, { 'content-type': 'text/plain', 'x-start-time': '1' });
        response.once('close', resolve);
        const more = (): void => {
          while (response.write(Buffer.alloc(2 ** 16, 'x')));
          response.once('drain', more);
        };
        more();
        return true;
      },
    });
    const failure = await failureOf(client.invoke('echo', null, INVOCATION, NEVER));
    expect(failure).toMatchObject({ code: 'payload_too_large' });
    await hungUp;
  });

  it('of a failure leaves the failure', async () => {
    const fn = watched(() => ({ status: 500, body: 'x'.repeat(2 * 2 ** 20) }));
    const { client } = await opened.both({ functions: { fn } });
    expect(await client.invoke('fn', null, INVOCATION, NEVER)).toMatchObject({
      status: 'failed',
      error: { message: 'answered 500' },
    });
  });
});

describe('a call for the queue that fails with', () => {
  it.each([
    [400, 'backend_error', 'parse "x": invalid URI'],
    [401, 'auth_failed', ''],
    [403, 'permission_denied', ''],
    [429, 'rate_limited', ''],
    [500, 'unavailable', `nats: no servers available for ${NATIVE.callbackUrl}`],
    [502, 'unavailable', ''],
    [504, 'timeout', ''],
    [200, 'backend_error', ''],
  ])('%i has its code', async (status, code, body) => {
    const { client } = await answering(status, body);
    const failure = await failureOf(client.start?.('echo', null, NATIVE, NEVER) ?? Promise.resolve());
    expect(failure).toMatchObject({ code });
  });
});

it('answers every operation with an error of ours where a server says the same to everything', async () => {
  const server = createServer((request, response) => {
    request.resume();
    if (request.url === '/system/info') response.end('{"provider":{},"version":{},"arch":"x"}');
    else response.writeHead(503, { 'retry-after': '3' }).end(SECRET);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.closeLater(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  const client = await opened.client(`http://127.0.0.1:${port}`, { password: SECRET });
  const attempts = [
    client.invoke('echo', null, INVOCATION, NEVER),
    client.start?.('echo', null, NATIVE, NEVER) ?? Promise.resolve(),
    client.listFunctions(NEVER),
    client.logs?.('echo', 1, NEVER) ?? Promise.resolve(),
  ];
  for (const failure of await Promise.all(attempts.map(failureOf)))
    expect(failure).toMatchObject({ code: 'unavailable', retryAfterMs: 3000 });
  const busy = await statusServer(429, SECRET, { 'retry-after': '9' });
  opened.closeLater(() => busy.close());
  const opening = await failureOf(clientTo(busy.url, { password: SECRET }));
  expect(opening).toMatchObject({ code: 'rate_limited', retryAfterMs: 9000 });
});
