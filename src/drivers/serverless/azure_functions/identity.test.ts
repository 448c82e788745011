import { inspect } from 'node:util';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { authority, managedIdentity } from '../../../clouds/azure/authority.fixture.ts';
import type { OpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { testClock } from '../../../testing/clock.ts';
import { blackHole, selfSigned } from '../../../testing/faulty-servers.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import { functionsHost } from './functions-host-wire.fixture.ts';
import { failureOf, invocation, openedFunctions } from './open-functions.fixture.ts';
import { ADDRESS, httpTrigger, resourceManager } from './resource-manager-wire.fixture.ts';

const SECRET = 'worthless-8e1d';
const AUDIENCE = 'api://acme-app';
const certificate = selfSignedCertificate();
const functions = { echo: (payload: unknown) => ({ body: payload }) };
const orchestrators = { flow: () => ({ runtimeStatus: 'Completed', output: 'done' }) };
const keyed = await functionsHost({ functions, orchestrators, certificate });
const guarded = await functionsHost({
  functions: { echo: functions.echo },
  ...{ certificate, guard: AUDIENCE },
});
const manager = await resourceManager(certificate, [
  ...['echo', 'b', 'c'].map((name) => ({ name, bindings: httpTrigger() })),
  { name: 'flow', bindings: [{ type: 'orchestrationTrigger' }] },
]);
const tokens = await authority(certificate);
// The identity library keeps where it found the host's identity first, for the whole process.
const machine = await managedIdentity();
const opened = openedFunctions();

beforeEach(() => {
  tokens.reset();
  machine.reset();
  manager.refuse();
  for (const { requests } of [keyed, guarded, manager]) requests.length = 0;
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await opened.close();
  for (const double of [keyed, guarded, manager]) double.assertKept();
});
afterAll(async () => {
  for (const server of [machine, tokens, manager, guarded, keyed]) await server.close();
});

const ca = certificate.cert;
const byKey = { endpoint: keyed.url, function_key: keyed.hostKey, ca };
const byToken = { endpoint: guarded.url, function_key: guarded.hostKey, audience: AUDIENCE, ca };
const principal = {
  ...{ tenant_id: 'directory', client_id: 'application', client_secret: SECRET },
  authority_host: tokens.url,
};
const listing = { ...ADDRESS, management_endpoint: manager.url };
const heard = (requests: typeof keyed.requests) => requests.map(({ headers }) => headers);

describe('keys', () => {
  it('go where each belongs, and to no home page', async () => {
    const client = await opened.open(
      { ...byKey, durable_key: keyed.systemKey, orchestrators: ['flow'] },
      { authType: 'api_key' },
    );
    await client.invoke('echo', 1, invocation(), NEVER);
    await client.invoke('flow', 1, invocation(), NEVER);
    const sent = new Set(
      keyed.requests.map(({ path, headers }) => [path.split('/')[1], headers['x-functions-key']].join()),
    );
    expect([...sent].toSorted()).toEqual([',', `api,${keyed.hostKey}`, `runtime,${keyed.systemKey}`]);
  });

  it('that are wrong are auth_failed', async () => {
    const client = await opened.open({ ...byKey, function_key: 'wrong-key-2f' });
    const failure = await failureOf(client.invoke('echo', 1, invocation(), NEVER));
    expect(failure).toMatchObject({ code: 'auth_failed' });
    expect(inspect(failure, { depth: 12, showHidden: true })).not.toContain('wrong-key-2f');
  });

  it('are not needed for functions that are open to all', async () => {
    const open = await functionsHost({ functions, anonymous: ['echo'] });
    const client = await opened.open({ endpoint: open.url }, { authType: 'none' });
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ result: 1 });
    expect(open.requests.map(({ headers }) => headers['x-functions-key'])).toEqual([undefined, undefined]);
    await client.close();
    await open.close();
  });
});

describe('a service principal', () => {
  const asPrincipal = { authType: 'oauth' } satisfies Partial<OpenContext>;

  it('gets a token for the app, once for all callers', async () => {
    const client = await opened.open({ ...byToken, ...principal }, asPrincipal);
    await Promise.all(Array.from({ length: 8 }, (_, i) => client.invoke('echo', i, invocation(), NEVER)));
    expect(tokens.requests).toMatchObject([
      {
        ...{ method: 'POST', path: '/directory/oauth2/v2.0/token' },
        form: {
          ...{ grant_type: 'client_credentials', client_id: 'application', client_secret: SECRET },
          scope: `${AUDIENCE}/.default`,
        },
      },
    ]);
    for (const { authorization } of heard(guarded.requests)) expect(authorization).toMatch(/^Bearer \S+$/);
    expect(JSON.stringify(guarded.requests)).not.toContain(SECRET);
  });

  it('gets another one where the app refused it', async () => {
    const client = await opened.open({ ...byToken, ...principal }, asPrincipal);
    guarded.answerNext({ status: 401 });
    expect(await failureOf(client.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      code: 'auth_failed',
    });
    expect(tokens.requests).toHaveLength(1);
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ result: 1 });
    expect(tokens.requests).toHaveLength(2);
  });

  it('lists with a token for Azure Resource Manager, which the app never sees', async () => {
    const client = await opened.open({ ...byKey, ...listing, ...principal }, asPrincipal);
    expect((await client.listFunctions(NEVER)).map(({ name }) => name)).toEqual(['echo', 'b', 'c', 'flow']);
    expect(tokens.requests.map(({ form }) => form['scope'])).toEqual([`${manager.url}/.default`]);
    for (const { authorization } of heard(keyed.requests)) expect(authorization).toBeUndefined();
    expect(JSON.stringify(manager.requests)).not.toContain(keyed.hostKey);
  });

  it('recognises orchestrators by the listing', async () => {
    const options = { ...byKey, ...listing, ...principal, durable_key: keyed.systemKey };
    const client = await opened.open(options, asPrincipal);
    expect(await client.invoke('flow', 1, invocation(), NEVER)).toMatchObject({ result: 'done' });
    expect(await client.start?.('flow', 1, invocation(), NEVER)).toMatchObject({
      kind: 'durable orchestration',
    });
    expect(await client.start?.('echo', 1, invocation(), NEVER)).toBeUndefined();
  });

  it('that is refused fails to open, tells no secret, and sends nothing to the app', async () => {
    const description = `AADSTS7000215: Invalid client secret provided: ${SECRET}`;
    tokens.refuse(401, { error: 'invalid_client', error_description: description, error_codes: [7000215] });
    for (const options of [
      { ...byToken, ...principal },
      { ...byKey, ...listing, ...principal },
    ]) {
      const failure = await failureOf(opened.open(options, asPrincipal));
      expect(failure).toMatchObject({
        code: 'auth_failed',
        message: expect.stringContaining('invalid_client'),
      });
      expect(inspect(failure, { depth: 12, showHidden: true })).not.toContain(SECRET);
    }
    expect(guarded.requests).toEqual([]);
  });

  it('whose token cannot be renewed says that nothing was sent', async () => {
    const clock = testClock();
    const client = await opened.open({ ...byToken, ...principal }, { ...asPrincipal, clock });
    guarded.requests.length = 0;
    await clock.advance(3_600_000);
    tokens.refuse(503, {});
    expect(await failureOf(client.invoke('echo', 1, invocation(), NEVER))).toMatchObject({
      ...{ code: 'unavailable', details: { sent: false } },
    });
    expect(guarded.requests).toEqual([]);
  });
});

describe('Azure Resource Manager', () => {
  const open = (context: Partial<OpenContext> = {}) =>
    opened.open({ ...byKey, ...listing, ...principal, durable_key: keyed.systemKey }, context);

  it.each([
    [403, 'Reader'],
    [404, 'acme-app'],
    [503, '503'],
  ])('that answers %d keeps nobody from calling functions by their names', async (status, words) => {
    manager.refuse(status, { error: { code: 'Words', message: 'words' } }, { 'retry-after': '9' });
    const client = await open();
    expect(await client.check(NEVER)).toContainEqual({
      level: 'warn',
      message: expect.stringMatching(new RegExp(`^functions cannot be listed: .*${words}`)),
    });
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ result: 1 });
  });

  it('that does not answer leaves open whether a function is an orchestrator', async () => {
    const clock = testClock();
    manager.refuse(503);
    const client = await open({ clock });
    expect(await failureOf(client.start?.('flow', 1, invocation(), NEVER))).toMatchObject({
      ...{ code: 'unavailable', details: { sent: false } },
    });
    manager.refuse();
    const before = manager.requests.length;
    expect(await failureOf(client.start?.('flow', 1, invocation(), NEVER))).toMatchObject({
      code: 'unavailable',
    });
    expect(manager.requests.length).toBe(before);
    await clock.advance(30_000);
    expect(await client.start?.('flow', 1, invocation(), NEVER)).toMatchObject({
      kind: 'durable orchestration',
    });
    await clock.advance(300_000);
    manager.refuse(503);
    expect(await client.start?.('flow', 1, invocation(), NEVER)).toMatchObject({
      kind: 'durable orchestration',
    });
    manager.refuse(403);
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({ code: 'permission_denied' });
  });

  it('that refuses the identity is auth_failed, and is busy for as long as it says', async () => {
    manager.refuse(401, { error: { code: 'ExpiredAuthenticationToken', message: 'words' } });
    expect(await failureOf(open())).toMatchObject({ code: 'auth_failed' });
    manager.refuse();
    const client = await open();
    manager.refuse(429, {}, { 'retry-after': '17' });
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({
      ...{ code: 'rate_limited', retryAfterMs: 17_000 },
    });
    for (const body of ['<html>', { value: 'none' }, {}]) {
      manager.refuse(200, body);
      expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({ code: 'backend_error' });
    }
  });

  it('leads no token to another host, and none is asked through a proxy of the environment', async () => {
    const elsewhere = opened.keep(await selfSigned());
    const proxy = opened.keep(await blackHole());
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY']) vi.stubEnv(name, proxy.url);
    const client = await open();
    manager.refuse(200, { value: [], nextLink: `${elsewhere.url}/next` });
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({ code: 'backend_error' });
    manager.refuse(302, {}, { location: `${elsewhere.url}/next` });
    expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({ code: 'backend_error' });
    expect(elsewhere.connections()).toBe(0);
    expect(proxy.connections()).toBe(0);
    vi.stubEnv('HTTPS_PROXY', 'no address at all');
    manager.refuse();
    await open();
  });

  it('is waited for no longer than the signal', async () => {
    const silent = opened.keep(await blackHole());
    const ending = new AbortController();
    const options = {
      ...byKey,
      ...listing,
      ...principal,
      authority_host: silent.url.replace('http:', 'https:'),
    };
    const opening = failureOf(opened.open(options, { signal: ending.signal }));
    await silent.connected();
    ending.abort();
    expect(await opening).toMatchObject({ code: 'cancelled' });
    await silent.idle();
  });
});

describe('the identity of the host', () => {
  const asHost = { authType: 'iam', trusted: true } satisfies Partial<OpenContext>;
  beforeEach(() => {
    vi.stubEnv('IDENTITY_ENDPOINT', `${machine.url}/msi/token`);
    vi.stubEnv('IDENTITY_HEADER', 'header-of-the-host');
    for (const name of ['AZURE_CLIENT_ID', 'AZURE_CLIENT_SECRET', 'AZURE_TENANT_ID'])
      vi.stubEnv(name, 'canary-8f02');
  });

  it('calls and lists by tokens of its managed identity', async () => {
    vi.stubEnv('AZURE_CLIENT_ID', undefined);
    const client = await opened.open({ ...byToken, ...listing }, asHost);
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ result: 1 });
    expect(await client.listFunctions(NEVER)).toHaveLength(4);
    expect(
      machine.requests.map(({ query, headers }) => [query['resource'], headers['x-identity-header']]),
    ).toEqual([
      [AUDIENCE, 'header-of-the-host'],
      [manager.url, 'header-of-the-host'],
    ]);
  });

  it('is not for a connector that no administrator made', async () => {
    for (const options of [byToken, { ...byKey, ...listing }, { ...byToken, identity_client_id: 'x' }])
      expect(await failureOf(opened.open(options, { authType: 'iam', trusted: false }))).toMatchObject({
        ...{ code: 'permission_denied', message: expect.stringContaining('administrator') },
      });
    // Nor is it what is taken where nothing else was given.
    for (const context of [{}, { authType: 'none' }, { authType: 'api_key' }] as const)
      for (const trusted of [true, false])
        expect(await failureOf(opened.open(byToken, { ...context, trusted }))).toMatchObject({
          code: 'invalid_argument',
        });
    expect([...machine.requests, ...tokens.requests, ...guarded.requests, ...keyed.requests]).toEqual([]);
  });

  it('is not asked where the connector has an identity of its own', async () => {
    const client = await opened.open({ ...byToken, ...principal }, asHost);
    expect(await client.invoke('echo', 1, invocation(), NEVER)).toMatchObject({ result: 1 });
    expect(machine.requests).toEqual([]);
    expect(tokens.requests.map(({ form }) => form['client_id'])).toEqual(['application']);
  });

  it('that gives no token is auth_failed, and tells nothing of the host', async () => {
    machine.refuse(400, { error: 'invalid_request', error_description: 'Identity not found' });
    const failure = await failureOf(opened.open({ ...byToken, identity_client_id: 'unknown' }, asHost));
    expect(failure).toMatchObject({ code: 'auth_failed', message: expect.stringContaining(AUDIENCE) });
    expect(inspect(failure, { depth: 12, showHidden: true })).not.toContain('header-of-the-host');
  });
});

it('leaves no connection behind, whether it was opened or not', async () => {
  let live = 0;
  const own = openContext({ folder: '/nowhere' }).network;
  const counting: OpenContext['network'] = {
    ...own,
    fetcher(options) {
      const fetcher = own.fetcher(options);
      live += 1;
      let isOpen = true;
      const close = async (): Promise<void> => {
        if (isOpen) live -= 1;
        isOpen = false;
        await fetcher.close();
      };
      return { ...fetcher, close };
    },
  };
  const options = { ...byToken, ...listing, ...principal };
  const client = await opened.open(options, { network: counting });
  // The app, Azure Resource Manager, and the authority for each of them.
  expect(live).toBe(4);
  await client.close();
  expect(live).toBe(0);
  manager.refuse(401);
  expect(await failureOf(opened.open(options, { network: counting }))).toMatchObject({ code: 'auth_failed' });
  expect(live).toBe(0);
});

describe('auth_type', () => {
  it.each([
    ['api_key', { endpoint: keyed.url }, 'function_key'],
    ['oauth', byToken, 'client_id'],
    ['oauth', { ...byKey, ...principal }, 'audience'],
    ['iam', byKey, 'audience'],
    [undefined, { ...byKey, ...principal }, 'audience'],
    [undefined, { ...byKey, ...listing }, 'client_id'],
  ] as const)('%s refuses what does not go with it', async (authType, options, path) => {
    expect(await failureOf(opened.open(options, { authType, trusted: true }))).toMatchObject({
      ...{ code: 'invalid_argument', issues: [{ path }] },
    });
    expect(keyed.requests).toEqual([]);
  });
});
