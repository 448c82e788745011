import { describe, expect, it, onTestFinished } from 'vitest';
import type { Log, NativeOutcome, ServerlessClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { faultProxy } from '../../../testing/fault-proxy.fixture.ts';
import type { CloudflareApi } from './api.ts';
import { refusal } from './cloudflare-api.fixture.ts';
import { failureOf, invocation, platform } from './open.fixture.ts';
import { workflowNames } from './workflow-names.ts';
import { PARAMS_BYTES } from './workflow-runs.ts';

const { real, api, whole, open } = await platform();
const KIND = 'workflow instance';

/** Asks until a run has ended: the engine takes its own time. */
async function ended(client: ServerlessClient, name: string, id: string): Promise<NativeOutcome | undefined> {
  for (;;) {
    const outcome = await client.follow?.(name, { kind: KIND, id }, NEVER);
    if (outcome !== undefined) return outcome;
  }
}

const answer = (result: object) => ({
  status: 200,
  body: { success: true, errors: [], messages: [], result },
});

describe('a Workflow', () => {
  it('is started under the id of the invocation, and followed to its result', async () => {
    const client = await open();
    const call = invocation();
    const payload = { text: 'é😀', list: [1, null] };
    expect(await client.start?.('flow-echo', payload, call, NEVER)).toEqual({
      kind: KIND,
      id: call.requestId,
    });
    expect(await ended(client, 'flow-echo', call.requestId)).toEqual({
      status: 'completed',
      result: payload,
      durationMs: 1500,
    });
  });

  it('runs once, however often it is started under one id', async () => {
    const client = await open();
    const call = invocation();
    const before = api.seen.length;
    const runs = [
      await client.start?.('flow-echo', 'first', call, NEVER),
      await client.start?.('flow-echo', 'second', call, NEVER),
    ];
    expect(runs).toEqual([
      { kind: KIND, id: call.requestId },
      { kind: KIND, id: call.requestId },
    ]);
    expect(api.seen.slice(before).map(({ method }) => method)).toEqual(['POST', 'POST']);
    expect(await ended(client, 'flow-echo', call.requestId)).toMatchObject({ result: 'first' });
  });

  it('is known to run where the refusal of its start has a number that nobody knows', async () => {
    const client = await open();
    const call = invocation();
    await client.start?.('flow-echo', 1, call, NEVER);
    api.next('POST', refusal(400, 19_999, 'it is there'));
    expect(await client.start?.('flow-echo', 1, call, NEVER)).toEqual({ kind: KIND, id: call.requestId });
    api.next('POST', refusal(400, 19_999, 'it cannot be'));
    const refused = Promise.resolve(client.start?.('flow-echo', 1, invocation(), NEVER));
    expect(await failureOf(refused)).toMatchObject({
      code: 'backend_error',
      details: { backend_status: 400, backend_code: 19_999 },
    });
  });

  it('that throws has failed, with its error', async () => {
    const client = await open();
    const call = invocation();
    await client.start?.('flow-fails', null, call, NEVER);
    expect(await ended(client, 'flow-fails', call.requestId)).toEqual({
      status: 'failed',
      error: { name: 'TypeError', message: 'on purpose' },
      durationMs: 1500,
    });
  });

  it('goes on until it is stopped, and may be stopped again', async () => {
    const client = await open();
    const call = invocation();
    const run = await client.start?.('flow-endless', null, call, NEVER);
    if (run === undefined) throw new Error('it was not started');
    expect(await client.follow?.('flow-endless', run, NEVER)).toBeUndefined();
    await client.stop?.('flow-endless', run, NEVER);
    expect(await ended(client, 'flow-endless', run.id)).toEqual({ status: 'cancelled', durationMs: 1500 });
    await client.stop?.('flow-endless', run, NEVER);
  });

  it('that has ended is left as it is by stopping', async () => {
    const client = await open();
    const call = invocation();
    await client.start?.('flow-echo', 5, call, NEVER);
    await ended(client, 'flow-echo', call.requestId);
    await client.stop?.('flow-echo', { kind: KIND, id: call.requestId }, NEVER);
    expect(await ended(client, 'flow-echo', call.requestId)).toMatchObject({
      status: 'completed',
      result: 5,
    });
  });

  it('that nobody knows is not_found, and stopping it is nothing', async () => {
    const client = await open();
    const run = { kind: KIND, id: invocation().requestId };
    const following = Promise.resolve(client.follow?.('flow-echo', run, NEVER));
    expect(await failureOf(following)).toMatchObject({ code: 'not_found', details: { backend_code: 10400 } });
    await client.stop?.('flow-echo', run, NEVER);
  });

  it('takes a payload of a MiB, and refuses more before anything is sent', async () => {
    const client = await open();
    const call = invocation();
    await client.start?.('flow-echo', 'x'.repeat(PARAMS_BYTES - 2), call, NEVER);
    expect(await ended(client, 'flow-echo', call.requestId)).toMatchObject({ status: 'completed' });
    const before = api.seen.length;
    const large = Promise.resolve(
      client.start?.('flow-echo', 'x'.repeat(PARAMS_BYTES - 1), invocation(), NEVER),
    );
    expect(await failureOf(large)).toMatchObject({ code: 'payload_too_large' });
    expect(api.seen).toHaveLength(before);
  });

  it('whose start fails says so as the API does', async () => {
    const client = await open();
    api.next('POST', refusal(429, 971, 'Please wait', { 'retry-after': '3' }));
    const limited = Promise.resolve(client.start?.('flow-echo', 1, invocation(), NEVER));
    expect(await failureOf(limited)).toMatchObject({ code: 'rate_limited', retryAfterMs: 3000 });
    api.workflows.delete('flow-echo');
    onTestFinished(() => void api.workflows.add('flow-echo'));
    const gone = Promise.resolve(client.start?.('flow-echo', 1, invocation(), NEVER));
    expect(await failureOf(gone)).toMatchObject({ code: 'not_found', details: { backend_code: 10200 } });
  });

  it('is another than what was started, where the API names another id', async () => {
    const client = await open();
    api.next('POST', answer({ id: 'another', status: 'queued', version_id: 'v', workflow_id: 'w' }));
    const other = Promise.resolve(client.start?.('flow-echo', 1, invocation(), NEVER));
    expect(await failureOf(other)).toMatchObject({ code: 'backend_error' });
  });

  it.each([
    ['queued', undefined],
    ['running', undefined],
    ['paused', undefined],
    ['waiting', undefined],
    ['waitingForPause', undefined],
    ['rollingBack', undefined],
    ['unknown', undefined],
    ['complete', { status: 'completed', result: null }],
    ['terminated', { status: 'cancelled' }],
    [
      'errored',
      { status: 'failed', error: { name: 'Error', message: 'the Workflow failed and does not tell why' } },
    ],
  ])('that is %s is %j', async (status, outcome) => {
    const client = await open();
    api.next('GET /workflows/flow-echo/instances', answer({ status }));
    expect(await client.follow?.('flow-echo', { kind: KIND, id: 'x' }, NEVER)).toEqual(outcome);
  });

  it('is believed where it has ended, although its steps could not be told', async () => {
    const client = await open();
    const { body } = refusal(200, 10001, 'workflows.api.error.internal_server');
    const told = { ...(body as object), result: { status: 'complete', output: { a: 1 }, steps: [] } };
    api.next('GET /workflows/flow-echo/instances', { status: 200, body: told });
    expect(await client.follow?.('flow-echo', { kind: KIND, id: 'x' }, NEVER)).toEqual({
      status: 'completed',
      result: { a: 1 },
    });
  });

  it('with a text for an error failed with it', async () => {
    const client = await open();
    api.next('GET /workflows/flow-echo/instances', answer({ status: 'errored', error: 'it broke' }));
    expect(await client.follow?.('flow-echo', { kind: KIND, id: 'x' }, NEVER)).toEqual({
      status: 'failed',
      error: { name: 'Error', message: 'it broke' },
    });
  });
});

describe('a Workflow that is called and waited for', () => {
  it('answers its result, or how it failed', async () => {
    const client = await open();
    const [echo, fails] = await Promise.all([
      client.invoke('flow-echo', [1], invocation(), NEVER),
      client.invoke('flow-fails', null, invocation(), NEVER),
    ]);
    expect(echo).toMatchObject({ status: 'completed', result: [1] });
    expect(fails).toMatchObject({ status: 'failed', error: { name: 'TypeError', message: 'on purpose' } });
  });

  it.each(['its time is over', 'its caller gives up'] as const)('is ended when %s', async (why) => {
    const clock = testClock();
    const client = await open(whole, { clock });
    const caller = new AbortController();
    const call = invocation(20_000);
    const before = api.seen.length;
    const left = failureOf(client.invoke('flow-endless', null, call, caller.signal));
    const isAsked = () => api.seen.slice(before).some(({ method }) => method === 'GET');
    while (!isAsked()) await clock.advance(0);
    if (why === 'its time is over') await clock.advance(20_000);
    else caller.abort();
    expect(await left).toMatchObject({ code: why === 'its time is over' ? 'timeout' : 'cancelled' });
    await client.close();
    expect(clock.pendingTimers).toBe(0);
    const other = await open();
    expect(await ended(other, 'flow-endless', call.requestId)).toMatchObject({ status: 'cancelled' });
  });

  it('failed where somebody else ended it', async () => {
    const client = await open();
    api.next('GET /workflows/flow-echo/instances', answer({ status: 'terminated' }));
    expect(await client.invoke('flow-echo', 1, invocation(), NEVER)).toEqual({
      status: 'failed',
      error: { name: 'TerminatedError', message: 'the Workflow was terminated' },
    });
  });

  it('ends with its time where the API goes silent, and closing does not wait for it for long', async () => {
    const { hostname, port, pathname } = new URL(api.url);
    const proxy = await faultProxy({ host: hostname, port: Number(port) });
    onTestFinished(() => proxy.close());
    const clock = testClock();
    const api_endpoint = `http://${proxy.host}:${proxy.port}${pathname}`;
    const client = await open({ ...whole, api_endpoint }, { clock });
    proxy.meet({ kind: 'stallAfter', bytes: 0 });
    const late = failureOf(client.invoke('flow-endless', null, invocation(20_000), NEVER));
    await clock.advance(20_000);
    expect(await late).toMatchObject({ code: 'timeout' });
    const closing = client.close();
    await clock.advance(5_000);
    await closing;
    await proxy.idle();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('which names are Workflows', () => {
  it('is asked once, at opening, page by page', async () => {
    const before = api.seen.length;
    const client = await open();
    const pages = api.seen.slice(before).map(({ path }) => path);
    expect(pages).toEqual([1, 2, 3].map((page) => `/workflows?page=${page}&per_page=100`));
    await client.invoke('echo', 1, invocation(), NEVER);
    expect(await client.start?.('echo', 1, invocation(), NEVER)).toBeUndefined();
    expect(api.seen).toHaveLength(before + 3);
  });

  it('may be told, and then is not asked', async () => {
    const before = api.seen.length;
    const client = await open({ ...whole, workflows: ['flow-echo'] });
    expect(api.seen.slice(before).map(({ path }) => path)).toEqual(['/workflows?page=1&per_page=1']);
    expect(await client.start?.('flow-fails', 1, invocation(), NEVER)).toBeUndefined();
    expect(await client.start?.('flow-echo', 1, invocation(), NEVER)).toMatchObject({ kind: KIND });
  });

  it('does not count for a name that has a URL of its own', async () => {
    const client = await open({ ...whole, functions: { 'flow-echo': `${real.url}/functions/echo` } });
    expect(await client.start?.('flow-echo', 1, invocation(), NEVER)).toBeUndefined();
    expect(await client.invoke('flow-echo', 1, invocation(), NEVER)).toEqual({
      status: 'completed',
      result: 1,
    });
  });

  it('is none without a token', async () => {
    const client = await open({ endpoint: whole['endpoint'] });
    expect(await client.start?.('flow-echo', 1, invocation(), NEVER)).toBeUndefined();
    const following = Promise.resolve(client.follow?.('flow-echo', { kind: KIND, id: 'x' }, NEVER));
    expect(await failureOf(following)).toMatchObject({ code: 'unsupported' });
  });
});

describe('names of Workflows', () => {
  const FIVE_MINUTES = 5 * 60_000;
  const setUp = () => {
    const clock = testClock();
    const warned: string[] = [];
    const warn = (message: string): void => void warned.push(message);
    const log: Log = { debug: warn, info: warn, warn, error: warn };
    const asked: { readonly signal: AbortSignal; answer(names: readonly string[] | Error): void }[] = [];
    const listWorkflows: CloudflareApi['listWorkflows'] = (signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
        const given = (names: readonly string[] | Error) =>
          names instanceof Error ? reject(names) : resolve(names);
        asked.push({ signal, answer: given });
      });
    const stub = { listWorkflows } as CloudflareApi; // nothing else of it is used
    const names = workflowNames({ api: stub, fixed: undefined, context: { clock, log } });
    const load = async (found: readonly string[]) => {
      const loading = names.load(NEVER);
      asked.at(-1)?.answer(found);
      await loading;
    };
    return { clock, warned, asked, names, load };
  };

  it('are good for five minutes, then asked for anew by whoever asks, who does not wait', async () => {
    const { clock, asked, names, load } = setUp();
    await load(['a']);
    await clock.advance(FIVE_MINUTES - 1);
    expect([names.has('a'), names.has('b')]).toEqual([true, false]);
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    expect([names.has('a'), names.has('b'), names.has('b')]).toEqual([true, false, false]);
    expect(asked).toHaveLength(2);
    asked[1]?.answer(['b']);
    await clock.advance(0);
    expect([names.has('a'), names.has('b')]).toEqual([false, true]);
    expect(asked).toHaveLength(2);
  });

  it('stay as they were where the account does not answer, and are asked for again five minutes later', async () => {
    const { clock, asked, names, load, warned } = setUp();
    await load(['a']);
    await clock.advance(FIVE_MINUTES);
    expect(names.has('a')).toBe(true);
    asked[1]?.answer(new Error('down'));
    await clock.advance(0);
    expect(names.has('a')).toBe(true);
    expect(warned).toEqual(['the Workflows of the account could not be listed']);
    expect(asked).toHaveLength(2);
    await clock.advance(FIVE_MINUTES);
    expect(names.has('a')).toBe(true);
    expect(asked).toHaveLength(3);
  });

  it('are no longer asked for once closed', async () => {
    const { clock, asked, names, load, warned } = setUp();
    await load([]);
    await clock.advance(FIVE_MINUTES);
    names.has('a');
    await names.close();
    expect(asked[1]?.signal.aborted).toBe(true);
    expect(warned).toEqual([]);
  });
});
