import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { testClock } from '../../../testing/clock.ts';
import { faultProxy } from '../../../testing/fault-proxy.fixture.ts';
import {
  blackHole,
  closedPort,
  garbage,
  selfSigned,
  statusServer,
} from '../../../testing/faulty-servers.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import { ConnectorRegistry } from '../../../registry/registry.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { MAX_BYTES } from './client.ts';
import { call, opened, startFunctions, TABLE, type FunctionServer, type Guard } from './functions.fixture.ts';
import driver from './index.ts';

let server: FunctionServer;
let guard: Guard = () => false;
beforeAll(async () => void (server = await startFunctions({ guard: (...given) => guard(...given) })));
afterAll(() => server.close());
beforeEach(() => {
  guard = () => false;
  server.seen.length = 0;
});

/** A client of the one function of the server, which answers what it is told. */
async function answering(
  status: number,
  body: string | Buffer = '',
  headers: Record<string, string> = { 'content-type': 'application/json' },
) {
  guard = (_seen, response) => response.writeHead(status, headers).end(body);
  const client = await opened({ endpoint: server.url }, { clock: testClock() });
  return { client, [Symbol.asyncDispose]: () => client.close() };
}
const told = JSON.stringify({ name: 'RangeError', message: 'too far', stack: 'at x' });

describe('what an answer means', () => {
  it.each([
    ['JSON', 200, '{"a":[1]}', 'application/json; charset=utf-8', { a: [1] }],
    ['JSON of a kind', 201, '1', 'application/problem+json', 1],
    ['text', 200, 'fine', 'text/plain', 'fine'],
    ['nothing', 204, '', '', null],
  ])('a success with %s is a result', async (_what, status, body, type, result) => {
    await using one = await answering(status, body, { 'content-type': type });
    expect(await call(one.client)).toEqual({ status: 'completed', result });
  });

  it.each([
    ['an error', 500, told, { name: 'RangeError', message: 'too far', stack: 'at x' }],
    ['a refusal of the payload', 422, '{"error":{"message":"no"}}', { name: 'Error', message: 'no' }],
    ['a page', 500, '<h1>Oh</h1>', { name: 'HttpError', message: 'answered 500: <h1>Oh</h1>' }],
    ['nothing', 400, '', { name: 'HttpError', message: 'answered 400' }],
    [
      'JSON that is cut',
      200,
      '{"a":',
      { name: 'ResultError', message: 'answered 5 bytes that are not JSON' },
    ],
    [
      'bytes',
      200,
      Buffer.from([0xff, 0xfe]),
      { name: 'ResultError', message: 'answered 2 bytes that are not JSON' },
    ],
  ])('%s is a failure of the function', async (_what, status, body, error) => {
    await using one = await answering(status, body);
    expect(await call(one.client)).toEqual({ status: 'failed', error });
  });

  it.each([
    [401, 'auth_failed'],
    [403, 'auth_failed'],
    [404, 'not_found'],
    [408, 'timeout'],
    [413, 'payload_too_large'],
    [429, 'rate_limited'],
    [502, 'unavailable'],
    [503, 'unavailable'],
    [504, 'timeout'],
    [302, 'backend_error'],
    [304, 'backend_error'],
  ])('%d is %s, and is not tried again here', async (status, code) => {
    await using one = await answering(status, '', { location: 'http://127.0.0.1:1/', 'retry-after': '9' });
    await expect(call(one.client)).rejects.toMatchObject({ code });
    expect(server.seen).toHaveLength(1);
  });

  it('hands on when to come back, as seconds and as a date', async () => {
    const date = new Date(testClock().now() + 5_000).toUTCString();
    for (const [header, retryAfterMs] of [
      ['9', 9_000],
      [date, 5_000],
    ] as const) {
      await using one = await answering(429, '', { 'retry-after': header });
      await expect(call(one.client)).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs });
    }
  });
});

describe('what is asked for', () => {
  it('is refused before any I/O where there is no such function', async () => {
    const client = await opened({ endpoint: server.url, functions: TABLE });
    for (const name of ['absent', 'constructor', '__proto__', 'default', 'v1.echo'])
      await expect(call(client, name)).rejects.toMatchObject({ code: 'not_found' });
    expect(server.seen).toEqual([]);
    await client.close();
  });

  it('is refused before any I/O where it is no JSON, or too long', async () => {
    const registry = await ConnectorRegistry.open({
      drivers: { 'serverless/http': () => import('./index.ts') },
    });
    const functions = await registry.createServerlessConnector({
      ...{ tenantId: 'acme', name: 'jobs', provider: 'http' },
      config: { endpoint: server.url, authType: 'api_key', credentials: { api_key: 'k' } },
    });
    for (const bad of [undefined, 1n, Number.NaN, new Date(), () => {}])
      await expect(functions.invoke('default', bad)).rejects.toMatchObject({ code: 'invalid_argument' });
    const long = functions.invoke('default', 'x'.repeat(MAX_BYTES));
    await expect(long).rejects.toMatchObject({ code: 'payload_too_large' });
    expect(server.seen).toEqual([]);
    guard = ({ headers }, response) => response.end(headers.authorization);
    expect(await functions.invoke('default', null)).toMatchObject({ result: 'Bearer k' });
    await registry.close();
  });

  it('goes to the method, path and headers that were told', async () => {
    const client = await opened({
      endpoint: `${server.url}/api/`,
      functions: { a: '/ä/%2F?q=1', b: `${server.url}/elsewhere` },
      method: 'PUT',
      headers: { 'X-Team': 'blue' },
    });
    guard = (_seen, response) => response.end();
    await call(client, 'a', { x: 'é' });
    await call(client, 'b');
    const [first, second] = server.seen;
    expect(first).toMatchObject({ method: 'PUT', path: '/api/%C3%A4/%2F?q=1' });
    expect(first?.body.toString()).toBe('{"x":"é"}');
    expect(first?.headers).toMatchObject({
      'content-type': 'application/json',
      'content-length': '10',
      'x-request-id': 'request-1',
      'idempotency-key': '"request-1"',
      'x-team': 'blue',
    });
    expect(first?.headers).not.toHaveProperty('x-signature');
    expect(second).toMatchObject({ method: 'PUT', path: '/elsewhere' });
    expect(second?.body.toString()).toBe('null');
    await client.close();
  });

  it('goes over one connection after another call', async () => {
    guard = (_seen, response) => response.end('1');
    const client = await opened({ endpoint: server.url });
    const before = server.connections();
    for (let i = 0; i < 5; i++) await call(client);
    expect(server.connections()).toBe(before + 1);
    await client.close();
    await server.idle();
  });
});

describe('a connection', () => {
  it('that is refused says that nothing was sent', async () => {
    const { url } = await closedPort();
    const failed = opened({ endpoint: url });
    await expect(failed).rejects.toMatchObject({
      code: 'unavailable',
      details: { backend_code: 'ECONNREFUSED', sent: false },
    });
    const client = await opened({ endpoint: server.url, functions: { here: '/', gone: `${url}/x` } });
    await expect(call(client, 'gone')).rejects.toMatchObject({
      code: 'unavailable',
      details: { sent: false },
    });
    await client.close();
  });

  it('whose certificate is not trusted fails at the stage of connecting', async () => {
    const secure = await selfSigned();
    const stages: string[] = [];
    const stage = <T>(name: string, step: () => Promise<T>) => (stages.push(name), step());
    await expect(opened({ endpoint: secure.url }, { stage })).rejects.toMatchObject({
      code: 'unavailable',
      details: { backend_code: 'DEPTH_ZERO_SELF_SIGNED_CERT', sent: false },
    });
    expect(stages).toEqual(['address', 'connect']);
    const other = selfSignedCertificate().cert;
    const client = await opened({
      endpoint: server.url,
      functions: { here: '/', f: `${secure.url}/` },
      ca: other,
    });
    await expect(call(client, 'f')).rejects.toMatchObject({ code: 'unavailable', details: { sent: false } });
    await client.close();
    const trusting = await opened({ endpoint: secure.url, ca: secure.certificate });
    expect(await call(trusting)).toMatchObject({ status: 'completed' });
    await trusting.close();
    await secure.close();
  });

  it.each([
    ['resetAfter', 0],
    ['endAfter', 0],
    ['endAfter', 100],
    ['resetAfter', 1_000],
  ] as const)(
    'that is cut (%s %d bytes) is unavailable, and nobody knows whether the function ran',
    async (kind, bytes) => {
      const proxy = await faultProxy(server);
      guard = (_seen, response) =>
        response.writeHead(200, { 'content-length': 5_000 }).end('x'.repeat(5_000));
      const client = await opened({ endpoint: `http://${proxy.host}:${proxy.port}` });
      proxy.meet({ kind, bytes });
      const error: unknown = await call(client).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: 'unavailable' });
      expect(error).not.toHaveProperty('details.sent');
      proxy.meet({ kind: 'none' });
      expect(await call(client)).toMatchObject({ status: 'completed' });
      await client.close();
      await proxy.close();
    },
  );

  it.each([
    ['a black hole', blackHole],
    [
      'an answer that stops in the middle',
      async () => {
        guard = (_seen, response) => void response.writeHead(200, { 'content-length': 10 }).write('x');
        return { ...server, connected: () => server.asked(1), close: async () => {} };
      },
    ],
  ])('that is %s ends at the function’s time, and is closed', async (_what, start) => {
    const place = await start();
    const clock = testClock();
    const client = await opened({ endpoint: place.url }, { clock });
    const late = call(client, 'default', null, { timeoutMs: 3_000 });
    const outcome = expect(late).rejects.toMatchObject({
      code: 'timeout',
      message: 'function default ran longer than 3 s',
    });
    await place.connected();
    await clock.advance(3_000);
    await outcome;
    await place.idle();
    expect(clock.pendingTimers).toBe(0);
    await client.close();
    await place.close();
  });

  it('is closed when its caller gives up, and the others go on', async () => {
    guard = ({ body }, response) => (body.toString() === '0' ? undefined : void response.end('1'));
    const client = await opened({ endpoint: server.url });
    const caller = new AbortController();
    const left = call(client, 'default', 0, { signal: caller.signal });
    await server.asked(1);
    const others = Promise.all([1, 2, 3].map((n) => call(client, 'default', n)));
    caller.abort();
    await expect(left).rejects.toMatchObject({ code: 'cancelled' });
    expect(await others).toHaveLength(3);
    const early = call(client, 'default', 0, { signal: AbortSignal.abort() });
    await expect(early).rejects.toMatchObject({ code: 'cancelled' });
    expect(server.seen).toHaveLength(4);
    await client.close();
    await server.idle();
  });

  it('ends when the client is closed', async () => {
    guard = () => {};
    const client = await opened({ endpoint: server.url });
    const left = call(client);
    await server.asked(1);
    const outcome = expect(left).rejects.toMatchObject({ code: 'unavailable' });
    await client.close();
    await outcome;
    await server.idle();
  });

  it('speaks HTTP', async () => {
    const noise = await garbage();
    const client = await opened({ endpoint: noise.url });
    await expect(call(client)).rejects.toMatchObject({ code: 'backend_error' });
    await client.close();
    await noise.close();
  });

  it('leads to no address that the operator has not allowed', async () => {
    const guarded = { network: network(egressPolicy({ allowPrivate: false })) };
    const failed = opened({ endpoint: server.url }, guarded);
    await expect(failed).rejects.toMatchObject({ code: 'egress_denied' });
    // A table may lead elsewhere than the endpoint did.
    const inner = openContext({ folder: '/nowhere', ...guarded });
    const client = await driver.open(
      driver.options.parse({ endpoint: server.url, functions: { f: server.url } }),
      { ...inner, stage: async () => undefined as never }, // as if the host had been reached
    );
    await expect(call(client, 'f')).rejects.toMatchObject({ code: 'egress_denied' });
    expect(server.seen).toEqual([]);
    await client.close();
  });
});

describe('an answer that is too long', () => {
  it.each([
    ['says so', { 'content-length': String(MAX_BYTES + 1) }],
    ['does not say so', {}],
  ])('is given up where it %s', async (_what, headers) => {
    let written = 0;
    guard = (_seen, response) => {
      response.writeHead(200, headers);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, 'x'))) written += 65_536;
      };
      response.on('drain', more);
      more();
    };
    const client = await opened({ endpoint: server.url });
    await expect(call(client)).rejects.toMatchObject({
      code: 'payload_too_large',
      details: { maxBytes: MAX_BYTES },
    });
    await server.idle();
    // What the sockets of both sides hold comes on top.
    expect(written).toBeLessThan(MAX_BYTES * 3);
    await client.close();
  });

  it('is the failure that it is where it tells of one', async () => {
    let status = 500;
    guard = (_seen, response) => {
      response.writeHead(status);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, 'x')));
      };
      response.on('drain', more);
      more();
    };
    const client = await opened({ endpoint: server.url });
    expect(await call(client)).toMatchObject({ status: 'failed', error: { name: 'HttpError' } });
    await server.idle();
    status = 503;
    await expect(call(client)).rejects.toMatchObject({ code: 'unavailable' });
    await server.idle();
    await client.close();
  });
});

describe('a secret', () => {
  const secrets = {
    password: 'pass "word" of ann',
    signing_secret: 'a signing secret of 24 characters',
    signing_secret_previous: 'another signing secret of before',
  };
  const basic = Buffer.from(`ann:${secrets.password}`).toString('base64');

  it.each([400, 401, 404, 429, 500, 503])(
    'is in no error of an endpoint that shows all it got (%d)',
    async (status) => {
      guard = ({ headers }, response) =>
        response
          .writeHead(status, { 'content-type': 'application/json' })
          .end(JSON.stringify({ message: `${headers.authorization} ${Object.values(secrets).join(' ')}` }));
      const client = await opened({ endpoint: server.url, username: 'ann', ...secrets });
      const ended: unknown = await call(client).catch((e: unknown) => e);
      const shown = inspect(ended, { depth: 20, showHidden: true });
      expect(shown).toContain('***');
      for (const secret of [...Object.values(secrets), basic, 'word']) expect(shown).not.toContain(secret);
      await client.close();
    },
  );

  it('is in no error of the connection, no log and no note', async () => {
    const said: unknown[] = [];
    const log = Object.fromEntries(
      ['debug', 'info', 'warn', 'error'].map((level) => [level, (...words: unknown[]) => said.push(words)]),
    ) as never; // all four
    const proxy = await faultProxy(server);
    const client = await opened(
      { endpoint: `http://${proxy.host}:${proxy.port}`, username: 'ann', ...secrets },
      { log },
    );
    said.push(await client.check(new AbortController().signal), client);
    proxy.meet({ kind: 'reset' });
    said.push(await call(client).catch((e: unknown) => e));
    const shown = inspect(said, { depth: 20, showHidden: true });
    expect(shown).toContain('unavailable');
    for (const secret of [...Object.values(secrets), basic]) expect(shown).not.toContain(secret);
    await client.close();
    await proxy.close();
  });
});

describe('check', () => {
  const check = async (options: Readonly<Record<string, unknown>>, context = {}) => {
    const client = await opened(options, context);
    try {
      return await client.check(new AbortController().signal);
    } finally {
      await client.close();
    }
  };

  it('connects and asks nothing where there is no health path', async () => {
    expect(await check({ endpoint: server.url, functions: TABLE })).toEqual([]);
    expect(server.seen).toEqual([]);
  });

  it('names hosts of the table that cannot be reached, and fails where none can', async () => {
    const { url } = await closedPort();
    const functions = { a: '/a', b: `${url}/b` };
    expect(await check({ endpoint: server.url, functions })).toEqual([
      { level: 'warn', message: '127.0.0.1 cannot be reached: unavailable' },
    ]);
    const proxy = await faultProxy(server);
    const client = await opened({ endpoint: `http://${proxy.host}:${proxy.port}` });
    await proxy.close();
    await expect(client.check(new AbortController().signal)).rejects.toMatchObject({ code: 'unavailable' });
    await client.close();
  });

  it('asks the health path with the credentials and a signature, and tells of clocks that differ', async () => {
    const clock = testClock();
    guard = (_seen, response) =>
      response.setHeader('date', new Date(clock.now() - 90_000).toUTCString()).end();
    const options = { endpoint: `${server.url}/api`, health_path: '/healthz', api_key: 'k' };
    const notes = await check({ ...options, signing_secret: 'x'.repeat(24) }, { clock });
    expect(server.seen.at(-1)).toMatchObject({ method: 'GET', path: '/healthz' });
    expect(server.seen.at(-1)?.headers).toMatchObject({
      authorization: 'Bearer k',
      'x-signature': expect.stringMatching(/^v1=/) as string,
    });
    expect(notes).toEqual([
      {
        level: 'warn',
        message: 'this host’s clock is 90 s ahead of the endpoint’s, which may refuse signed calls',
      },
    ]);
    expect(await check(options, { clock })).toEqual([]);
  });

  it.each([
    [401, 'auth_failed'],
    [403, 'auth_failed'],
    [404, 'backend_error'],
    [302, 'backend_error'],
    [429, 'rate_limited'],
    [500, 'backend_error'],
    [503, 'unavailable'],
  ])('says what a health path means that answers %d', async (status, code) => {
    const sick = await statusServer(status, 'a secret');
    const failed = opened({ endpoint: sick.url, health_path: '/', api_key: 'k' });
    await expect(failed).rejects.toMatchObject({ code, message: `the health path answered ${status}` });
    await sick.close();
  });
});
