import { afterAll, afterEach, expect, it } from 'vitest';
import { authority } from '../../../clouds/azure/authority.fixture.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { testServerlessDriver } from '../../../testing/serverless.ts';
import { functionsHost, type HostFunction } from './functions-host-wire.fixture.ts';
import driver from './index.ts';
import { failureOf, invocation, openedFunctions } from './open-functions.fixture.ts';
import { ADDRESS, httpTrigger, resourceManager, type Listed } from './resource-manager-wire.fixture.ts';

const certificate = selfSignedCertificate();

/** The conformance functions as one writes them for Azure, where a throw that is not caught has no words. */
const functions: Readonly<Record<string, HostFunction>> = {
  echo: (payload) => ({ body: payload }),
  fails: () => ({
    status: 500,
    body: { name: 'TypeError', message: 'on purpose', stack: 'TypeError: on purpose\n    at fails' },
  }),
  endless: () => undefined,
  large: (length) => ({ body: 'x'.repeat(Number(length)) }),
  random: () => ({ body: `${Math.random()}` }),
  'v2/report': (payload) => ({ body: { report: payload } }),
  heard: (_payload, headers) => ({ body: headers }),
  plain: () => ({ headers: { 'content-type': 'text/plain' }, body: 'text' }),
  quiet: () => ({ status: 204 }),
  throws: () => ({ status: 500 }),
};
const listed: readonly Listed[] = [
  ...['echo', 'fails', 'endless', 'large', 'random'].map((name) => ({
    ...{ name, bindings: httpTrigger(), language: 'node' },
  })),
  {
    name: 'report',
    bindings: httpTrigger({ route: '/v2/report', methods: ['get', 'POST'] }),
    language: 'python',
  },
  { name: 'nightly', bindings: [{ type: 'timerTrigger', name: 'timer', direction: 'in' }] },
  { name: 'order', bindings: httpTrigger({ route: 'orders/{id}' }) },
  { name: 'climbs', bindings: httpTrigger({ route: '../admin' }) },
  { name: 'reads', bindings: httpTrigger({ methods: ['get'] }) },
  { name: 'off', bindings: httpTrigger(), isDisabled: true },
  { name: 'flow', bindings: [{ type: 'orchestrationTrigger', name: 'context' }], language: 'node' },
  { name: 'odd', bindings: 'of no shape' },
  { name: 'bare' },
];

const host = await functionsHost({ functions, certificate });
const manager = await resourceManager(certificate, listed);
const tokens = await authority(certificate);
const opened = openedFunctions();
const own = {
  ...{ endpoint: host.url, function_key: host.hostKey, ca: certificate.cert },
  ...{ ...ADDRESS, management_endpoint: manager.url },
  ...{ tenant_id: 'directory', client_id: 'application', client_secret: 'worthless-3c1a' },
  authority_host: tokens.url,
};
const named = { endpoint: host.url, function_key: host.hostKey, ca: certificate.cert };
const open = (options: object = own) => opened.open({ ...options });

afterEach(() => {
  host.assertKept();
  manager.assertKept();
});
afterAll(async () => {
  await opened.close();
  for (const server of [tokens, manager, host]) await server.close();
});

testServerlessDriver({
  driver,
  engine: { mode: 'wire', name: 'what Microsoft publishes of the Functions host and its Durable API' },
  open,
});

it('lists what can be called here, from every page', async () => {
  const client = await open();
  const found = await client.listFunctions(NEVER);
  expect(found.map(({ name }) => name).toSorted()).toEqual([
    'echo',
    'endless',
    'fails',
    'flow',
    'large',
    'random',
    'report',
  ]);
  expect(found.find(({ name }) => name === 'echo')).toEqual({ name: 'echo', runtime: 'node' });
  expect(found.find(({ name }) => name === 'flow')).toEqual({
    ...{ name: 'flow', runtime: 'node', description: 'Durable orchestrator' },
  });
});

it('calls a function under the route that its listing tells, and by its name where nothing is listed', async () => {
  const client = await open();
  expect(await client.invoke('report', 7, invocation(), NEVER)).toMatchObject({ result: { report: 7 } });
  const unlisted = await open(named);
  expect(await failureOf(unlisted.invoke('report', 7, invocation(), NEVER))).toMatchObject({
    code: 'not_found',
  });
  expect(await unlisted.invoke('echo', 7, invocation(), NEVER)).toMatchObject({ result: 7 });
});

it('reads the listing once for many calls', async () => {
  const client = await open();
  const before = manager.requests.length;
  await Promise.all(Array.from({ length: 8 }, () => client.invoke('echo', 1, invocation(), NEVER)));
  expect(manager.requests.length).toBe(before);
});

it('names each attempt of an invocation alike', async () => {
  const client = await open(named);
  const one = invocation();
  const heard = [];
  for (let i = 0; i < 2; i += 1) heard.push((await client.invoke('heard', null, one, NEVER)).result);
  for (const headers of heard)
    expect(headers).toMatchObject({
      ...{ 'x-request-id': one.requestId, 'idempotency-key': `"${one.requestId}"` },
      ...{ 'content-type': 'application/json', 'x-functions-key': host.hostKey },
    });
});

it('answers text and nothing as they are, and a throw that the function did not catch by its status', async () => {
  const client = await open(named);
  expect(await client.invoke('plain', null, invocation(), NEVER)).toEqual({
    status: 'completed',
    result: 'text',
  });
  expect(await client.invoke('quiet', null, invocation(), NEVER)).toEqual({
    status: 'completed',
    result: null,
  });
  expect(await client.invoke('throws', null, invocation(), NEVER)).toEqual({
    status: 'failed',
    error: { name: 'HttpError', message: 'answered 500' },
  });
});

it('finds functions under another prefix, or under none', async () => {
  for (const routePrefix of ['', 'v1/acme']) {
    const other = await functionsHost({ functions, routePrefix });
    const client = await opened.open({
      ...{ endpoint: `${other.url}/`, function_key: other.hostKey, route_prefix: routePrefix },
    });
    expect(await client.invoke('echo', [routePrefix], invocation(), NEVER)).toMatchObject({
      result: [routePrefix],
    });
    other.assertKept();
    await client.close();
    await other.close();
  }
});

it('says what a person should know', async () => {
  const client = await open(named);
  expect(await client.check(NEVER)).toEqual([
    { level: 'info', message: 'the function key is tried when a function is called, and not before' },
  ]);
  expect(await failureOf(client.listFunctions(NEVER))).toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('subscription_id'),
  });
  const plain = await functionsHost({ functions });
  const orchestrators = ['flow'];
  const clear = await opened.open({ endpoint: plain.url, function_key: plain.hostKey, orchestrators });
  expect((await clear.check(NEVER)).filter(({ level }) => level === 'warn')).toEqual([
    { level: 'warn', message: expect.stringContaining('durable_key') },
    { level: 'warn', message: expect.stringContaining('in clear') },
  ]);
  await clear.close();
  await plain.close();
});

it('refuses names that are no function’s before anything is sent', async () => {
  const client = await open(named);
  const before = host.requests.length;
  for (const name of ['a.b', 'a:b', '-a', '_a', '1a', 'host', 'HOST', 'a'.repeat(129)])
    for (const attempt of [
      client.invoke(name, null, invocation(), NEVER),
      client.start?.(name, null, invocation(), NEVER),
    ])
      expect(await failureOf(attempt)).toMatchObject({
        code: 'invalid_argument',
        issues: [{ path: 'name' }],
      });
  expect(host.requests.length).toBe(before);
});
