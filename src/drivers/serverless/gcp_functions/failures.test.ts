import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ConnectorError, type OpenContext } from '../../../driver.ts';
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
import { clientsOfDouble, failureOf, INVOCATION } from './clients.fixture.ts';
import { functionsFront } from './front.fixture.ts';
import { GoogleDouble } from './google.fixture.ts';

const { google, start, closing } = await clientsOfDouble();
const NONE = { authType: 'none' } as const;
/** A client of one function `f`, without credentials. */
const at = async (url: string, context: Partial<OpenContext> = {}) =>
  start({ functions: { f: url } }, { ...NONE, ...context });
const call = async (url: string, context: Partial<OpenContext> = {}) =>
  (await at(url, context)).invoke('f', { a: 1 }, INVOCATION, NEVER);

/** The stages that opening went through, and which of them failed. */
function stages(): { readonly seen: string[]; readonly stage: OpenContext['stage'] } {
  const seen: string[] = [];
  return {
    seen,
    async stage(name, step) {
      try {
        const answer = await step();
        seen.push(name);
        return answer;
      } catch (error) {
        seen.push(`${name} failed`);
        throw error;
      }
    },
  };
}

async function served(listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return closing({
    url: `http://127.0.0.1:${port}`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  });
}

describe('opening fails', () => {
  it('as auth_failed for a key that Google does not know, asked once, after the network was found good', async () => {
    const other = closing(await new GoogleDouble().listen());
    for (const where of [google.options, { endpoint: (await served((_, r) => void r.end())).url }]) {
      const { seen, stage } = stages();
      const since = google.requests.length;
      const error = await failureOf(
        start({ ...where, ...google.credentials, service_account_key: other.key }, { stage }),
      );
      expect(error).toMatchObject({
        code: 'auth_failed',
        message: 'the token endpoint refused the credentials (invalid_grant)',
      });
      expect(seen).toEqual(['address', 'connect', 'credentials failed']);
      expect(google.requests.slice(since)).toEqual(['POST /token']);
    }
  });

  it('as auth_failed where the Cloud Run Admin API does not take the token', async () => {
    google.fail({
      match: /GET \/v2/,
      status: 401,
      body: '{"error":{"code":401,"status":"UNAUTHENTICATED"}}',
    });
    await expect(start(google.options)).rejects.toMatchObject({
      code: 'auth_failed',
      details: { backend_status: 401, backend_code: 'UNAUTHENTICATED' },
    });
  });

  it('as unavailable where nobody listens or TLS is not trusted, in the stage connect', async () => {
    const untrusted = closing(await selfSigned());
    const refusals = {
      [untrusted.url]: /TLS connection was refused/,
      [(await closedPort()).url]: /ECONNREFUSED/,
    };
    for (const [url, message] of Object.entries(refusals)) {
      const { seen, stage } = stages();
      const error = await failureOf(at(url, { stage }));
      expect(error).toMatchObject({ code: 'unavailable', message: expect.stringMatching(message) });
      expect(seen).toEqual(['address', 'connect failed']);
      await expect(start({ ...google.options, api_endpoint: url })).rejects.toMatchObject({
        code: 'unavailable',
      });
    }
  });

  it('as egress_denied for an address that connectors may not reach, and for one that a service names', async () => {
    const guarded = network(egressPolicy({ allowPrivate: false }));
    await expect(at(google.url, { network: guarded })).rejects.toMatchObject({ code: 'egress_denied' });
    google.services.set('inside', { uri: 'http://169.254.169.254/latest' });
    const client = await start(google.options);
    await expect(client.invoke('inside', null, INVOCATION, NEVER)).rejects.toMatchObject({
      code: 'egress_denied',
    });
  });

  it('where it is given up', async () => {
    const hole = closing(await blackHole());
    const giving = new AbortController();
    const reason = new ConnectorError('timeout', 'took too long');
    const opening = start({ ...google.options, api_endpoint: hole.url }, { signal: giving.signal });
    await hole.connected();
    giving.abort(reason);
    await expect(opening).rejects.toMatchObject({ code: 'timeout' });
    await hole.idle();
  });
});

describe('a status in the place of a result', () => {
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
  ])('%i is %s', async (status, code) => {
    const server = closing(await statusServer(status, 'said', { location: google.url, 'retry-after': '7' }));
    const since = google.requests.length;
    const error = await failureOf(call(server.url));
    expect(error).toMatchObject({ code });
    if (code === 'rate_limited') expect(error).toMatchObject({ retryAfterMs: 7_000 });
    if (status === 302)
      expect(error).toMatchObject({ message: expect.stringContaining('answered a redirect (302)') });
    expect(google.requests).toHaveLength(since);
  });

  it.each([400, 409, 418, 500, 501])('%i is the failure of the function', async (status) => {
    const server = closing(await statusServer(status, 'said'));
    expect(await call(server.url)).toMatchObject({
      status: 'failed',
      error: { name: 'HttpError', message: `answered ${status}: said` },
    });
  });

  it('is the failure of the function whatever it is, where the framework says so', async () => {
    for (const mark of ['crash', 'error']) {
      const server = closing(await statusServer(503, 'boom', { 'x-google-status': mark }));
      expect(await call(server.url)).toMatchObject({
        status: 'failed',
        error: { name: 'Error', message: 'boom' },
      });
    }
    const other = closing(await statusServer(503, 'boom', { 'x-google-status': 'other' }));
    await expect(call(other.url)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('an answer that never comes', () => {
  /** Takes a request and is silent; tells when it has come, and when its connection has ended. */
  async function silent() {
    const [reached, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { url } = await served((request) => {
      request.socket.once('close', () => ended.resolve());
      request.resume().once('end', () => reached.resolve());
    });
    return { url, reached: reached.promise, ended: ended.promise };
  }

  it('ends at the time of the function, and with the connection', async () => {
    const { url, reached, ended } = await silent();
    const clock = testClock();
    const client = await at(url, { clock });
    const late = failureOf(client.invoke('f', null, { ...INVOCATION, timeoutMs: 5_000 }, NEVER));
    await reached;
    await clock.advance(4_999);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    expect(await late).toMatchObject({ code: 'timeout', details: { timeoutMs: 5_000 } });
    expect(clock.pendingTimers).toBe(0);
    await ended;
  });

  it('is not waited for by a caller who gives up, and its connection ends', async () => {
    const { url, reached, ended } = await silent();
    const client = await at(url);
    const caller = new AbortController();
    const left = failureOf(client.invoke('f', null, INVOCATION, caller.signal));
    await reached;
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    await ended;
  });

  it('ends when the client is closed', async () => {
    const { url, reached, ended } = await silent();
    const client = await at(url);
    const left = failureOf(client.invoke('f', null, INVOCATION, NEVER));
    await reached;
    await client.close();
    expect(await left).toMatchObject({ code: 'unavailable' });
    await ended;
  });
});

describe('a connection', () => {
  it('that is refused says that the function was not reached, one that is cut does not', async () => {
    const server = closing(await statusServer(200, { long: 'x'.repeat(10_000) }));
    const proxy = closing(await faultProxy(server));
    const client = await at(`http://127.0.0.1:${proxy.port}`);
    for (const fault of [
      { kind: 'resetAfter', bytes: 5_000 },
      { kind: 'endAfter', bytes: 5_000 },
      { kind: 'reset' },
    ] as const) {
      proxy.meet(fault);
      const error = await failureOf(client.invoke('f', null, INVOCATION, NEVER));
      expect(error).toMatchObject({ code: 'unavailable' });
      expect(error).not.toMatchObject({ details: { sent: false } });
    }
    proxy.meet({ kind: 'none' });
    expect(await client.invoke('f', null, INVOCATION, NEVER)).toMatchObject({ status: 'completed' });
    await server.close();
    const port = closing(await statusServer(200));
    const refused = await at(port.url);
    await port.close();
    expect(await failureOf(refused.invoke('f', null, INVOCATION, NEVER))).toMatchObject({
      code: 'unavailable',
      details: { sent: false },
    });
  });

  it('whose TLS is not trusted carries no payload and no token', async () => {
    let asked = 0;
    const untrusted = closing(await selfSigned((_request, response) => void (asked++, response.end())));
    google.services.set('untrusted', { uri: untrusted.url });
    const error = await failureOf((await start(google.options)).invoke('untrusted', null, INVOCATION, NEVER));
    expect(error).toMatchObject({ code: 'unavailable', details: { sent: false } });
    expect(asked).toBe(0);
  });
});

it('a failure without an end is the failure that it is', async () => {
  for (const [status, expected] of [
    [503, { code: 'unavailable' }],
    [429, { code: 'rate_limited' }],
  ] as const) {
    const endless = await served((request, response) => {
      request.resume();
      response.writeHead(status, { 'content-type': 'text/plain' });
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(2 ** 16, 'x')));
        response.once('drain', more);
      };
      more();
    });
    await expect(call(endless.url)).rejects.toMatchObject(expected);
  }
});

describe('a result', () => {
  it('that is too long is not read to its end, packed or not', async () => {
    const chunk = Buffer.alloc(2 ** 20, 0x20);
    let sent = 0;
    const endless = await served((request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' });
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) sent += 1;
        response.once('drain', () => ((sent += 1), more()));
      };
      more();
    });
    await expect(call(endless.url)).rejects.toMatchObject({ code: 'payload_too_large' });
    expect(sent).toBeLessThan(64);
    const packed = gzipSync(Buffer.alloc(64 * 2 ** 20, 0x20));
    const bomb = await served((request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(packed);
    });
    await expect(call(bomb.url)).rejects.toMatchObject({ code: 'payload_too_large' });
  });

  it('that makes no sense is a failure of the function, text is text, and noise is no answer', async () => {
    const server = closing(await nonsense());
    const client = await at(server.url);
    const answers = [];
    for (let i = 0; i < 4; i += 1) answers.push(await client.invoke('f', null, INVOCATION, NEVER));
    expect(answers.map(({ status }) => status)).toEqual(['completed', 'completed', 'failed', 'completed']);
    expect(answers[2]).toMatchObject({ error: { name: 'ResultError' } });
    const noise = closing(await garbage());
    await expect(call(noise.url)).rejects.toMatchObject({ code: 'backend_error' });
  });
});

describe('the Cloud Run Admin API', () => {
  const statuses = { 403: 'auth_failed', 429: 'rate_limited', 500: 'unavailable', 503: 'unavailable' };
  it.each(Object.entries(statuses))('that answers %s is %s, asked once', async (status, code) => {
    const client = await start(google.options);
    const body = JSON.stringify({
      error: { code: Number(status), message: 'secret words', status: 'SOME_CODE' },
    });
    google.fail({ match: /GET \/v2/, status: Number(status), body, headers: { 'retry-after': '3' } });
    const since = google.requests.length;
    const error = await failureOf(client.listFunctions(NEVER));
    expect(error).toMatchObject({ code, details: { backend_code: 'SOME_CODE' } });
    if (code === 'rate_limited') expect(error).toMatchObject({ retryAfterMs: 3_000 });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('secret words');
    expect(google.requests).toHaveLength(since + 1);
  });

  it.each([
    '<html>',
    '{"services":',
    '{"services":[{"uri":7}]}',
    '{"services":[{"name":"no/such/name"}]}',
    '[]',
  ])('that answers %s is not one', async (body) => {
    const client = await start(google.options);
    google.fail({ match: /pageSize=100/, body });
    await expect(client.listFunctions(NEVER)).rejects.toMatchObject({ code: 'backend_error' });
  });

  it('that does not let us list says so in a note, and functions with a URL are called none the less', async () => {
    const server = closing(await statusServer(200, { fine: true }));
    google.mayList = false;
    try {
      const client = await start({ ...google.options, functions: { known: server.url } });
      expect(await client.check(NEVER)).toContainEqual({
        level: 'warn',
        message: expect.stringContaining('roles/run.viewer'),
      });
      expect((await client.invoke('known', null, INVOCATION, NEVER)).result).toEqual({ fine: true });
      await expect(client.invoke('unknown', null, INVOCATION, NEVER)).rejects.toMatchObject({
        code: 'auth_failed',
      });
    } finally {
      google.mayList = true;
    }
  });

  it('is given up with its connection', async () => {
    const client = await start(google.options);
    google.fail({ match: /pageSize=100/, silent: true });
    const reached = google.reached(/pageSize=100/);
    const caller = new AbortController();
    const left = failureOf(client.listFunctions(caller.signal));
    await reached;
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
  });
});

describe('secrets', () => {
  it('are in no failure, log or note, even where a function echoes what it was sent', async () => {
    const tokens: string[] = [];
    let status = 403;
    const echo = await served((request, response) => {
      const given = request.headers.authorization ?? '';
      tokens.push(given.slice(7));
      request.resume();
      response.writeHead(status, { 'content-type': 'text/plain' }).end(`denied to ${given}`);
    });
    const said: unknown[] = [];
    const note = (...words: unknown[]) => void said.push(words);
    const log = { debug: note, info: note, warn: note, error: note };
    const client = await start({ ...google.credentials, functions: { f: echo.url } }, { log });
    for (status of [401, 403, 404, 429, 500, 503])
      said.push(await client.invoke('f', null, INVOCATION, NEVER).catch((error: unknown) => error));
    google.fail({ match: /POST \/token/, status: 400, body: '{"error":"invalid_grant"}' });
    const fresh = await failureOf(start({ ...google.credentials, functions: { f: echo.url } }, { log }));
    said.push(fresh, await client.check(NEVER));
    const api = await start(google.options, { log });
    google.fail({ match: /GET \/v2/, status: 500, body: '{}' });
    const since = google.headers.length;
    said.push(await failureOf(api.listFunctions(NEVER)));
    tokens.push(google.headers[since]?.authorization?.slice(7) ?? '');
    expect(said).toHaveLength(9);
    expect(tokens.filter((token) => token.length > 20).length).toBeGreaterThan(6);
    const text = inspect(said, { depth: 12, showHidden: true, maxArrayLength: null, maxStringLength: null });
    const { private_key: key } = JSON.parse(google.key) as { private_key: string };
    for (const secret of [...tokens, key, key.split('\n')[3] ?? key]) expect(text).not.toContain(secret);
    expect(text).toContain('denied to Bearer ***');
  });
});

describe('what stands before a function', () => {
  it('takes a new token where the old one is refused, at the next call: this one may have reached the function', async () => {
    const front = closing(
      await functionsFront(new Map([['f', closing(await statusServer(200, '"fine"')).port]]), {
        audienceOf: (given) => google.tokens.audienceOf(given),
      }),
    );
    const client = await start({
      ...google.credentials,
      ca: front.ca,
      functions: { f: `${front.url}/f` },
    });
    const invoke = () => client.invoke('f', null, INVOCATION, NEVER);
    expect(await invoke()).toMatchObject({ status: 'completed' });
    google.tokens.revoke();
    await expect(invoke()).rejects.toMatchObject({ code: 'auth_failed' });
    expect(front.refused).toEqual(['401 /f']);
    expect(await invoke()).toMatchObject({ status: 'completed' });
    await expect(
      (await start({ ca: front.ca, functions: { f: `${front.url}/f` } }, NONE)).invoke(
        'f',
        null,
        INVOCATION,
        NEVER,
      ),
    ).rejects.toMatchObject({ code: 'auth_failed' });
  });
});
