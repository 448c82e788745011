import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
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
import { refusal, TOKEN } from './cloudflare-api.fixture.ts';
import { PAYLOAD_BYTES } from './client.ts';
import { failureOf, invocation, opened, platform } from './open.fixture.ts';

const { real, api, whole, open } = await platform();
const SECRETS = { api_key: 'key-of-the-tenant-42', access_client_secret: 'secret-of-access-43' };

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

/** A server that is closed after the test. */
async function during<T extends { close(): unknown }>(starting: Promise<T>): Promise<T> {
  const server = await starting;
  onTestFinished(async () => void (await server.close()));
  return server;
}

/** The address of a server that is closed after the test. */
async function serving(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return `http://127.0.0.1:${port}`;
}

describe('opening goes through its stages', () => {
  it('to the end', async () => {
    const { seen, stage } = stages();
    await open(whole, { stage });
    expect(seen).toEqual(['address', 'connect', 'credentials']);
  });

  it('to address, where the network is closed', async () => {
    const { seen, stage } = stages();
    const closed = { stage, network: network(egressPolicy({ allowPrivate: false })) };
    expect(await failureOf(open(whole, closed))).toMatchObject({ code: 'egress_denied' });
    expect(seen).toEqual(['address failed']);
  });

  it('to connect, where nobody listens', async () => {
    const { seen, stage } = stages();
    const { url } = await closedPort();
    const error = await failureOf(opened({ endpoint: `${url}/{name}` }, { stage }));
    expect(error).toMatchObject({ code: 'unavailable', details: { sent: false } });
    expect(seen).toEqual(['address', 'connect failed']);
  });

  it('to connect, where the certificate vouches for itself, and on where it is trusted', async () => {
    const { seen, stage } = stages();
    const server = await during(selfSigned((_request, response) => void response.end('"hello"')));
    const endpoint = `${server.url}/{name}`;
    const error = await failureOf(opened({ endpoint }, { stage }));
    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('TLS') as string });
    expect(seen).toEqual(['address', 'connect failed']);
    const client = await opened({ endpoint, ca: server.certificate });
    const answer = await client.invoke('echo', null, invocation(), NEVER);
    expect(answer).toEqual({ status: 'completed', result: '"hello"' });
  });

  it.each([
    ['403 and 10000', refusal(403, 10000, 'Authentication error'), 'auth_failed'],
    ['401 and 1000', refusal(401, 1000, 'Invalid API Token'), 'auth_failed'],
    ['400 and 6003', refusal(400, 6003, 'Invalid request headers'), 'auth_failed'],
    ['403 and 9109', refusal(403, 9109, 'Unauthorized to access requested resource'), 'auth_failed'],
    ['429', refusal(429, 971, 'Please wait', { 'retry-after': '7' }), 'rate_limited'],
    ['500', refusal(500, 10001, 'workflows.api.error.internal_server'), 'unavailable'],
    ['502 and a page', { status: 502, body: '<html>Bad gateway</html>' }, 'unavailable'],
    ['504', { status: 504, body: '' }, 'timeout'],
    ['200 and no success', refusal(200, 10001, 'workflows.api.error.internal_server'), 'unavailable'],
    ['200 and another shape', { status: 200, body: { result: [] } }, 'backend_error'],
    ['200 and another list', { status: 200, body: { success: true, result: [{ id: 7 }] } }, 'backend_error'],
    ['200 and no JSON', { status: 200, body: '{"result": [' }, 'backend_error'],
    ['302', { status: 302, body: '', headers: { location: 'https://example.com' } }, 'backend_error'],
  ])('to credentials, where the API answers %s', async (_what, answer, code) => {
    const { seen, stage } = stages();
    api.next('GET /workflows', answer);
    expect(await failureOf(open(whole, { stage }))).toMatchObject({ code });
    expect(seen).toEqual(['address', 'connect', 'credentials failed']);
  });

  it('and names the wait that the API asked for', async () => {
    api.next('GET /workflows', refusal(429, 971, 'Please wait', { 'retry-after': '7' }));
    expect(await failureOf(open())).toMatchObject({ retryAfterMs: 7_000, details: { backend_code: 971 } });
  });

  it.each([
    ['nonsense', nonsense, 'backend_error'],
    ['garbage', garbage, 'backend_error'],
  ])('to credentials, where the API is %s', async (_what, server, code) => {
    const { url } = await during(server());
    expect(await failureOf(open({ ...whole, api_endpoint: url }))).toMatchObject({ code });
  });

  it('and is given up with its caller', async () => {
    const hole = await during(blackHole());
    const caller = new AbortController();
    const opening = failureOf(open({ ...whole, api_endpoint: hole.url }, { signal: caller.signal }));
    await hole.connected();
    caller.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    await hole.idle();
  });
});

describe('a call', () => {
  const call = async (url: string, context: Partial<OpenContext> = {}, timeoutMs?: number) => {
    const client = await opened({ endpoint: `${url}/{name}` }, context);
    return client.invoke('echo', null, invocation(timeoutMs), NEVER);
  };

  it('of a function that nobody knows any more is not sent', async () => {
    const server = await statusServer(200, 'x');
    const client = await opened({ endpoint: `${server.url}/{name}` });
    await server.close();
    const error = await failureOf(client.invoke('echo', null, invocation(), NEVER));
    expect(error).toMatchObject({ code: 'unavailable', details: { sent: false } });
  });

  it('that is never answered ends with the time of the function, and its connection', async () => {
    const clock = testClock();
    const hole = await during(blackHole());
    const client = await opened({ endpoint: `${hole.url}/{name}` }, { clock });
    await hole.idle();
    const late = failureOf(client.invoke('echo', null, invocation(20_000), NEVER));
    await clock.advance(20_000);
    expect(await late).toMatchObject({ code: 'timeout', details: { timeoutMs: 20_000 } });
    await hole.idle();
    expect(clock.pendingTimers).toBe(0);
  });

  it('whose caller gives up ends its connection', async () => {
    const arrived = Promise.withResolvers<IncomingMessage>();
    // Takes the request, and never answers.
    const url = await serving((request) => arrived.resolve(request));
    const client = await opened({ endpoint: `${url}/{name}` });
    const caller = new AbortController();
    const left = failureOf(client.invoke('echo', null, invocation(), caller.signal));
    const { socket } = await arrived.promise;
    const ended = once(socket, 'close');
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    await ended;
  });

  it.each([
    ['reset in the middle', 'resetAfter'],
    ['cut in the middle', 'endAfter'],
  ] as const)('that is %s may have run', async (_what, kind) => {
    const { hostname, port } = new URL(real.url);
    const proxy = await during(faultProxy({ host: hostname, port: Number(port) }));
    const client = await opened({ endpoint: `http://${proxy.host}:${proxy.port}/functions/{name}` });
    proxy.meet({ kind, bytes: 40 });
    const error = await failureOf(client.invoke('echo', 'x'.repeat(100_000), invocation(), NEVER));
    expect(error.code).toBe('unavailable');
    expect(error.details['sent']).toBeUndefined();
  });

  it('that is answered without an end stops at the limit', async () => {
    const client = await open();
    const error = await failureOf(client.invoke('floods', null, invocation(), NEVER));
    expect(error).toMatchObject({ code: 'payload_too_large', details: { maxBytes: PAYLOAD_BYTES } });
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ result: 1 });
  });

  it('of what is no HTTP is backend_error', async () => {
    const { url } = await during(garbage());
    expect(await failureOf(call(url))).toMatchObject({ code: 'backend_error' });
  });

  it('of a name that cannot be is refused before anything is sent', async () => {
    const client = await opened({ endpoint: 'http://{name}.localhost:9' });
    const error = await failureOf(client.invoke('a.b', null, invocation(), NEVER));
    expect(error).toMatchObject({ code: 'invalid_argument', issues: [{ path: 'name' }] });
  });

  it('after the client was closed fails', async () => {
    const client = await opened({ endpoint: `${real.url}/functions/{name}` });
    await client.invoke('echo', 1, invocation(), NEVER);
    await client.close();
    expect(await failureOf(client.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      code: 'unavailable',
    });
  });
});

describe('listing', () => {
  it('wants a token, or a table', async () => {
    const client = await opened({ endpoint: `${real.url}/functions/{name}` });
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({
      code: 'unsupported',
      details: { missing: ['account_id', 'api_token'] },
    });
    const table = await opened({ functions: { mine: `${real.url}/functions/echo` } });
    expect(await table.listFunctions(NEVER)).toEqual([{ name: 'mine' }]);
  });

  it('answers what can be called: Workers, Workflows and the table', async () => {
    const client = await open({ ...whole, functions: { mine: `${real.url}/functions/echo` } });
    const found = await client.listFunctions(NEVER);
    expect(found).toContainEqual({
      name: 'echo',
      runtime: 'workerd',
      lastModified: new Date('2026-11-01T10:00:00Z'),
    });
    expect(found).toContainEqual({ name: 'flow-echo', description: 'Workflow' });
    expect(found).toContainEqual({ name: 'mine' });
  });

  it('leaves out Workers that have no address', async () => {
    const { endpoint: _none, ...rest } = whole;
    const client = await open(rest);
    const found = await client.listFunctions(NEVER);
    expect(found.map(({ name }) => name)).toEqual(['flow-echo', 'flow-endless', 'flow-fails']);
  });

  it('fails as the API does', async () => {
    const client = await open();
    api.next('GET /workers/scripts', refusal(403, 10000, 'Authentication error'));
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({ code: 'auth_failed' });
  });
});

describe('a check', () => {
  it('asks the API where there is a token, and has nothing to say', async () => {
    const client = await open();
    expect(await client.check(NEVER)).toEqual([]);
    api.next('GET /workflows', refusal(403, 10000, 'Authentication error'));
    expect(await failureOf(client.check(NEVER))).toMatchObject({ code: 'auth_failed' });
  });

  it('connects where there is none', async () => {
    const server = await statusServer(200, 'x');
    const client = await opened({ functions: { a: server.url } });
    expect(await client.check(NEVER)).toEqual([]);
    await server.close();
    expect(await failureOf(client.check(NEVER))).toMatchObject({ code: 'unavailable' });
  });

  it('says that nothing was asked, and that credentials go in clear', async () => {
    const client = await opened({ endpoint: 'http://{name}.localhost:9', api_key: 'x' });
    expect(await client.check(NEVER)).toEqual([
      { level: 'info', message: 'no address is known before a function is named, so that nothing was asked' },
      {
        level: 'info',
        message: 'without account_id and api_token, functions are not listed and Workflows not started',
      },
      { level: 'warn', message: 'credentials are sent in clear; use addresses with https' },
    ]);
  });
});

describe('no secret is told', () => {
  const logged: unknown[] = [];
  const write = (...entry: unknown[]): void => void logged.push(entry);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const secrets = [...Object.values(SECRETS), TOKEN];
  const expectNone = (value: unknown): void => {
    const text = `${inspect(value, { depth: 20, showHidden: true, getters: true })}${JSON.stringify(value)}`;
    for (const secret of secrets) expect(text).not.toContain(secret);
  };
  const options = { ...whole, ...SECRETS, access_client_id: 'client-id.access' };

  /** Answers every request with the headers that it came with. */
  const echoing = (status: number) =>
    serving((request, response) => {
      request.resume();
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({ errors: [{ code: 1, message: inspect(request.headers) }], success: false }),
      );
    });

  it.each([401, 403, 429, 503])('by a Worker that answers %i with what it was sent', async (status) => {
    const client = await open({ ...options, endpoint: `${await echoing(status)}/{name}` }, { log });
    expectNone(await failureOf(client.invoke('echo', null, invocation(), NEVER)));
  });

  it('by a Worker that fails with what it was sent', async () => {
    const client = await open({ ...options, endpoint: `${await echoing(500)}/{name}` }, { log });
    const outcome = await client.invoke('echo', null, invocation(), NEVER);
    expect(outcome.status).toBe('failed');
    expectNone(outcome);
  });

  it.each([200, 400, 401, 403, 500])('by an API that answers %i with what it was sent', async (status) => {
    const url = await echoing(status);
    expectNone(await failureOf(open({ ...options, api_endpoint: url }, { log })));
  });

  it('by connections that fail, notes, or the client itself', async () => {
    const { url } = await closedPort();
    expectNone(await failureOf(open({ ...options, api_endpoint: url }, { log })));
    const client = await open(options, { log });
    expectNone(await client.check(NEVER));
    expectNone(client);
    expectNone(logged);
  });

  it('by a header that cannot be sent', async () => {
    const client = await opened({
      endpoint: `${real.url}/functions/{name}`,
      api_key: `${SECRETS.api_key}\r\nx: y`,
    });
    const error = await failureOf(client.invoke('echo', null, invocation(), NEVER));
    expect(error).toMatchObject({ code: 'invalid_argument' });
    expectNone(error);
  });
});
