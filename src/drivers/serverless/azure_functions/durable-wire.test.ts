import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { statusServer } from '../../../testing/faulty-servers.fixture.ts';
import {
  functionsHost,
  managementPayload,
  type HostFunction,
  type HostSettings,
} from './functions-host-wire.fixture.ts';
import { failureOf, invocation, openedFunctions } from './open-functions.fixture.ts';

const opened = openedFunctions();
/** Where a payload's addresses lead, which nobody may follow. */
const elsewhere = await statusServer(200, { runtimeStatus: 'Completed', output: 'stolen' });
const orchestrators: NonNullable<HostSettings['orchestrators']> = {
  doubles: (input) => ({ runtimeStatus: 'Completed', output: Number(input) * 2 }),
  waits: () => ({ runtimeStatus: 'Running' }),
  fails: () => ({ runtimeStatus: 'Failed', output: "Orchestrator function 'fails' failed: on purpose" }),
};
const functions: Readonly<Record<string, HostFunction>> = {
  echo: (payload) => ({ body: payload }),
  starter: (id) => ({ status: 202, body: managementPayload(elsewhere.url, String(id)) }),
  isolated: (id) => {
    const { id: Id, statusQueryGetUri: StatusQueryGetUri } = managementPayload(host.url, String(id));
    return { status: 202, body: { Id, StatusQueryGetUri } };
  },
  accepts: () => ({ status: 202, body: { id: 'ticket' } }),
  tracks: () => ({ status: 202, body: { id: 'parcel', statusQueryGetUri: `${elsewhere.url}/parcels/1` } }),
  throws: () => ({ status: 500, body: { name: 'RangeError', message: 'too far' } }),
};
const host = await functionsHost({ functions, orchestrators });

afterEach(async () => {
  await opened.close();
  host.assertKept();
});
afterAll(async () => {
  await elsewhere.close();
  await host.close();
});

const open = (options: object = {}, context = {}) =>
  opened.open(
    {
      ...{ endpoint: host.url, function_key: host.hostKey, durable_key: host.systemKey },
      ...{
        orchestrators: ['doubles', 'waits', 'fails', 'absent'],
        starters: ['starter', 'accepts', 'throws'],
      },
      ...options,
    },
    context,
  );
const paths = (from: number): readonly string[] =>
  host.requests.slice(from).map(({ method, path }) => `${method} ${path}`);

describe('an orchestrator', () => {
  it('is started under the id of the invocation, once, however often it is asked for', async () => {
    const client = await open();
    const one = invocation();
    const from = host.requests.length;
    const starts = host.starts();
    const run = await client.start?.('doubles', 21, one, NEVER);
    expect(run).toEqual({ kind: 'durable orchestration', id: one.requestId });
    const at = `/runtime/webhooks/durabletask`;
    expect(paths(from)).toEqual([
      `GET ${at}/instances/${one.requestId}?showInput=false`,
      `POST ${at}/orchestrators/doubles/${one.requestId}`,
    ]);
    // It has ended, and Durable Functions would replace it by a new one.
    expect(await client.start?.('doubles', 21, one, NEVER)).toEqual(run);
    expect(host.starts()).toBe(starts + 1);
    if (run === undefined) throw new Error('not started');
    expect(await client.follow?.('doubles', run, NEVER)).toEqual({
      ...{ status: 'completed', result: 42, durationMs: 5_000 },
    });
  });

  it('that another call started between the two requests is that one', async () => {
    const client = await open();
    const one = invocation();
    host.answerNext({ status: 404 });
    host.answerNext({ status: 409 });
    expect(await client.start?.('waits', null, one, NEVER)).toEqual({
      ...{ kind: 'durable orchestration', id: one.requestId },
    });
  });

  it('that the app does not have is not_found', async () => {
    const client = await open();
    expect(await failureOf(client.start?.('absent', null, invocation(), NEVER))).toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('absent'),
    });
  });

  it('is waited for where somebody waits, and goes on where he gives up', async () => {
    const clock = testClock();
    const client = await open({}, { clock });
    expect(await client.invoke('doubles', 4, invocation(), NEVER)).toMatchObject({ result: 8 });
    expect(await client.invoke('fails', 4, invocation(), NEVER)).toMatchObject({
      status: 'failed',
      error: { name: 'OrchestrationFailed', message: expect.stringContaining('on purpose') },
    });
    const one = invocation(1_000);
    const late = failureOf(client.invoke('waits', 4, one, NEVER));
    while (host.instances.get(one.requestId) === undefined) await clock.advance(1);
    await clock.advance(1_000);
    expect(await late).toMatchObject({ code: 'timeout', message: 'function waits ran longer than 1 s' });
    expect(host.instances.get(one.requestId)).toMatchObject({ runtimeStatus: 'Running' });
    expect(clock.pendingTimers).toBe(0);
    host.instances.set(one.requestId, { runtimeStatus: 'Completed', output: 'late' });
    expect(await client.invoke('waits', 4, one, NEVER)).toMatchObject({ result: 'late' });
  });

  it('is let go of at once by a caller who gives up between two looks', async () => {
    const clock = testClock();
    const client = await open({}, { clock });
    const caller = new AbortController();
    const one = invocation();
    const left = failureOf(client.invoke('waits', 4, one, caller.signal));
    // The time of the function, and the wait for the next look.
    while (clock.pendingTimers < 2) await nextTurn();
    caller.abort();
    expect(await left).toMatchObject({ code: 'cancelled' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('that somebody ends meanwhile has failed, for whoever waits for its result', async () => {
    const client = await open();
    const one = invocation();
    host.instances.set(one.requestId, { runtimeStatus: 'Terminated', output: 'enough' });
    expect(await client.invoke('waits', null, one, NEVER)).toEqual({
      ...{ status: 'failed', error: { name: 'OrchestrationTerminated', message: 'enough' } },
      durationMs: expect.any(Number),
    });
  });
});

describe('following', () => {
  const run = { kind: 'durable orchestration', id: 'an id of its own' };
  const cases = [
    ['Pending', null, undefined],
    ['Running', null, undefined],
    ['ContinuedAsNew', null, undefined],
    ['Suspended', null, undefined],
    ['Completed', { a: [1] }, { status: 'completed', result: { a: [1] } }],
    ['Completed', undefined, { status: 'completed', result: null }],
    ['Failed', 'words', { status: 'failed', error: { name: 'OrchestrationFailed', message: 'words' } }],
    ['Failed', { name: 'E', message: 'm' }, { status: 'failed', error: { name: 'E', message: 'm' } }],
    [
      'Terminated',
      'why',
      { status: 'cancelled', error: { name: 'OrchestrationTerminated', message: 'why' } },
    ],
    ['Canceled', null, { status: 'cancelled', error: { name: 'OrchestrationCanceled', message: 'null' } }],
  ] as const;
  it.each(cases)('tells what %s with %j is', async (runtimeStatus, output, expected) => {
    const client = await open();
    host.instances.set(run.id, { runtimeStatus, output });
    const outcome = await client.follow?.('waits', run, NEVER);
    if (expected === undefined) expect(outcome).toBeUndefined();
    else expect(outcome).toMatchObject(expected);
  });

  const answers = [
    [{ status: 404 }, { code: 'not_found' }],
    [{ status: 410 }, { code: 'not_found' }],
    [{ status: 401 }, { code: 'auth_failed', message: expect.stringContaining('durable_key') }],
    [{ status: 403 }, { code: 'permission_denied' }],
    [
      { status: 429, headers: { 'retry-after': '7' } },
      { code: 'rate_limited', retryAfterMs: 7_000 },
    ],
    [{ status: 500 }, { code: 'unavailable', details: { backend_status: 500 } }],
    [
      { status: 503, headers: { 'retry-after': '2' } },
      { code: 'unavailable', retryAfterMs: 2_000 },
    ],
    [{ status: 302, headers: { location: elsewhere.url } }, { code: 'backend_error' }],
    [{ body: { runtimeStatus: 'Levitating' } }, { code: 'backend_error' }],
    [{ body: { status: 'Completed' } }, { code: 'backend_error' }],
    [{ headers: { 'content-type': 'text/html' }, body: '<h1>It works!' }, { code: 'backend_error' }],
  ] as const;
  it.each(answers)('of %j fails by kind', async (reply, expected) => {
    const client = await open();
    host.answerNext(reply);
    expect(await failureOf(client.follow?.('waits', run, NEVER))).toMatchObject(expected);
  });

  it('asks for no id that would be another address', async () => {
    const client = await open();
    const from = host.requests.length;
    for (const id of ['..', '.', '../x', 'a/b', 'a\\b', 'a?b', 'a#b', '@entity', 'a\nb', '', 'x'.repeat(101)])
      for (const attempt of [
        client.follow?.('waits', { ...run, id }, NEVER),
        client.stop?.('waits', { ...run, id }, NEVER),
      ])
        expect(await failureOf(attempt)).toMatchObject({ code: 'backend_error' });
    expect(paths(from)).toEqual([]);
  });
});

describe('stopping', () => {
  it('terminates what goes on, and leaves alone what has ended or is not known', async () => {
    const client = await open();
    const run = await client.start?.('waits', null, invocation(), NEVER);
    if (run === undefined) throw new Error('not started');
    for (let i = 0; i < 2; i += 1) await client.stop?.('waits', run, NEVER);
    expect(await client.follow?.('waits', run, NEVER)).toMatchObject({ status: 'cancelled' });
    await client.stop?.('waits', { ...run, id: 'nobody' }, NEVER);
    host.answerNext({ status: 401 });
    expect(await failureOf(client.stop?.('waits', run, NEVER))).toMatchObject({ code: 'auth_failed' });
  });
});

describe('a starter', () => {
  it('is called, and the instance that it names is followed on this app alone', async () => {
    const client = await open();
    host.instances.set('order 12', { runtimeStatus: 'Completed', output: 'own' });
    const run = await client.start?.('starter', 'order 12', invocation(), NEVER);
    expect(run).toEqual({ kind: 'durable orchestration', id: 'order 12' });
    expect(JSON.stringify(run)).not.toContain(host.systemKey);
    if (run === undefined) throw new Error('not started');
    expect(await client.follow?.('starter', run, NEVER)).toMatchObject({ result: 'own' });
    expect(elsewhere.connections()).toBe(0);
  });

  it('is not started where it may run once only, as the app cannot tell two calls from one', async () => {
    const client = await open();
    const from = host.requests.length;
    const once = { ...invocation(), once: true } as const;
    expect(await client.start?.('starter', 'x', once, NEVER)).toBeUndefined();
    expect(paths(from)).toEqual([]);
  });

  it('that nobody declared is waited for, and none of its addresses is told', async () => {
    const client = await open();
    host.instances.set('one', { runtimeStatus: 'Completed', output: 'own' });
    for (const name of ['starter', 'isolated'])
      expect(await client.invoke(name, 'one', invocation(), NEVER)).toMatchObject({ result: 'own' });
    expect(await client.start?.('isolated', 'one', invocation(), NEVER)).toBeUndefined();
  });

  it('that starts nothing is a failure, and says what it answered', async () => {
    const client = await open();
    expect(await failureOf(client.start?.('accepts', null, invocation(), NEVER))).toMatchObject({
      code: 'backend_error',
      message: expect.stringContaining('started no orchestration'),
    });
    expect(await failureOf(client.start?.('throws', null, invocation(), NEVER))).toMatchObject({
      code: 'backend_error',
      message: expect.stringContaining('too far'),
    });
    host.answerNext({ status: 429, headers: { 'retry-after': '3' } });
    expect(await failureOf(client.start?.('starter', 'x', invocation(), NEVER))).toMatchObject({
      ...{ code: 'rate_limited', retryAfterMs: 3_000 },
    });
  });

  it('is not seen in an answer that only looks like one', async () => {
    const client = await open();
    const payload = managementPayload(host.url, 'somebody’s');
    expect(await client.invoke('echo', payload, invocation(), NEVER)).toMatchObject({ result: payload });
    const ticket = { id: 'ticket' };
    expect(await client.invoke('accepts', null, invocation(), NEVER)).toMatchObject({ result: ticket });
    expect(await client.invoke('tracks', null, invocation(), NEVER)).toMatchObject({
      result: { id: 'parcel' },
    });
    expect(await failureOf(client.invoke('starter', '../x', invocation(), NEVER))).toMatchObject({
      code: 'backend_error',
    });
  });
});

it('of an ordinary function starts nothing and asks nothing', async () => {
  const client = await open();
  const from = host.requests.length;
  expect(await client.start?.('echo', 1, invocation(), NEVER)).toBeUndefined();
  expect(paths(from)).toEqual([]);
});

it('tries the key when it is opened', async () => {
  expect(await failureOf(open({ durable_key: 'wrong-91d2' }))).toMatchObject({
    code: 'auth_failed',
    message: expect.stringContaining('durable_key'),
  });
});
