import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { testServerlessDriver } from '../../../testing/serverless.ts';
import { clientTo, INVOCATION, Opened, REQUEST_ID, SECRET } from './clients.fixture.ts';
import { conformanceFunctions, handler, watched } from './functions-double.fixture.ts';
import { GatewayDouble } from './gateway-double.fixture.ts';
import driver from './index.ts';

const basic = `Basic ${Buffer.from(`admin:${SECRET}`).toString('base64')}`;
const admits = (authorization: string | undefined) => (authorization === basic ? 'yes' : 'no');

// A double of the gateway's documented contract: no OpenFaaS runs here.
const shared = await GatewayDouble.start({ functions: conformanceFunctions(), admits });
afterAll(async () => {
  await shared.close();
  shared.assertNoProblems();
});
testServerlessDriver({
  driver,
  engine: { mode: 'wire', name: 'what OpenFaaS publishes of its gateway' },
  open: () => clientTo(shared.url, { password: SECRET }),
});

const opened = new Opened();
afterEach(() => opened.close());

describe('a call', () => {
  it('is POST /function/NAME with the payload, the id of the invocation and no credentials', async () => {
    const { client, gateway } = await opened.both({ admits }, { password: SECRET });
    const outcome = await client.invoke('echo', { a: 1 }, INVOCATION, NEVER);
    expect(outcome).toEqual({ status: 'completed', result: { a: 1 }, durationMs: 12.5 });
    const [call] = gateway.at('POST');
    expect(call).toMatchObject({
      route: 'POST /function/echo',
      body: '{"a":1}',
      headers: {
        'x-call-id': REQUEST_ID,
        'x-request-id': REQUEST_ID,
        'idempotency-key': `"${REQUEST_ID}"`,
        'content-type': 'application/json',
      },
    });
    expect(call?.headers.authorization).toBeUndefined();
  });

  it('goes to the namespace of the connector, or to the one in the name', async () => {
    const functions = {
      'fn.dev': handler(() => 'dev'),
      'fn.staging': handler(() => 'staging'),
      fn: handler(() => 'default'),
    };
    const { client: open, gateway } = await opened.both({ functions });
    const results = [];
    for (const name of ['fn', 'fn.dev', 'fn.staging'])
      results.push((await open.invoke(name, null, INVOCATION, NEVER)).result);
    expect(results).toEqual(['default', 'dev', 'staging']);
    const own = await opened.client(gateway.url, { namespace: 'dev' });
    expect(await own.invoke('fn', null, INVOCATION, NEVER)).toMatchObject({ result: 'dev' });
    expect(await own.invoke('fn.dev', null, INVOCATION, NEVER)).toMatchObject({ result: 'dev' });
    expect((await own.listFunctions(NEVER)).map(({ name }) => name)).toEqual(['fn']);
  });

  it.each(['a:b', 'a.b.c', '-.', 'a.', '.a', 'fn.staging'])(
    'of %s is refused before any I/O',
    async (name) => {
      const { client, gateway } = await opened.both({}, { namespace: 'dev' });
      const before = gateway.seen.length;
      const refused = { code: 'invalid_argument', issues: [{ path: 'name' }] };
      await expect(client.invoke(name, null, INVOCATION, NEVER)).rejects.toMatchObject(refused);
      const native = { ...INVOCATION, callbackUrl: 'https://registry.example/callback' };
      await expect(client.start?.(name, null, native, NEVER)).rejects.toMatchObject(refused);
      await expect(client.logs?.(name, 1, NEVER)).rejects.toMatchObject(refused);
      expect(gateway.seen).toHaveLength(before);
    },
  );

  it('keeps a path before the gateway', async () => {
    const gateway = await opened.gateway({
      instead: ({ route }, response) => {
        expect(route).toMatch(/^(?:GET \/faas\/system\/info|POST \/faas\/function\/echo)$/);
        response.writeHead(200, { 'content-type': 'application/json', 'x-start-time': '1' });
        response.end('{"provider":null,"version":null,"arch":"x86_64"}');
        return true;
      },
    });
    const client = await opened.client(`${gateway.url}/faas/`);
    expect(await client.invoke('echo', null, INVOCATION, NEVER)).toMatchObject({ status: 'completed' });
  });
});

describe('an answer', () => {
  const ways = {
    'text of a function without a type, which the provider gives that of the request': [
      watched(() => ({ body: ' _   _ \n| |_| |' })),
      { status: 'completed', result: ' _   _ \n| |_| |' },
    ],
    'JSON of a function without a type': [
      watched(() => ({ body: '[1]' })),
      { status: 'completed', result: [1] },
    ],
    'nothing of a function': [watched(() => ({ status: 204 })), { status: 'completed', result: null }],
    'text by its type': [
      watched(() => ({ headers: { 'content-type': 'text/plain' }, body: '{"a":1}' })),
      { status: 'completed', result: '{"a":1}' },
    ],
    'bytes that are no text': [
      watched(() => ({ headers: { 'content-type': 'image/png' }, body: Buffer.from([0x89, 0xff, 0xfe]) })),
      { status: 'failed', error: { name: 'ResultError', message: 'answered 3 bytes that are not text' } },
    ],
    'a throw': [
      handler(() => {
        throw new RangeError('too far');
      }),
      { status: 'failed', error: { name: 'RangeError', message: 'too far', stack: expect.any(String) } },
    ],
    'text of a failure': [
      watched(() => ({ status: 500, body: 'exit status 1\nTraceback' })),
      { status: 'failed', error: { name: 'HttpError', message: 'answered 500: exit status 1 Traceback' } },
    ],
    'a failure of a container without a watchdog': [
      () => ({ status: 500, body: '' }),
      { status: 'failed', error: { name: 'HttpError', message: 'answered 500' } },
    ],
    'a crash, of which the watchdog tells': [
      watched(() => ({ status: 500, headers: { 'x-openfaas-internal': 'of-watchdog' } })),
      { status: 'failed', error: { name: 'HttpError', message: 'answered 500' } },
    ],
    'a 404 of the function itself': [
      watched(() => ({ status: 404, body: 'no such order' })),
      { status: 'failed', error: { name: 'HttpError', message: 'answered 404: no such order' } },
    ],
    'a 401 of the function itself': [
      watched(() => ({ status: 401, body: '{"error":{"name":"Denied","message":"log in"}}' })),
      { status: 'failed', error: { name: 'Denied', message: 'log in' } },
    ],
    'a refusal of the payload': [
      watched(() => ({ status: 422, body: 'what is that?' })),
      { status: 'failed', error: { name: 'HttpError', message: 'answered 422: what is that?' } },
    ],
  } as const;

  it.each(Object.entries(ways))('of %s is told', async (_what, [fn, outcome]) => {
    const { client } = await opened.both({ functions: { fn } });
    const told = await client.invoke('fn', null, INVOCATION, NEVER);
    const { durationMs: _time, ...rest } = told;
    expect(rest).toEqual(outcome);
  });
});

describe('a listing', () => {
  it('has what the provider tells of each function', async () => {
    const extra = {
      echo: {
        limits: { memory: '128Mi', cpu: '100m' },
        envVars: { exec_timeout: '1m30s' },
        annotations: { description: 'Says it again', topics: 'x' },
      },
      fails: { limits: { memory: '256M' }, envVars: { exec_timeout: '20' }, labels: {} },
      large: { limits: { memory: 'a lot' }, envVars: { exec_timeout: 'soon' } },
    };
    const { client } = await opened.both({ extra });
    const found = (await client.listFunctions(NEVER)).filter(({ name }) => name in extra);
    expect(found).toEqual([
      {
        ...{ name: 'echo', version: 'registry.example/echo:1.0.4', memoryMb: 128 },
        ...{ timeoutSeconds: 90, description: 'Says it again' },
      },
      { name: 'fails', version: 'registry.example/fails:1.0.5', memoryMb: 244, timeoutSeconds: 20 },
      { name: 'large', version: 'registry.example/large:1.0.5' },
    ]);
  });

  it('without functions is empty', async () => {
    const { client } = await opened.both({ functions: {} });
    expect(await client.listFunctions(NEVER)).toEqual([]);
  });
});

describe('what functions wrote', () => {
  const line = (name: string, instance: string, second: number, text: string) => ({
    ...{ name, namespace: 'openfaas-fn', instance, text: `${text}\n` },
    timestamp: `2026-11-28T10:00:0${second}.123456789Z`,
  });
  const logs = [
    ...[line('echo', 'echo-a', 1, 'one'), line('echo', 'echo-a', 3, `POST / - 200 OK [${REQUEST_ID}]`)],
    ...[
      line('echo', 'echo-a', 5, 'five'),
      line('echo', 'echo-b', 2, 'two'),
      line('echo', 'echo-b', 4, 'four'),
    ],
    line('fails', 'fails-a', 9, 'of another'),
  ];

  it('is read newest last from all replicas, with the id of the call where the watchdog wrote it', async () => {
    const { client, gateway } = await opened.both({ logs });
    expect(await client.logs?.('echo', 3, NEVER)).toEqual([
      {
        at: new Date('2026-11-28T10:00:03.123Z'),
        text: `POST / - 200 OK [${REQUEST_ID}]`,
        requestId: REQUEST_ID,
      },
      { at: new Date('2026-11-28T10:00:04.123Z'), text: 'four' },
      { at: new Date('2026-11-28T10:00:05.123Z'), text: 'five' },
    ]);
    expect(gateway.at('GET /system/logs')).toMatchObject([
      { route: 'GET /system/logs?name=echo&tail=3&follow=false' },
    ]);
  });

  it('is of the namespace in the name', async () => {
    const { client, gateway } = await opened.both({
      functions: { 'fn.dev': handler(() => 1) },
      logs: [{ ...line('fn', 'fn-a', 1, 'there'), namespace: 'dev' }],
    });
    expect(await client.logs?.('fn.dev', 10, NEVER)).toMatchObject([{ text: 'there' }]);
    expect(gateway.at('GET /system/logs')).toMatchObject([
      { route: 'GET /system/logs?name=fn&namespace=dev&tail=10&follow=false' },
    ]);
  });

  it('is nothing without a replica, and not_found without a function', async () => {
    const { client } = await opened.both({ extra: { echo: { availableReplicas: 0 } } });
    expect(await client.logs?.('echo', 3, NEVER)).toEqual([]);
    await expect(client.logs?.('absent', 3, NEVER)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is a failure where a replica runs and none of it is read', async () => {
    const { client } = await opened.both();
    await expect(client.logs?.('echo', 3, NEVER)).rejects.toMatchObject({ code: 'backend_error' });
  });

  it('is bounded, by line and as a whole', async () => {
    const long = 'x'.repeat(300_000);
    const { client } = await opened.both({
      instead: ({ route }, response) => {
        if (!route.startsWith('GET /system/logs')) return undefined;
        response.writeHead(200, { 'content-type': 'application/x-ndjson' });
        response.write(`${JSON.stringify(line('echo', 'a', 1, 'short'))}\n`);
        response.write(`${JSON.stringify(line('echo', 'a', 2, long))}\n`);
        // A line without an end, over and over.
        const more = (): void => {
          while (response.write(Buffer.alloc(2 ** 20, 'y')));
          response.once('drain', more);
        };
        more();
        return true;
      },
    });
    const entries = (await client.logs?.('echo', 100, NEVER)) ?? [];
    expect(entries.map(({ text }) => text.length)).toEqual([5, 16_384]);
  });
});

describe('the check', () => {
  it('says that credentials go in clear', async () => {
    const { client } = await opened.both({ admits }, { password: SECRET });
    expect(await client.check(NEVER)).toEqual([
      { level: 'warn', message: 'the credentials are sent in clear; use an endpoint with https' },
    ]);
  });

  it('passes without credentials, and says what is not to be had', async () => {
    const { client, gateway } = await opened.both({ admits });
    expect(await client.check(NEVER)).toMatchObject([
      {
        level: 'warn',
        message: 'without credentials functions are called, but neither listed nor their logs read',
      },
    ]);
    expect(gateway.at('GET /healthz')).toHaveLength(2);
    expect(await client.invoke('echo', 1, INVOCATION, NEVER)).toMatchObject({ result: 1 });
    await expect(client.listFunctions(NEVER)).rejects.toMatchObject({ code: 'auth_failed' });
  });

  it('passes for a role that may not ask', async () => {
    const { client } = await opened.both({ admits: () => 'not this' }, { api_key: SECRET });
    expect(await client.check(NEVER)).toMatchObject([{ level: 'info' }, { level: 'warn' }]);
    await expect(client.listFunctions(NEVER)).rejects.toMatchObject({ code: 'permission_denied' });
  });
});
