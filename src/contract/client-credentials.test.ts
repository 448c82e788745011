import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import { afterEach, expect, it } from 'vitest';
import { egressPolicy } from '../egress/addresses.ts';
import { network } from '../egress/network.ts';
import { NEVER } from '../policies/pipeline.ts';
import { testClock } from '../testing/clock.ts';
import { blackHole, closedPort } from '../testing/faulty-servers.fixture.ts';
import { clientCredentials, tokenUrl, type ClientCredentialsOptions } from './client-credentials.ts';

const SECRET = 'a secret: with ~ é+/';
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

type Answer = (response: ServerResponse, request: IncomingMessage, form: string) => unknown;
const granted =
  (fields: object): Answer =>
  (response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(fields));
const refused =
  (status: number, body: string, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, headers).end(body);

/** A token endpoint that gives its answers in turn, the last one for ever. */
async function endpoint(...answers: Answer[]) {
  const seen: { headers: IncomingMessage['headers']; form: URLSearchParams }[] = [];
  const server = createServer((request, response) => {
    void text(request).then((form) => {
      seen.push({ headers: request.headers, form: new URLSearchParams(form) });
      return answers[Math.min(seen.length, answers.length) - 1]?.(response, request, form);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return { url: `http://127.0.0.1:${port}/token`, seen };
}

function tokens(url: string, more: Partial<ClientCredentialsOptions> = {}) {
  const clock = testClock();
  const fetcher = network(egressPolicy({ allowPrivate: true })).fetcher();
  closing.push(() => fetcher.close());
  const own = { tokenUrl: url, clientId: 'the client', clientSecret: SECRET, fetch: fetcher.fetch, clock };
  return { clock, ...clientCredentials({ ...own, ...more }) };
}

it('asks as RFC 6749 section 4.4.2 has it, with the client in the header', async () => {
  const { url, seen } = await endpoint(
    granted({ access_token: 'one', token_type: 'bearer', expires_in: 60 }),
  );
  const { token } = tokens(url, { scope: 'run list', audience: 'https://api.example.com' });
  expect(await token(NEVER)).toBe('one');
  const [{ headers, form } = expect.fail('nothing was asked')] = seen;
  expect(Object.fromEntries(form)).toEqual({
    grant_type: 'client_credentials',
    scope: 'run list',
    audience: 'https://api.example.com',
  });
  expect(headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/);
  const credentials = Buffer.from(headers.authorization?.replace(/^Basic /, '') ?? '', 'base64').toString();
  expect(credentials).toBe('the+client:a+secret%3A+with+%7E+%C3%A9%2B%2F');
});

it('sends the client in the form where it is told so', async () => {
  const { url, seen } = await endpoint(granted({ access_token: 'one', expires_in: '60' }));
  await tokens(url, { clientAuth: 'post' }).token(NEVER);
  expect(seen[0]?.headers.authorization).toBeUndefined();
  expect(Object.fromEntries(seen[0]?.form ?? [])).toEqual({
    grant_type: 'client_credentials',
    client_id: 'the client',
    client_secret: SECRET,
  });
});

it('fetches one token for all who wait, and one who gives up leaves it to the others', async () => {
  const held = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const { url, seen } = await endpoint(async (response, ...rest) => {
    asked.resolve();
    await held.promise;
    granted({ access_token: 'shared', expires_in: 60 })(response, ...rest);
  });
  const { token } = tokens(url);
  const first = new AbortController();
  const left = token(first.signal);
  const others = Array.from({ length: 50 }, () => token(NEVER));
  await asked.promise;
  first.abort();
  await expect(left).rejects.toMatchObject({ code: 'cancelled' });
  held.resolve();
  expect(new Set(await Promise.all(others))).toEqual(new Set(['shared']));
  expect(seen).toHaveLength(1);
});

it('keeps a token until shortly before its end, and renews it once while it is used', async () => {
  const { url, seen } = await endpoint(
    granted({ access_token: 'old', expires_in: 3600 }),
    granted({ access_token: 'new', expires_in: 3600 }),
  );
  const { token, clock } = tokens(url);
  expect(await token(NEVER)).toBe('old');
  await clock.advance(3_539_000);
  expect(await token(NEVER)).toBe('old');
  expect(seen).toHaveLength(1);
  await clock.advance(1_000);
  const during = await Promise.all(Array.from({ length: 50 }, () => token(NEVER)));
  expect(new Set(during)).toEqual(new Set(['old']));
  await expect.poll(() => token(NEVER)).toBe('new');
  expect(seen).toHaveLength(2);
});

it('hands out no token that is about to end', async () => {
  const { url } = await endpoint(
    granted({ access_token: 'old', expires_in: 3600 }),
    granted({ access_token: 'new', expires_in: 3600 }),
  );
  const { token, clock } = tokens(url);
  await token(NEVER);
  await clock.advance(3_590_000);
  expect(await token(NEVER)).toBe('new');
});

it('goes on with a good token while the endpoint is down, and asks it no more than every five seconds', async () => {
  let asked = 0;
  const fetch = async () =>
    asked++ === 0
      ? Response.json({ access_token: 'old', expires_in: 3600 })
      : new Response('', { status: 503 });
  const { token, clock } = tokens('https://login.example.com/token', { fetch });
  await token(NEVER);
  await clock.advance(3_545_000);
  const seldom = async () => {
    for (let call = 0; call < 20; call++) {
      expect(await token(NEVER)).toBe('old');
      await nextTurn(); // the attempt has ended
    }
  };
  await seldom();
  expect(asked).toBe(2);
  await clock.advance(5_000);
  await seldom();
  expect(asked).toBe(3);
  await clock.advance(40_000);
  await expect(token(NEVER)).rejects.toMatchObject({ code: 'unavailable', details: { sent: false } });
});

it('keeps a token of unknown life for five minutes', async () => {
  const { url, seen } = await endpoint(granted({ access_token: 'one' }));
  const { token, clock } = tokens(url);
  await token(NEVER);
  await clock.advance(239_000);
  await token(NEVER);
  expect(seen).toHaveLength(1);
  await clock.advance(60_000);
  await token(NEVER);
  expect(seen).toHaveLength(2);
});

it('fetches another after the backend refused the one at hand, and only then', async () => {
  const { url, seen } = await endpoint(
    granted({ access_token: 'old', expires_in: 60 }),
    granted({ access_token: 'new', expires_in: 60 }),
  );
  const { token, forget } = tokens(url);
  expect(await token(NEVER)).toBe('old');
  forget('old');
  expect(await token(NEVER)).toBe('new');
  forget('old');
  expect(await token(NEVER)).toBe('new');
  expect(seen).toHaveLength(2);
  forget();
  await token(NEVER);
  expect(seen).toHaveLength(3);
});

const json = (error: string) => JSON.stringify({ error, error_description: `${SECRET} is wrong` });
it.each([
  ['invalid_client', refused(401, json('invalid_client')), 'auth_failed'],
  ['invalid_client with 400', refused(400, json('invalid_client')), 'auth_failed'],
  ['unauthorized_client', refused(400, json('unauthorized_client')), 'auth_failed'],
  ['invalid_scope', refused(400, json('invalid_scope')), 'auth_failed'],
  ['401 with nothing', refused(401, ''), 'auth_failed'],
  ['403 with a page', refused(403, '<h1>no</h1>'), 'auth_failed'],
  ['a secret as the error', refused(400, json(SECRET)), 'backend_error'],
  ['no such address', refused(404, SECRET), 'backend_error'],
  ['500', refused(500, SECRET), 'unavailable'],
  ['502', refused(502, ''), 'unavailable'],
  ['503', refused(503, ''), 'unavailable'],
  ['504', refused(504, ''), 'timeout'],
  ['a redirect', refused(302, '', { location: 'http://127.0.0.1:1/' }), 'backend_error'],
  ['no JSON', refused(200, SECRET), 'backend_error'],
  ['a list', refused(200, '[]'), 'backend_error'],
  ['nothing', refused(200, ''), 'backend_error'],
  ['no token', granted({ expires_in: 60 }), 'backend_error'],
  ['a token of no header', granted({ access_token: 'a\nb', expires_in: 60 }), 'backend_error'],
  ['another type of token', granted({ access_token: 'a', token_type: 'mac' }), 'backend_error'],
  ['a life that is no number', granted({ access_token: 'a', expires_in: 'soon' }), 'backend_error'],
  ['too much', granted({ access_token: 'a'.repeat(70_000) }), 'backend_error'],
  ['a cut answer', (response: ServerResponse) => void response.destroy(), 'unavailable'],
])('says what became of it, without a secret: %s', async (_what, answer, code) => {
  const { url } = await endpoint(answer);
  for (const clientAuth of ['basic', 'post'] as const) {
    const error: unknown = await tokens(url, { clientAuth })
      .token(NEVER)
      .catch((e: unknown) => e);
    expect(error).toMatchObject({ code, details: { sent: false } });
    const shown = inspect(error, { depth: 20, showHidden: true });
    expect(shown).not.toContain('a secret');
    expect(shown).not.toContain('a+secret');
  }
});

it('hands on when to come back', async () => {
  const { url } = await endpoint(refused(429, '', { 'retry-after': '7' }));
  const asked = tokens(url).token(NEVER);
  await expect(asked).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs: 7_000 });
});

it('says that an endpoint which is not there is unavailable', async () => {
  const { url } = await closedPort();
  await expect(tokens(url).token(NEVER)).rejects.toMatchObject({
    code: 'unavailable',
    details: { sent: false, backend_code: 'ECONNREFUSED' },
  });
});

it('gives up an endpoint that never answers after 30 seconds, and asks again for the next call', async () => {
  const hole = await blackHole();
  closing.push(() => hole.close());
  const { token, clock } = tokens(hole.url);
  const asked = token(NEVER);
  const outcome = expect(asked).rejects.toMatchObject({ code: 'timeout', details: { sent: false } });
  await hole.connected();
  await clock.advance(30_000);
  await outcome;
  expect(clock.pendingTimers).toBe(0);
  const again = expect(token(NEVER)).rejects.toMatchObject({ code: 'timeout' });
  await clock.advance(30_000);
  await again;
});

it.each([
  ['https://login.example.com/token', true],
  ['https://login.example.com/token?tenant=1', true],
  ['http://localhost:8080/token', true],
  ['http://127.0.0.2/token', true],
  ['http://[::1]:1/token', true],
  ['http://login.example.com/token', false],
  ['http://127.0.0.1.example.com/token', false],
  ['http://10.0.0.1/token', false],
  ['https://user:pass@login.example.com/token', false],
  ['https://login.example.com/token#here', false],
  ['ftp://localhost/token', false],
  ['login.example.com', false],
])('sends a secret to %s: %s', (url, isSafe) => {
  expect(tokenUrl().safeParse(url).success).toBe(isSafe);
  const made = () => tokens(url);
  if (isSafe) expect(made).not.toThrow();
  else expect(made).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
});
