import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../errors/error.ts';
import { testClock } from '../../testing/clock.ts';
import type { ClientInvocation, NativeOutcome, NativeRun } from './driver.ts';
import { echo, functionsOf, gate, type Body } from './functions.fixture.ts';

const HOUR = 3_600_000;
const down: Body = async () => {
  throw new ConnectorError('unavailable', 'down');
};

describe('an idempotency key', () => {
  const options = { idempotencyKey: 'k' };

  it('makes one call for 100 callers at once and for those after', async () => {
    const { body, open } = gate();
    const { functions, calls } = await functionsOf(body);
    const all = Promise.all(Array.from({ length: 100 }, () => functions.invoke('f', 7, options)));
    await expect.poll(() => calls.length).toBe(1);
    open();
    const answers = [...(await all), await functions.invoke('f', 7, options)];
    expect(new Set(answers.map((a) => a.requestId)).size).toBe(1);
    expect(answers.every((a) => a.result === 7)).toBe(true);
    expect(calls).toHaveLength(1);
  });

  it('refuses another payload, and is another key for another function', async () => {
    const { functions, calls } = await functionsOf(echo);
    await functions.invoke('f', 1, options);
    await expect(functions.invoke('f', 2, options)).rejects.toMatchObject({ code: 'conflict' });
    expect(await functions.invoke('g', 2, options)).toMatchObject({ result: 2 });
    expect(calls).toHaveLength(2);
  });

  it('answers for 24 hours, however short results are kept otherwise', async () => {
    const clock = testClock();
    const { functions, calls } = await functionsOf(echo, { clock, spec: { resultTtlSeconds: 60 } });
    const first = await functions.invoke('f', 1, options);
    await clock.advance(24 * HOUR - 1);
    expect(await functions.invoke('f', 1, options)).toEqual(first);
    expect(calls).toHaveLength(1);
    await clock.advance(1);
    expect((await functions.invoke('f', 1, options)).requestId).not.toBe(first.requestId);
    expect(calls).toHaveLength(2);
  });

  it('may run again after a failure in which the function cannot have run', async () => {
    let code: 'rate_limited' | 'unavailable' | undefined = 'rate_limited';
    const { functions } = await functionsOf(async (payload) => {
      if (code) throw new ConnectorError(code, 'no', { details: { sent: false } });
      return { status: 'completed', result: payload };
    });
    await expect(functions.invoke('f', 1, options)).rejects.toMatchObject({ code: 'rate_limited' });
    code = 'unavailable';
    await expect(functions.invoke('f', 1, options)).rejects.toMatchObject({ code: 'unavailable' });
    code = undefined;
    expect(await functions.invoke('f', 1, options)).toMatchObject({ status: 'completed', result: 1 });
  });

  it('never runs again where it may have run: the invocation is lost, and says why', async () => {
    const { functions, calls } = await functionsOf(down);
    await expect(functions.invoke('f', 1, options)).rejects.toMatchObject({ code: 'unavailable' });
    const again = functions.invoke('f', 1, options);
    await expect(again).rejects.toMatchObject({ code: 'backend_error', details: { status: 'lost' } });
    await expect(again).rejects.toThrow(/whether it ran is not known: .*down/);
    expect(calls).toHaveLength(1);
    const { invocations } = await functions.listInvocations({ status: 'lost' });
    expect(invocations).toMatchObject([{ status: 'lost', error: { name: 'LostError' } }]);
  });

  it('runs again where the function is declared idempotent', async () => {
    let isDown = true;
    const { functions, calls } = await functionsOf(
      async (payload) =>
        isDown ? down(payload, {} as never, {} as never) : echo(payload, {} as never, {} as never),
      {
        spec: { idempotentFunctions: ['f'] },
      },
    );
    await expect(functions.invoke('f', 1, options)).rejects.toMatchObject({ code: 'unavailable' });
    isDown = false;
    expect(await functions.invoke('f', 1, options)).toMatchObject({ result: 1 });
    expect(new Set(calls).size).toBe(1);
    expect(calls).toHaveLength(2);
  });

  it('throws the timeout again for a function that ran too long', async () => {
    const { functions, calls } = await functionsOf(async () => {
      throw new ConnectorError('timeout', 'too long');
    });
    await expect(functions.invoke('f', 1, options)).rejects.toMatchObject({ code: 'timeout' });
    await expect(functions.invoke('f', 1, options)).rejects.toMatchObject({ code: 'timeout' });
    expect(calls).toHaveLength(1);
  });

  it('holds no caller beyond his own limit who shares a call that waits for its turn', async () => {
    const clock = testClock();
    const { body, open } = gate();
    const { functions, calls } = await functionsOf(body, { clock, spec: { maxConcurrency: 1 } });
    await functions.invoke('f', 0, { async: true });
    await expect.poll(() => calls.length).toBe(1);
    const { requestId } = await functions.invoke('f', 1, { ...options, async: true });
    const shares = functions.invoke('f', 1, { ...options, timeoutSeconds: 2 });
    const refused = expect(shares).rejects.toMatchObject({
      code: 'timeout',
      details: { requestId, status: 'queued' },
    });
    // From when the call was looked up, which takes a few turns of its own.
    for (let i = 0; i < 20; i++) await clock.advance(1_000);
    await refused;
    open();
    expect(await functions.waitForResult(requestId)).toMatchObject({ status: 'completed', result: 1 });
    expect(await functions.invoke('f', 1, options)).toMatchObject({ requestId, result: 1 });
  });

  it('keeps the shared run going when one caller leaves', async () => {
    const { body, open } = gate();
    const { functions, calls } = await functionsOf(body);
    const leaving = new AbortController();
    const left = functions.invoke('f', 1, { ...options, signal: leaving.signal });
    const stays = functions.invoke('f', 1, options);
    await expect.poll(() => calls.length).toBe(1);
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'cancelled' });
    open();
    expect(await stays).toMatchObject({ status: 'completed' });
  });

  it('lets go of a caller who leaves while the invocation is being stored', async () => {
    const { body, open } = gate();
    const { functions, calls } = await functionsOf(body);
    const leaving = new AbortController();
    const left = functions.invoke('f', 1, { ...options, signal: leaving.signal });
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'cancelled' });
    await expect.poll(() => calls.length).toBe(1);
    open();
  });

  it.each(['', 'x'.repeat(257), 'a\0'])('is 1 to 256 characters, without NUL', async (idempotencyKey) => {
    const { functions } = await functionsOf(echo);
    const refused = functions.invoke('f', 1, { idempotencyKey });
    await expect(refused).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('an asynchronous call', () => {
  it('is stored before it is acknowledged, and its end can be asked for until it expires', async () => {
    const clock = testClock();
    const { body, open } = gate();
    const { functions } = await functionsOf(body, { clock, spec: { resultTtlSeconds: 60 } });
    const accepted = await functions.invoke('f', 5, { async: true });
    const { requestId } = accepted;
    expect(accepted).toEqual({
      function: 'f',
      requestId,
      status: 'queued',
      createdAt: new Date(clock.now()),
    });
    await expect.poll(async () => (await functions.getResult(requestId)).status).toBe('running');
    open();
    expect(await functions.waitForResult(requestId)).toMatchObject({ status: 'completed', result: 5 });
    await clock.advance(59_999);
    expect(await functions.getResult(requestId)).toMatchObject({ result: 5 });
    await clock.advance(1);
    await expect(functions.getResult(requestId)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('runs in the number that the connector allows, and all of them', async () => {
    const { body, open } = gate();
    const { functions, calls } = await functionsOf(body, { spec: { maxConcurrency: 3 } });
    const accepted = await Promise.all(
      Array.from({ length: 25 }, () => functions.invoke('f', null, { async: true })),
    );
    await expect.poll(() => calls.length).toBe(3);
    open();
    for (const { requestId } of accepted)
      expect(await functions.waitForResult(requestId)).toMatchObject({ status: 'completed' });
    expect(new Set(calls).size).toBe(25);
  });

  it('ends as timed_out or failed where the call has no answer', async () => {
    const { functions } = await functionsOf(async (payload) => {
      throw new ConnectorError(payload === 1 ? 'timeout' : 'not_found', 'no');
    });
    const late = await functions.invoke('f', 1, { async: true });
    const gone = await functions.invoke('f', 2, { async: true });
    expect(await functions.waitForResult(late.requestId)).toMatchObject({ status: 'timed_out' });
    expect(await functions.waitForResult(gone.requestId)).toMatchObject({
      status: 'failed',
      error: { name: 'not_found' },
    });
  });

  it('is tried again twice, with backoff, when the platform fails, under one request id', async () => {
    const clock = testClock();
    const { functions, calls } = await functionsOf(down, { clock, random: () => 1 });
    const { requestId } = await functions.invoke('f', 1, { async: true });
    await expect.poll(async () => (await functions.getResult(requestId)).failures).toBe(1);
    await clock.advance(999);
    expect(calls).toHaveLength(1);
    await clock.advance(1);
    await expect.poll(async () => (await functions.getResult(requestId)).failures).toBe(2);
    await clock.advance(2_000);
    const ended = await functions.waitForResult(requestId);
    expect(ended).toMatchObject({ status: 'failed', failures: 2, error: { name: 'unavailable' } });
    expect(calls).toEqual([requestId, requestId, requestId]);
  });

  it("is not tried again for a function's own error", async () => {
    const { functions, calls } = await functionsOf(async () => ({
      status: 'failed',
      error: { name: 'TypeError', message: 'on purpose' },
    }));
    const { requestId } = await functions.invoke('f', 1, { async: true });
    expect(await functions.waitForResult(requestId)).toMatchObject({ status: 'failed' });
    expect(calls).toHaveLength(1);
  });

  it('waits out a limit of the platform, which is no failure', async () => {
    const clock = testClock();
    let isBusy = true;
    const { functions, calls } = await functionsOf(
      async (payload) => {
        if (isBusy) throw new ConnectorError('rate_limited', 'busy', { retryAfterMs: 60_000 });
        return { status: 'completed', result: payload };
      },
      { clock },
    );
    const { requestId } = await functions.invoke('f', 1, { async: true });
    await expect
      .poll(async () => (calls.length === 1 ? (await functions.getResult(requestId)).status : ''))
      .toBe('queued');
    isBusy = false;
    await clock.advance(59_999);
    expect(calls).toHaveLength(1);
    await clock.advance(1);
    const ended = await functions.waitForResult(requestId);
    expect(ended).toMatchObject({ status: 'completed', result: 1 });
    expect(ended.failures).toBeUndefined();
  });

  it('keeps a result over 256 KB beside the row, as it was', async () => {
    const result = { text: 'é'.repeat(200_000) };
    const { functions } = await functionsOf(async () => ({ status: 'completed', result }));
    const { requestId } = await functions.invoke('f', 1, { async: true, idempotencyKey: 'k' });
    expect((await functions.waitForResult(requestId)).result).toEqual(result);
    expect((await functions.invoke('f', 1, { idempotencyKey: 'k' })).result).toEqual(result);
  });
});

describe('a cancelled invocation', () => {
  it('that is queued is never run', async () => {
    const { body, open } = gate();
    const { functions, calls } = await functionsOf(body, { spec: { maxConcurrency: 1 } });
    const first = await functions.invoke('f', 1, { async: true });
    await expect.poll(() => calls.length).toBe(1);
    const second = await functions.invoke('f', 2, { async: true });
    expect(await functions.cancel(second.requestId)).toMatchObject({ status: 'cancelled' });
    open();
    await functions.waitForResult(first.requestId);
    expect(await functions.getResult(second.requestId)).toMatchObject({ status: 'cancelled' });
    expect(calls).toEqual([first.requestId]);
  });

  it('that runs is given up, whatever it answers later, and whoever waits is told', async () => {
    const ended: string[] = [];
    const { functions, calls } = await functionsOf(async (_payload, { requestId }, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      ended.push(requestId);
      return { status: 'completed', result: 'late' };
    });
    const { requestId } = await functions.invoke('f', 1, { async: true });
    await expect.poll(() => calls.length).toBe(1);
    const waiting = functions.waitForResult(requestId);
    expect(await functions.cancel(requestId)).toMatchObject({ status: 'cancelled' });
    expect(await waiting).toMatchObject({ status: 'cancelled' });
    await expect.poll(() => ended).toEqual([requestId]);
    expect(await functions.getResult(requestId)).toMatchObject({ status: 'cancelled' });
  });

  it('that has ended is answered as it ended', async () => {
    const { functions } = await functionsOf(echo);
    const { requestId } = await functions.invoke('f', 1, { async: true });
    const ended = await functions.waitForResult(requestId);
    expect(await functions.cancel(requestId)).toEqual(ended);
  });

  it('is refused where there is none', async () => {
    const { functions } = await functionsOf(echo);
    await expect(functions.cancel('none')).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('waiting for a result', () => {
  it('answers an invocation as it is when the time is over', async () => {
    const clock = testClock();
    const { functions, calls } = await functionsOf(gate().body, { clock, graceMs: 0 });
    const { requestId } = await functions.invoke('f', 1, { async: true });
    await expect.poll(() => calls.length).toBe(1);
    const waiting = functions.waitForResult(requestId, { timeoutSeconds: 5 });
    await clock.advance(5_000);
    expect(await waiting).toMatchObject({ status: 'running' });
    expect(await functions.waitForResult(requestId, { timeoutSeconds: 0 })).toMatchObject({
      status: 'running',
    });
    await functions.cancel(requestId);
  });

  it('ends with the signal', async () => {
    const { functions } = await functionsOf(gate().body);
    const { requestId } = await functions.invoke('f', 1, { async: true });
    const waiting = functions.waitForResult(requestId, { signal: AbortSignal.timeout(10) });
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    await functions.cancel(requestId);
  });

  it('ends with the connector, also for whoever shares a key with a call that waits', async () => {
    const { functions, registry, calls } = await functionsOf(async () => {
      throw new ConnectorError('rate_limited', 'busy', { retryAfterMs: 3_600_000 });
    });
    const options = { idempotencyKey: 'k' };
    const { requestId } = await functions.invoke('f', 1, { ...options, async: true });
    await expect.poll(() => calls.length).toBe(1);
    const shared = functions.invoke('f', 1, options);
    const waiting = functions.waitForResult(requestId, { timeoutSeconds: 900 });
    const gone = Promise.all([
      expect(shared).rejects.toMatchObject({ code: 'not_found' }),
      expect(waiting).rejects.toMatchObject({ code: 'not_found' }),
    ]);
    await functions.getResult(requestId);
    await registry.delete(functions.connectorId);
    await gone;
  });

  it.each([-1, 901, Number.NaN])('refuses %d seconds', async (timeoutSeconds) => {
    const { functions } = await functionsOf(echo);
    const refused = functions.waitForResult('any', { timeoutSeconds });
    await expect(refused).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('a listing', () => {
  it('goes on where the page before ended', async () => {
    const { functions } = await functionsOf(echo);
    for (let i = 0; i < 5; i++) {
      const { requestId } = await functions.invoke(i === 2 ? 'g' : 'f', i, { async: true });
      await functions.waitForResult(requestId);
    }
    const all = await functions.listInvocations();
    const first = await functions.listInvocations({ limit: 3 });
    const second = await functions.listInvocations({ limit: 3, cursor: first.nextCursor });
    expect([...first.invocations, ...second.invocations]).toEqual(all.invocations);
    expect(second.nextCursor).toBeUndefined();
    expect(all.invocations).toHaveLength(5);
    expect(all.invocations.some((one) => 'result' in one)).toBe(false);
    expect((await functions.listInvocations({ function: 'g' })).invocations).toHaveLength(1);
    expect((await functions.listInvocations({ status: 'failed' })).invocations).toEqual([]);
  });

  it.each(['', 'x', '1', '1.', '1.a/b'])('refuses the cursor %j', async (cursor) => {
    const { functions } = await functionsOf(echo);
    await expect(functions.listInvocations({ cursor })).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('a run that the platform carries on', () => {
  const run = { kind: 'workflow instance', id: 'run-1' };
  /** A platform that follows what it started. */
  function following(ends: readonly (NativeOutcome | undefined | Error)[]) {
    const seen: string[] = [];
    const left = [...ends];
    return {
      seen,
      capabilities: { native: 'follow' } as const,
      client: {
        async start(name: string): Promise<NativeRun | undefined> {
          seen.push(`start ${name}`);
          return name === 'workflow' ? run : undefined;
        },
        async follow(_name: string, followed: NativeRun): Promise<NativeOutcome | undefined> {
          seen.push(`follow ${followed.id}`);
          const end = left.shift();
          if (end instanceof Error) throw end;
          return end;
        },
        async stop(_name: string, stopped: NativeRun): Promise<void> {
          seen.push(`stop ${stopped.id}`);
        },
      },
    };
  }

  it('is started, named in the row, and followed until it ends', async () => {
    const clock = testClock();
    const { seen, ...platform } = following([undefined, undefined, { status: 'completed', result: 'done' }]);
    const { functions, calls } = await functionsOf(echo, { ...platform, clock });
    const { requestId } = await functions.invoke('workflow', 1, { async: true });
    await expect.poll(async () => (await functions.getResult(requestId)).native).toEqual(run);
    for (let i = 0; i < 3; i++) {
      await clock.advance(1_000);
      await expect.poll(() => seen.length).toBe(2 + i);
    }
    expect(await functions.waitForResult(requestId)).toMatchObject({
      status: 'completed',
      result: 'done',
      native: run,
    });
    expect(calls).toEqual([]);
  });

  it('is called where it is a function of another kind, and where its caller waits', async () => {
    const { seen, ...platform } = following([]);
    const { functions, calls } = await functionsOf(echo, platform);
    const { requestId } = await functions.invoke('plain', 1, { async: true });
    expect(await functions.waitForResult(requestId)).toMatchObject({ status: 'completed', result: 1 });
    expect(seen).toEqual(['start plain']);
    expect(await functions.invoke('workflow', 2)).toMatchObject({ result: 2 });
    expect(calls).toHaveLength(2);
    expect(seen).toEqual(['start plain']);
  });

  it('is lost when the platform no longer knows it, and not when it cannot be asked', async () => {
    const clock = testClock();
    const { seen, ...platform } = following([
      new ConnectorError('unavailable', 'down'),
      new ConnectorError('not_found', 'not yet'),
      new ConnectorError('not_found', 'expired'),
    ]);
    const { functions } = await functionsOf(echo, { ...platform, clock });
    const { requestId } = await functions.invoke('workflow', 1, { async: true });
    await expect.poll(() => seen.length).toBe(1);
    await expect.poll(async () => (await functions.getResult(requestId)).native).toEqual(run);
    await clock.advance(1_000);
    await expect.poll(async () => (await functions.getResult(requestId)).failures).toBe(1);
    await clock.advance(60_000);
    await expect.poll(async () => (await functions.getResult(requestId)).failures).toBe(2);
    await clock.advance(120_000);
    const ended = await functions.waitForResult(requestId);
    expect(ended).toMatchObject({ status: 'lost', error: { name: 'LostError' } });
    expect(ended.error?.message).toMatch(/workflow instance run-1 ended: .*expired/);
  });

  it('is told where it may run once only, which is under a key', async () => {
    const { seen, client, ...platform } = following([]);
    const given: unknown[] = [];
    const start = async (name: string, _payload: unknown, { once }: ClientInvocation) => {
      given.push(once);
      return client.start(name);
    };
    const { functions } = await functionsOf(echo, { ...platform, client: { ...client, start } });
    const { requestId } = await functions.invoke('f', 1, { async: true, idempotencyKey: 'k' });
    await functions.waitForResult(requestId);
    await functions.waitForResult((await functions.invoke('f', 1, { async: true })).requestId);
    expect(given).toEqual([true, undefined]);
    expect(seen).toEqual(['start f', 'start f']);
  });

  it('is stopped when it is cancelled', async () => {
    const { seen, ...platform } = following([]);
    const { functions } = await functionsOf(echo, platform);
    const { requestId } = await functions.invoke('workflow', 1, { async: true });
    await expect.poll(async () => (await functions.getResult(requestId)).native).toEqual(run);
    expect(await functions.cancel(requestId)).toMatchObject({ status: 'cancelled' });
    expect(seen).toEqual(['start workflow', 'stop run-1']);
  });
});

describe('a platform that calls back', () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  function calling() {
    const urls: string[] = [];
    return {
      urls,
      publicUrl: 'https://registry.test/',
      capabilities: { native: 'callback' } as const,
      client: {
        async start(
          _name: string,
          _payload: unknown,
          { callbackUrl, requestId }: { callbackUrl?: string; requestId: string },
        ) {
          urls.push(callbackUrl ?? '');
          return { kind: 'queued call', id: requestId };
        },
      },
      outcomeOf: ({ body }: { body: Uint8Array }): NativeOutcome => ({
        status: 'completed',
        result: new TextDecoder().decode(body),
      }),
    };
  }
  const sealedIn = (url: string | undefined) => (url ?? '').split('/').at(-1) ?? '';

  it('ends its invocation once, and no other', async () => {
    const { urls, ...platform } = calling();
    const { functions, registry, calls } = await functionsOf(echo, platform);
    const { connectorId } = functions;
    const first = await functions.invoke('f', 1, { async: true });
    await expect.poll(() => urls.length).toBe(1);
    const second = await functions.invoke('f', 2, { async: true });
    await expect.poll(() => urls.length).toBe(2);
    expect(urls[0]).toMatch(new RegExp(`^https://registry\\.test/callbacks/${connectorId}/[\\w.-]+$`));
    const say = async (sealed: string, text: string, to = connectorId) => {
      const take = await registry.functionCallback(to, sealed);
      return take({ headers: {}, body: encode(text) });
    };
    expect(await say(sealedIn(urls[0]), 'one')).toBe(true);
    expect(await say(sealedIn(urls[0]), 'again')).toBe(false);
    expect(await functions.waitForResult(first.requestId)).toMatchObject({
      status: 'completed',
      result: 'one',
    });
    expect(await functions.getResult(second.requestId)).toMatchObject({ status: 'running' });
    const denied = { code: 'permission_denied' };
    await expect(say('forged', 'x')).rejects.toMatchObject(denied);
    await expect(say(sealedIn(urls[1]), 'x', 'no-connector')).rejects.toMatchObject(denied);
    const other = await registry.createServerlessConnector({
      tenantId: 'tenant-2',
      name: 'o',
      provider: 'proven',
    });
    await expect(say(sealedIn(urls[1]), 'x', other.connectorId)).rejects.toMatchObject(denied);
    expect(calls).toEqual([]);
    await functions.cancel(second.requestId);
    expect(await say(sealedIn(urls[1]), 'late')).toBe(false);
    expect(await functions.getResult(second.requestId)).toMatchObject({ status: 'cancelled' });
  });

  it('ran, also where it failed and told no time: its key does not run it again', async () => {
    const { urls, ...platform } = calling();
    const outcomeOf = (): NativeOutcome => ({ status: 'failed', error: { name: 'E', message: 'no' } });
    const { functions, registry } = await functionsOf(echo, { ...platform, outcomeOf });
    const call = () => functions.invoke('f', 1, { async: true, idempotencyKey: 'k' });
    const { requestId } = await call();
    await expect.poll(() => urls.length).toBe(1);
    const take = await registry.functionCallback(functions.connectorId, sealedIn(urls[0]));
    await take({ headers: {}, body: encode('') });
    expect(await call()).toMatchObject({ requestId, status: 'failed', durationMs: expect.any(Number) });
    expect(urls).toHaveLength(1);
  });

  it('is only called where nobody knows an address of this registry', async () => {
    const { urls, ...platform } = calling();
    const { functions, calls } = await functionsOf(echo, { ...platform, publicUrl: undefined });
    const { requestId } = await functions.invoke('f', 1, { async: true });
    expect(await functions.waitForResult(requestId)).toMatchObject({ status: 'completed', result: 1 });
    expect(urls).toEqual([]);
    expect(calls).toHaveLength(1);
  });

  it('is asked again when it never says how it ended, except under a key', async () => {
    const clock = testClock();
    const { urls, ...platform } = calling();
    const { functions } = await functionsOf(echo, { ...platform, clock });
    const free = await functions.invoke('f', 1, { async: true });
    const keyed = await functions.invoke('f', 2, { async: true, idempotencyKey: 'k' });
    await expect.poll(() => urls.length).toBe(2);
    await expect
      .poll(async () => (await functions.getResult(keyed.requestId)).native?.kind)
      .toBe('queued call');
    await clock.advance(HOUR + 31_000);
    await expect.poll(() => urls.length).toBe(3);
    expect(await functions.getResult(free.requestId)).toMatchObject({ status: 'running', failures: 1 });
    await expect.poll(async () => (await functions.getResult(keyed.requestId)).status).toBe('lost');
    await functions.cancel(free.requestId);
  });
});
