import { afterEach, describe, expect, it, vi } from 'vitest';
import type { OpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { statusServer } from '../../../testing/faulty-servers.fixture.ts';
import { clientTo, failureOf, INVOCATION, Opened, SECRET } from './clients.fixture.ts';
import { conformanceFunctions, watched } from './functions-double.fixture.ts';
import { IdentityDouble } from './identity-double.fixture.ts';
import driver from './index.ts';

const basic = `Basic ${Buffer.from(`admin:${SECRET}`).toString('base64')}`;
const opened = new Opened();
afterEach(async () => {
  vi.unstubAllEnvs();
  await opened.close();
});

async function identity(lifeSeconds?: number): Promise<IdentityDouble> {
  const double = await IdentityDouble.start(SECRET, lifeSeconds);
  opened.closeLater(() => double.close());
  return double;
}

/** What the API, and functions, were sent as `Authorization`. */
function sentTo(gateway: Awaited<ReturnType<Opened['gateway']>>) {
  const of = (route: string) => [...new Set(gateway.at(route).map(({ headers }) => headers.authorization))];
  return { api: of('GET /system/'), calls: of('POST /function/'), queue: of('POST /async-function/') };
}

async function useAll(client: Awaited<ReturnType<typeof clientTo>>): Promise<void> {
  const callbackUrl = 'https://registry.example/callbacks/1';
  await client.listFunctions(NEVER);
  await client.invoke('echo', null, INVOCATION, NEVER);
  await client.start?.('echo', null, { ...INVOCATION, callbackUrl }, NEVER);
}

describe('credentials', () => {
  it('are sent to the API alone, because a function would see them and the queue would keep them', async () => {
    const { client, gateway } = await opened.both(
      { admits: (given) => (given === basic ? 'yes' : 'no') },
      { password: SECRET },
      { authType: 'api_key' },
    );
    await useAll(client);
    expect(sentTo(gateway)).toEqual({ api: [basic], calls: [undefined], queue: [undefined] });
  });

  it('go with calls where the options say so', async () => {
    const bearer = `Bearer ${SECRET}`;
    const { client, gateway } = await opened.both(
      { admits: (given) => (given === bearer ? 'yes' : 'no'), admitsCall: (given) => given === bearer },
      { api_key: SECRET, invoke_auth: 'same' },
      { authType: 'api_key' },
    );
    await useAll(client);
    expect(sentTo(gateway)).toEqual({ api: [bearer], calls: [bearer], queue: [bearer] });
  });

  it('have the user that is given', async () => {
    const other = `Basic ${Buffer.from(`bøb:${SECRET}`).toString('base64')}`;
    const { gateway } = await opened.both({}, { username: 'bøb', password: SECRET });
    expect(sentTo(gateway).api).toEqual([other]);
  });

  it.each([
    ['none with a password', { password: SECRET }, 'none'],
    ['none with a key', { api_key: SECRET }, 'none'],
    ['api_key without one', {}, 'api_key'],
    ['oauth without a client', { api_key: SECRET }, 'oauth'],
    ['iam', { password: SECRET }, 'iam'],
  ] as const)('and auth_type %s is refused before any I/O', async (_what, options, authType) => {
    const gateway = await opened.gateway();
    const failure = await failureOf(clientTo(gateway.url, options, { authType }));
    expect(failure).toMatchObject({ code: 'invalid_argument' });
    expect(gateway.seen).toEqual([]);
  });

  const endpoint = 'https://gateway.example';
  const client = { client_id: 'robot', client_secret: SECRET, token_url: 'https://idp.example/token' };
  it.each([
    ['two kinds', { endpoint, password: SECRET, api_key: SECRET }, 'api_key'],
    ['a client and a password', { endpoint, password: SECRET, ...client }, 'client_id'],
    ['half a client', { endpoint, client_id: 'robot', client_secret: SECRET }, 'token_url'],
    [
      'a token endpoint in clear',
      { endpoint, ...client, token_url: 'http://idp.example/token' },
      'token_url',
    ],
    ['a user in the endpoint', { endpoint: 'https://admin:x@gateway.example' }, 'endpoint'],
    ['a query in the endpoint', { endpoint: `${endpoint}?a` }, 'endpoint'],
    ['a password to exchange', { endpoint, password: SECRET, invoke_auth: 'function_token' }, 'invoke_auth'],
    ['nothing to send', { endpoint, invoke_auth: 'same' }, 'invoke_auth'],
    ['a key with a line end', { endpoint, api_key: 'a\nb' }, 'api_key'],
    ['a namespace that is none', { endpoint, namespace: '../system' }, 'namespace'],
    ['an unknown option', { endpoint, paswoord: SECRET }, undefined],
  ])('%s are no options', (_what, options, path) => {
    const parsed = driver.options.safeParse(options);
    expect(parsed.success).toBe(false);
    expect(parsed.error?.issues[0]?.path[0]).toBe(path);
  });

  it('of the host are never looked for, whoever made the connector', async () => {
    const host = await statusServer(200, { access_token: 'of-the-host' });
    opened.closeLater(() => host.close());
    vi.stubEnv('OPENFAAS_URL', host.url);
    vi.stubEnv('HTTP_PROXY', host.url);
    vi.stubEnv('http_proxy', host.url);
    vi.stubEnv('KUBERNETES_SERVICE_HOST', host.host);
    vi.stubEnv('KUBERNETES_SERVICE_PORT', String(host.port));
    vi.stubEnv('AWS_CONTAINER_CREDENTIALS_FULL_URI', host.url);
    for (const trusted of [false, true]) {
      const { client, gateway } = await opened.both({}, {}, { trusted, authType: 'none' });
      await useAll(client);
      expect(sentTo(gateway)).toEqual({ api: [undefined], calls: [undefined], queue: [undefined] });
      const iam = await failureOf(clientTo(gateway.url, {}, { trusted, authType: 'iam' }));
      expect(iam).toMatchObject({ code: 'invalid_argument' });
    }
    expect(host.connections()).toBe(0);
  });
});

describe('a client of the identity provider', () => {
  async function signedIn(options: Readonly<Record<string, unknown>> = {}, lifeSeconds?: number) {
    const provider = await identity(lifeSeconds);
    // Calls need no token unless the function asks for one.
    const { admitsCall: _ofFunctions, ...iam } = provider.gateway();
    const clock = testClock();
    const context: Partial<OpenContext> = { authType: 'oauth', clock };
    const all = { ...provider.options, ...options };
    const gatewayOptions = options['invoke_auth'] === undefined ? iam : provider.gateway();
    return { clock, provider, ...(await opened.both(gatewayOptions, all, context)) };
  }

  it('gets a token there, exchanges it once for all who wait, and uses that for the API', async () => {
    const { client, gateway, provider } = await signedIn({ scope: 'email', audience: 'openfaas' });
    await Promise.all(Array.from({ length: 20 }, () => client.listFunctions(NEVER)));
    expect(provider.logins.map((form) => Object.fromEntries(form))).toEqual([
      { grant_type: 'client_credentials', scope: 'email', audience: 'openfaas' },
    ]);
    expect(provider.exchanges.map((form) => Object.fromEntries(form))).toEqual([
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
        subject_token: `${SECRET}.1`,
      },
    ]);
    expect(sentTo(gateway).api).toEqual([`Bearer ${SECRET}.2`]);
    expect(await client.check(NEVER)).toMatchObject([{ message: expect.stringContaining('in clear') }]);
  });

  it('renews the token before its end', async () => {
    const { client, clock, provider } = await signedIn({}, 100);
    await clock.advance(89_000);
    await client.listFunctions(NEVER);
    expect(provider.exchanges).toHaveLength(1);
    await clock.advance(2_000);
    await Promise.all([client.listFunctions(NEVER), client.listFunctions(NEVER)]);
    expect(provider.exchanges).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
  });

  it('gets others where these are no longer taken, once', async () => {
    const { client, provider } = await signedIn();
    provider.revoke();
    expect(await client.listFunctions(NEVER)).toHaveLength(5);
    // The exchange found out that the provider's token was worth nothing, too.
    expect([provider.logins.length, provider.exchanges.length]).toEqual([2, 3]);
  });

  it('calls a function with a token for that one alone', async () => {
    const functions = { ...conformanceFunctions(), 'fn.dev': watched(() => ({ body: '1' })) };
    const provider = await identity();
    const { client, gateway } = await opened.both(
      { ...provider.gateway(), functions },
      { ...provider.options, invoke_auth: 'function_token' },
      { authType: 'oauth' },
    );
    for (const name of ['echo', 'echo', 'fn.dev'])
      expect(await client.invoke(name, 1, INVOCATION, NEVER)).toMatchObject({ result: 1 });
    const asked = provider.exchanges.map((form) => [form.get('scope'), form.get('audience')]);
    expect(asked).toEqual([
      [null, null],
      ['function', 'openfaas-fn:echo'],
      ['function', 'dev:fn'],
    ]);
    expect(sentTo(gateway).calls).toEqual([`Bearer ${SECRET}.3`, `Bearer ${SECRET}.4`]);
    provider.revoke();
    expect(await client.invoke('echo', 2, INVOCATION, NEVER)).toMatchObject({ result: 2 });
  });

  it('that the provider refuses is auth_failed, at its stage', async () => {
    const provider = await identity();
    const gateway = await opened.gateway(provider.gateway());
    const options = { ...provider.options, client_secret: `${SECRET}-not` };
    const failure = await failureOf(clientTo(gateway.url, options, { authType: 'oauth' }));
    expect(failure).toMatchObject({ code: 'auth_failed', details: { sent: false } });
    expect(gateway.seen).toEqual([]);
  });

  it.each([
    [400, {}, 'auth_failed'],
    [401, {}, 'auth_failed'],
    [403, {}, 'auth_failed'],
    [404, {}, 'auth_failed'],
    [429, {}, 'rate_limited'],
    [500, {}, 'unavailable'],
    [418, {}, 'backend_error'],
    [200, { token: 'x' }, 'backend_error'],
    [200, { access_token: 'a b', expires_in: 1 }, 'backend_error'],
    [200, { access_token: 'x', expires_in: 'soon' }, 'backend_error'],
    [200, 'welcome', 'backend_error'],
  ])('whose exchange is answered %i %j is refused with %s', async (status, body, code) => {
    const provider = await identity();
    const exchange = () => ({ status, body: typeof body === 'string' ? body : { ...body, echo: SECRET } });
    const gateway = await opened.gateway({ ...provider.gateway(), exchange });
    const failure = await failureOf(clientTo(gateway.url, provider.options, { authType: 'oauth' }));
    expect(failure).toMatchObject({ code, details: { sent: false } });
    expect(gateway.at('GET')).toEqual([]);
  });

  it('sends the token of the provider itself without an exchange', async () => {
    const { client, gateway, provider } = await (async () => {
      const double = await identity();
      const both = await opened.both({}, { ...double.options, token_exchange: false }, { authType: 'oauth' });
      return { ...both, provider: double };
    })();
    await client.listFunctions(NEVER);
    expect(provider.exchanges).toEqual([]);
    expect(sentTo(gateway).api).toEqual([`Bearer ${SECRET}.1`]);
  });

  it('who gives up leaves the token to the others', async () => {
    const provider = await identity();
    const held = Promise.withResolvers<void>();
    let isHeld = false;
    const gateway = await opened.gateway({
      ...provider.gateway(),
      instead: ({ route, body }, response) => {
        if (!isHeld || route !== 'POST /oauth/token') return undefined;
        void held.promise.then(() => {
          const { body: answer } = provider.gateway().exchange?.(new URLSearchParams(body)) ?? { body: '' };
          response.end(JSON.stringify(answer));
        });
        return true;
      },
    });
    const options = { ...provider.options, invoke_auth: 'function_token' };
    const client = await opened.client(gateway.url, options, { authType: 'oauth' });
    isHeld = true;
    const caller = new AbortController();
    const asked = gateway.asked();
    const left = failureOf(client.invoke('echo', 1, INVOCATION, caller.signal));
    const stays = client.invoke('echo', 2, INVOCATION, NEVER);
    await asked;
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    held.resolve();
    expect(await stays).toMatchObject({ result: 2 });
    expect(gateway.at('POST /oauth/token')).toHaveLength(2);
  });
});

it('fetches another token where a watchdog marks that it took none', async () => {
  const provider = await identity();
  const refused: (string | undefined)[] = [];
  const { client } = await opened.both(
    {
      ...provider.gateway(),
      instead: ({ route, headers }, response) => {
        if (!route.startsWith('POST /function/') || refused.length > 0) return undefined;
        refused.push(headers.authorization);
        const marks = { 'x-openfaas-internal': 'of-watchdog', 'x-duration-seconds': '0.000100' };
        response.writeHead(401, { 'x-start-time': '1', ...marks }).end();
        return true;
      },
    },
    { ...provider.options, invoke_auth: 'function_token' },
  );
  expect(await client.invoke('echo', 1, INVOCATION, NEVER)).toMatchObject({ result: 1 });
  expect(refused).toEqual([`Bearer ${SECRET}.3`]);
});

it('exchanges a key for the token of a function, too', async () => {
  const provider = await identity();
  const { exchange = () => ({ status: 500, body: '' }) } = provider.gateway();
  const { client, gateway } = await opened.both(
    {
      admits: (given) => (given === `Bearer ${SECRET}` ? 'yes' : 'no'),
      admitsCall: (given) => given === 'Bearer for-one',
      exchange: (form) =>
        form.get('subject_token') === SECRET && form.get('audience') === 'openfaas-fn:echo'
          ? { status: 200, body: { access_token: 'for-one' } }
          : exchange(form),
    },
    { api_key: SECRET, invoke_auth: 'function_token' },
  );
  expect(await client.invoke('echo', 1, INVOCATION, NEVER)).toMatchObject({ result: 1 });
  const refused = await failureOf(client.invoke('fails', 1, INVOCATION, NEVER));
  expect(refused).toMatchObject({ code: 'auth_failed', details: { sent: false } });
  expect(sentTo(gateway).calls).toEqual(['Bearer for-one']);
});
