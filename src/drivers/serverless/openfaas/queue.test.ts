import { afterEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import type { FunctionCallback } from '../../../driver.ts';
import { INVOCATION, Opened, REQUEST_ID, SECRET } from './clients.fixture.ts';
import { conformanceFunctions, watched } from './functions-double.fixture.ts';
import driver from './index.ts';
import { callbackServer, work } from './queue-worker-double.fixture.ts';

const opened = new Opened();
afterEach(() => opened.close());

async function callbacks() {
  const server = await callbackServer();
  opened.closeLater(() => server.close());
  return server;
}

const outcome = (callback: FunctionCallback | undefined) => callback && driver.outcomeOf?.(callback);

describe('a call for the queue', () => {
  it('is POST /async-function/NAME with the address and the id of the invocation', async () => {
    const { client, gateway } = await opened.both();
    const { url } = await callbacks();
    const run = await client.start?.('echo', { a: 1 }, { ...INVOCATION, callbackUrl: url }, NEVER);
    expect(run).toEqual({ kind: 'queued call', id: REQUEST_ID });
    expect(gateway.at('POST')).toMatchObject([
      {
        route: 'POST /async-function/echo',
        body: '{"a":1}',
        headers: { 'x-callback-url': url, 'x-call-id': REQUEST_ID, 'x-request-id': REQUEST_ID },
      },
    ]);
  });

  const ends = {
    'a result': ['echo', { status: 'completed', result: { a: 1 }, durationMs: 12.5 }],
    'a throw': [
      'fails',
      {
        status: 'failed',
        error: { name: 'TypeError', message: 'on purpose', stack: expect.any(String) },
        durationMs: 12.5,
      },
    ],
    nothing: ['silent', { status: 'completed', result: null, durationMs: 12.5 }],
    'text without a type': ['plain', { status: 'completed', result: 'done.', durationMs: 50 }],
    'the end of its time': [
      'slow',
      { status: 'timed_out', error: { name: 'HttpError', message: 'answered 504' }, durationMs: 12.5 },
    ],
    'a refusal': [
      'busy',
      { status: 'failed', error: { name: 'HttpError', message: 'answered 429: busy' }, durationMs: 12.5 },
    ],
  } as const;
  it.each(Object.entries(ends))('that ends with %s is told by the callback', async (_what, [name, end]) => {
    const functions = {
      ...conformanceFunctions(),
      silent: watched(() => ({ status: 204 })),
      plain: () => ({ body: 'done.' }),
      slow: watched(() => ({ status: 504, headers: { 'x-openfaas-internal': 'of-watchdog' } })),
      busy: watched(() => ({ status: 429, body: 'busy' })),
    };
    const { client, gateway } = await opened.both({ functions });
    const { url, taken } = await callbacks();
    await client.start?.(name, { a: 1 }, { ...INVOCATION, callbackUrl: url }, NEVER);
    expect(await work(gateway)).toEqual([204]);
    expect(taken).toHaveLength(1);
    expect(taken[0]?.headers).toMatchObject({ 'x-call-id': REQUEST_ID, 'x-function-name': name });
    expect(outcome(taken[0])).toEqual(end);
  });

  it('that is reported twice says the same twice', async () => {
    const { client, gateway } = await opened.both();
    const { url, taken } = await callbacks();
    await client.start?.('random', null, { ...INVOCATION, callbackUrl: url }, NEVER);
    expect(await work(gateway, 2)).toEqual([204, 204]);
    expect(outcome(taken[1])).toEqual(outcome(taken[0]));
  });

  it('goes to the namespace of the connector', async () => {
    const { client, gateway } = await opened.both(
      { functions: { 'fn.dev': watched(() => ({ body: '1' })) } },
      { namespace: 'dev' },
    );
    const { url } = await callbacks();
    await client.start?.('fn', null, { ...INVOCATION, callbackUrl: url }, NEVER);
    expect(gateway.at('POST')).toMatchObject([{ route: 'POST /async-function/fn.dev' }]);
    expect(gateway.at('GET /system/function/')).toMatchObject([
      { route: 'GET /system/function/fn?namespace=dev' },
    ]);
  });

  it('of a function that is not there is not_found, and nothing is queued', async () => {
    const { client, gateway } = await opened.both();
    const { url } = await callbacks();
    const started = client.start?.('absent', null, { ...INVOCATION, callbackUrl: url }, NEVER);
    await expect(started).rejects.toMatchObject({ code: 'not_found' });
    expect(gateway.at('POST')).toEqual([]);
  });

  it('of a function that may not be asked about is queued, and its end says that it is not there', async () => {
    const { client, gateway } = await opened.both({ admits: () => 'not this' }, { api_key: SECRET });
    const { url, taken } = await callbacks();
    await client.start?.('absent', null, { ...INVOCATION, callbackUrl: url }, NEVER);
    await work(gateway);
    expect(outcome(taken[0])).toMatchObject({
      status: 'failed',
      error: { message: 'answered 404: error finding function absent.openfaas-fn: not found' },
    });
  });
});

describe('nothing is queued, for our own worker to call,', () => {
  const callbackUrl = 'https://registry.example/callbacks/1';
  it.each([
    ['without an address for the callback', {}, INVOCATION, null],
    ['where the options say so', { async: 'worker' }, { ...INVOCATION, callbackUrl }, null],
    ['of what is larger than a message', {}, { ...INVOCATION, callbackUrl }, 'x'.repeat(700_000)],
  ])('%s', async (_why, options, invocation, payload) => {
    const { client, gateway } = await opened.both({}, options);
    const before = gateway.seen.length;
    expect(await client.start?.('echo', payload, invocation, NEVER)).toBeUndefined();
    expect(gateway.seen).toHaveLength(before);
  });

  it('where the gateway has no queue', async () => {
    const { client } = await opened.both({ queue: false });
    expect(await client.start?.('echo', null, { ...INVOCATION, callbackUrl }, NEVER)).toBeUndefined();
  });

  it('and not_found is said where neither is known', async () => {
    const { client } = await opened.both({ queue: false, admits: () => 'not this' }, { api_key: SECRET });
    const started = client.start?.('echo', null, { ...INVOCATION, callbackUrl }, NEVER);
    await expect(started).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('a callback', () => {
  it.each([undefined, '', '99', '600', '2000', 'ok', '200, 500', '1e2', ' 200'])(
    'with the status %s is invalid_argument',
    async (status) => {
      const callback = { headers: { 'x-function-status': status }, body: new Uint8Array() };
      expect(() => driver.outcomeOf?.(callback)).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      );
    },
  );

  it('takes the first of several times, and none that is no time', async () => {
    const of = (seconds: string) =>
      outcome({
        headers: { 'x-function-status': '204', 'x-duration-seconds': seconds },
        body: new Uint8Array(),
      });
    expect(of('0.25, 0.5')).toEqual({ status: 'completed', result: null, durationMs: 250 });
    expect(of('soon')).toEqual({ status: 'completed', result: null });
    expect(of('-1')).toEqual({ status: 'completed', result: null });
  });

  it('with more than a result may be is payload_too_large', async () => {
    const callback = { headers: { 'x-function-status': '200' }, body: Buffer.alloc(6 * 2 ** 20 + 1, 'x') };
    expect(() => outcome(callback)).toThrow(expect.objectContaining({ code: 'payload_too_large' }));
  });

  it('with bytes that are no text is a failure', async () => {
    const callback = { headers: { 'x-function-status': '200' }, body: Uint8Array.of(0xff, 0xfe) };
    expect(outcome(callback)).toMatchObject({ status: 'failed', error: { name: 'ResultError' } });
  });
});
