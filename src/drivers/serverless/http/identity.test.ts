import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { testClock } from '../../../testing/clock.ts';
import { statusServer } from '../../../testing/faulty-servers.fixture.ts';
import { call, opened, startFunctions, type FunctionServer } from './functions.fixture.ts';

let server: FunctionServer;
/** The bearer tokens that are good; any request is, where there is no set. */
let good: Set<string> | undefined;

beforeAll(async () => {
  server = await startFunctions({
    guard: ({ headers }, response) =>
      good === undefined || good.has(headers.authorization?.replace('Bearer ', '') ?? '')
        ? false
        : response.writeHead(401, { 'content-type': 'text/plain' }).end(`who is ${headers.authorization}?`),
    nameOf: () => 'echo',
  });
});
afterAll(() => server.close());
beforeEach(() => {
  good = undefined;
  server.seen.length = 0;
});

async function sent(
  options: Readonly<Record<string, unknown>>,
  authType?: 'none' | 'api_key' | 'oauth' | 'iam',
) {
  const client = await opened({ endpoint: server.url, ...options }, { authType });
  expect(await call(client, 'default', 1)).toEqual({ status: 'completed', result: 1 });
  await client.close();
  const { authorization, 'x-functions-key': key, 'x-team': team } = server.seen.at(-1)?.headers ?? {};
  return { ...(authorization && { authorization }), ...(key && { key }), ...(team && { team }) };
}

/** A token endpoint that gives tokens a, b, c … and takes one client. */
async function authority({ tokens = 10 } = {}) {
  let given = 0;
  const issuer = await startFunctions({
    guard: ({ headers }, response) => {
      const basic = `Basic ${Buffer.from('me:its+secret').toString('base64')}`;
      if (headers.authorization !== basic)
        return response.writeHead(401).end(JSON.stringify({ error: 'invalid_client' }));
      if (given >= tokens) return; // and no answer ever
      const access_token = 'token-' + String.fromCodePoint(97 + given++);
      return response.end(JSON.stringify({ access_token, token_type: 'Bearer', expires_in: 3600 }));
    },
  });
  const options = { token_url: issuer.url, client_id: 'me', client_secret: 'its secret', scope: 'run' };
  return { options, issuer, [Symbol.asyncDispose]: issuer.close };
}

describe('what a call authenticates with', () => {
  it.each([
    ['nothing', {}, {}],
    ['a key', { api_key: 'k 1' }, { authorization: 'Bearer k 1' }],
    ['a key in a header', { api_key: 'k', api_key_header: 'X-Functions-Key' }, { key: 'k' }],
    [
      'a key of another scheme',
      { api_key: 'Token k', api_key_header: 'Authorization' },
      { authorization: 'Token k' },
    ],
    ['a password', { username: 'ann', password: 'p:é' }, { authorization: 'Basic YW5uOnA6w6k=' }],
    ['a header of the tenant', { headers: { 'X-Team': 'blue' } }, { team: 'blue' }],
  ])('is %s', async (_what, options, expected) => {
    expect(await sent(options)).toEqual(expected);
  });

  it('is a token, which is fetched once for all callers', async () => {
    await using auth = await authority();
    good = new Set(['token-a']);
    const client = await opened({ endpoint: server.url, ...auth.options }, { authType: 'oauth' });
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => call(client, 'default', i)));
    expect(answers.map(({ result }) => result)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(auth.issuer.seen).toHaveLength(1);
    expect(auth.issuer.seen[0]?.body.toString()).toBe('grant_type=client_credentials&scope=run');
    await client.close();
    await auth.issuer.idle();
  });

  it('is another token after one that was refused, which is auth_failed and not tried again here', async () => {
    await using auth = await authority();
    good = new Set(['token-b']);
    const client = await opened({ endpoint: server.url, ...auth.options });
    await expect(call(client)).rejects.toMatchObject({
      code: 'auth_failed',
      message: 'the backend answered 401: who is ***?',
    });
    expect(server.seen).toHaveLength(1);
    expect(await call(client)).toMatchObject({ status: 'completed' });
    expect(auth.issuer.seen).toHaveLength(2);
    await client.close();
  });

  it('is asked for at opening, in the stage of the credentials', async () => {
    await using auth = await authority();
    const stages: string[] = [];
    const stage = async <T>(name: string, step: () => Promise<T>): Promise<T> => {
      stages.push(name);
      return step();
    };
    const wrong = opened({ endpoint: server.url, ...auth.options, client_secret: 'wrong' }, { stage });
    await expect(wrong).rejects.toMatchObject({
      code: 'auth_failed',
      message: 'the token endpoint refused the client (401): invalid_client',
    });
    expect(stages).toEqual(['address', 'connect', 'credentials']);
    expect(server.seen).toEqual([]);
  });

  it('is waited for no longer than the function may run', async () => {
    await using auth = await authority({ tokens: 1 });
    good = new Set();
    const clock = testClock();
    const client = await opened({ endpoint: server.url, ...auth.options }, { clock });
    await expect(call(client)).rejects.toMatchObject({ code: 'auth_failed' });
    const late = call(client, 'default', null, { timeoutMs: 2_000 });
    await auth.issuer.asked(2);
    const outcome = expect(late).rejects.toMatchObject({
      code: 'timeout',
      message: 'function default ran longer than 2 s',
    });
    await clock.advance(2_000);
    await outcome;
    await client.close();
    await auth.issuer.idle();
    expect(clock.pendingTimers).toBe(0);
  });

  it('says that nothing was sent where the token endpoint is down', async () => {
    const down = await statusServer(503);
    await using auth = await authority();
    const failed = opened({ endpoint: server.url, ...auth.options, token_url: down.url });
    await expect(failed).rejects.toMatchObject({ code: 'unavailable', details: { sent: false } });
    await down.close();
  });
});

describe('auth_type', () => {
  const key = { api_key: 'k' };
  const oauth = { token_url: 'https://a.example', client_id: 'c', client_secret: 's' };
  const signing = { signing_secret: 'x'.repeat(24) };
  it.each([
    ['none', {}],
    ['none', signing],
    ['api_key', key],
    ['api_key', { username: 'u', password: 'p' }],
    ['api_key', signing],
    [undefined, key],
  ] as const)('%s takes %j', async (authType, options) => {
    await expect(sent(options, authType)).resolves.toBeDefined();
  });

  it.each([
    ['none', key],
    ['none', oauth],
    ['api_key', {}],
    ['api_key', oauth],
    ['oauth', {}],
    ['oauth', key],
    ['iam', {}],
    ['iam', key],
  ] as const)('%s refuses %j before any I/O', async (authType, options) => {
    for (const trusted of [true, false]) {
      const before = server.connections();
      const refused = opened({ endpoint: server.url, ...options }, { authType, trusted });
      await expect(refused).rejects.toMatchObject({ code: 'invalid_argument' });
      expect(server.connections()).toBe(before);
    }
  });

  it('takes nothing out of the environment of the host', async () => {
    const trap = await startFunctions();
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_USE_ENV_PROXY'])
      vi.stubEnv(name, name === 'NODE_USE_ENV_PROXY' ? '1' : trap.url);
    for (const name of ['API_KEY', 'CLIENT_SECRET', 'AUTHORIZATION']) vi.stubEnv(name, 'of the host');
    try {
      expect(await sent({})).toEqual({});
      expect(trap.connections()).toBe(0);
    } finally {
      vi.unstubAllEnvs();
      await trap.close();
    }
  });
});
