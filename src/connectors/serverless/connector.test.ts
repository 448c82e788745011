import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../contract/clock.ts';
import { ConnectorError } from '../../errors/error.ts';
import { NEVER, type Call } from '../../policies/pipeline.ts';
import { ConnectorConfig } from '../config.ts';
import type { ConnectorRecord } from '../base.ts';
import type { ClientSession, SessionCall } from '../session.ts';
import { ServerlessConnector } from './connector.ts';
import type { ClientInvocation, InvocationOutcome, JsonValue, ServerlessClient } from './driver.ts';
import type { InvocationEnd, InvocationLog, InvocationRecord } from './invocations.ts';

type Body = (payload: JsonValue, invocation: ClientInvocation) => Promise<InvocationOutcome>;

const echo: Body = async (payload) => ({ status: 'completed', result: payload });

function memoryLog() {
  const rows = new Map<string, InvocationRecord>();
  const change = (requestId: string, patch: Partial<InvocationEnd>) => {
    const row = rows.get(requestId);
    if (row) rows.set(requestId, { ...row, ...patch });
  };
  const log: InvocationLog = {
    async add(record) {
      const holder = [...rows.values()].find(
        (row) => row.idempotencyKey !== null && row.idempotencyKey === record.idempotencyKey,
      );
      if (!holder) rows.set(record.requestId, record);
      return holder ?? record;
    },
    async markRunning(requestId) {
      change(requestId, { status: 'running' });
    },
    async end(requestId, end) {
      change(requestId, end);
    },
    get: async (requestId) => rows.get(requestId),
  };
  return { log, rows };
}

function connector(body: Body, { deploy = false, log = memoryLog().log, now = systemClock.now } = {}) {
  const calls: SessionCall[] = [];
  const client: ServerlessClient = {
    invoke: (_name, payload, invocation) => body(payload, invocation),
    listFunctions: async () => [{ name: 'b' }, { name: 'a' }],
    check: async () => [],
    close: async () => {},
  };
  const session: ClientSession<ServerlessClient> = {
    run(call, run) {
      calls.push(call);
      const seen: Call = { ...call, attempt: 1, signal: call.signal ?? NEVER, progress: () => {} } as Call;
      return run(client, seen);
    },
    hold: () => () => {},
    connect: async () => {},
    disconnect: async () => {},
    check: async () => ({ ok: true, stages: [] }),
  };
  const at = new Date(0);
  const record: ConnectorRecord = {
    connectorId: 'c1',
    tenantId: 'acme',
    name: 'functions',
    connectorType: 'serverless',
    provider: 'local',
    config: new ConnectorConfig({ timeoutSeconds: 3 }),
    settings: { result_ttl_seconds: 60 },
    capabilities: [],
    metadata: {},
    trusted: false,
    version: 1,
    createdAt: at,
    updatedAt: at,
  };
  const made = new ServerlessConnector({
    record,
    session,
    capabilities: { deploy, logs: false, native: false, limits: { payloadBytes: 1000, timeoutSeconds: 900 } },
    invocations: log,
    clock: { ...systemClock, now },
  });
  return { made, calls };
}

/** A body that waits until it is let go, and counts its runs. */
function gate() {
  const runs: string[] = [];
  const waiting: (() => void)[] = [];
  let open = false;
  const body: Body = async (payload, { requestId }) => {
    runs.push(requestId);
    if (!open) await new Promise<void>((resolve) => waiting.push(resolve));
    return { status: 'completed', result: payload };
  };
  const release = () => {
    open = true;
    for (const resolve of waiting.splice(0)) resolve();
  };
  return { body, runs, release };
}

describe('a synchronous call', () => {
  it('answers the result and stores nothing', async () => {
    const { log, rows } = memoryLog();
    const { made, calls } = connector(echo, { log });
    const answer = await made.invoke('echo', { a: [1, null] });
    expect(answer).toMatchObject({ function: 'echo', status: 'completed', result: { a: [1, null] } });
    expect(rows.size).toBe(0);
    expect(calls).toMatchObject([{ operation: 'serverless.invoke', idempotent: false, timeoutMs: 8000 }]);
  });

  it("gives a function's own failure as data", async () => {
    const { made } = connector(async () => ({
      status: 'failed',
      error: { name: 'TypeError', message: 'no' },
    }));
    expect(await made.invoke('f', null)).toMatchObject({ status: 'failed', error: { name: 'TypeError' } });
  });

  it('rejects with a named timeout that the policies did not see as a failure', async () => {
    const { made } = connector(async () => {
      throw new ConnectorError('timeout', 'too long');
    });
    await expect(made.invoke('f', null)).rejects.toMatchObject({ code: 'timeout', connectorId: 'c1' });
    await expect(made.invoke('f', null, { idempotencyKey: 'k' })).rejects.toMatchObject({ code: 'timeout' });
    await expect(made.invoke('f', null, { idempotencyKey: 'k' })).rejects.toMatchObject({ code: 'timeout' });
  });

  it.each([
    ['with a prototype key', '{"__proto__":{"a":1}}'],
    ['that is 100,000 deep', '['.repeat(1e5) + ']'.repeat(1e5)],
  ])('turns a result %s into a failure of the function', async (_what, json) => {
    const { made } = connector(async () => ({ status: 'completed', result: JSON.parse(json) }));
    expect(await made.invoke('f', null)).toMatchObject({ status: 'failed', error: { name: 'ResultError' } });
  });
});

describe('an idempotency key', () => {
  it('makes one call for many callers at once and for those after', async () => {
    const { body, runs, release } = gate();
    const { made, calls } = connector(body);
    const all = Promise.all(Array.from({ length: 100 }, () => made.invoke('f', 7, { idempotencyKey: 'k' })));
    await expect.poll(() => runs.length).toBe(1);
    release();
    const answers = [...(await all), await made.invoke('f', 7, { idempotencyKey: 'k' })];
    expect(new Set(answers.map((a) => a.requestId)).size).toBe(1);
    expect(answers.every((a) => a.result === 7)).toBe(true);
    expect(runs).toHaveLength(1);
    expect(calls).toMatchObject([{ idempotent: true }]);
  });

  it('refuses another payload and another function', async () => {
    const { made } = connector(echo);
    await made.invoke('f', 1, { idempotencyKey: 'k' });
    await expect(made.invoke('f', 2, { idempotencyKey: 'k' })).rejects.toMatchObject({ code: 'conflict' });
    await expect(made.invoke('g', 1, { idempotencyKey: 'k' })).rejects.toMatchObject({ code: 'conflict' });
  });

  it('may run again after a failure of the platform', async () => {
    let down = true;
    const { made } = connector(async (payload) => {
      if (down) throw new ConnectorError('unavailable', 'down');
      return { status: 'completed', result: payload };
    });
    await expect(made.invoke('f', 1, { idempotencyKey: 'k' })).rejects.toMatchObject({ code: 'unavailable' });
    down = false;
    expect(await made.invoke('f', 1, { idempotencyKey: 'k' })).toMatchObject({
      status: 'completed',
      result: 1,
    });
  });

  it('keeps the shared run going when one caller leaves', async () => {
    const { body, runs, release } = gate();
    const { made } = connector(body);
    const leaving = new AbortController();
    const left = made.invoke('f', 1, { idempotencyKey: 'k', signal: leaving.signal });
    const stays = made.invoke('f', 1, { idempotencyKey: 'k' });
    await expect.poll(() => runs.length).toBe(1);
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'cancelled' });
    release();
    expect(await stays).toMatchObject({ status: 'completed' });
  });
});

describe('an asynchronous call', () => {
  it('is stored before it is acknowledged, and its end can be asked for until it expires', async () => {
    const { log, rows } = memoryLog();
    let nowMs = 1000;
    const { body, release } = gate();
    const { made } = connector(body, { log, now: () => nowMs });
    const { requestId, status } = await made.invoke('f', 5, { async: true });
    expect(status).toBe('queued');
    expect(rows.get(requestId)).toMatchObject({ payload: 5, tenantId: 'acme', connectorId: 'c1' });
    expect(made.busy).toBe(true);
    release();
    await made.drain();
    expect(made.busy).toBe(false);
    expect(await made.getResult(requestId)).toMatchObject({ status: 'completed', result: 5 });
    nowMs += 60_000;
    await expect(made.getResult(requestId)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('runs at most ten at once, and all of them', async () => {
    const { body, runs, release } = gate();
    const { made } = connector(body);
    await Promise.all(Array.from({ length: 25 }, () => made.invoke('f', null, { async: true })));
    await expect.poll(() => runs.length).toBe(10);
    release();
    await made.drain();
    expect(new Set(runs).size).toBe(25);
  });

  it('ends as timed_out or failed where the call has no answer', async () => {
    const { made } = connector(async (payload) => {
      throw new ConnectorError(payload === 1 ? 'timeout' : 'not_found', 'no');
    });
    const late = await made.invoke('f', 1, { async: true });
    const gone = await made.invoke('f', 2, { async: true });
    await made.drain();
    expect(await made.getResult(late.requestId)).toMatchObject({ status: 'timed_out' });
    expect(await made.getResult(gone.requestId)).toMatchObject({
      status: 'failed',
      error: { name: 'not_found' },
    });
  });

  it('is taken up by the next process when this one could not store its end', async () => {
    const { log, rows } = memoryLog();
    const broken = { ...log, end: () => Promise.reject(new ConnectorError('unavailable', 'disk full')) };
    const { made } = connector(echo, { log: broken });
    const { requestId } = await made.invoke('f', 1, { async: true });
    await made.drain();
    expect(made.lastError).toMatchObject({ code: 'unavailable' });
    const { made: next } = connector(echo, { log });
    next.resume([...rows.values()]);
    await next.drain();
    expect(await next.getResult(requestId)).toMatchObject({ status: 'completed', result: 1 });
  });

  it('is not run again by resume when it has ended meanwhile', async () => {
    const { log, rows } = memoryLog();
    const { body, runs, release } = gate();
    const { made } = connector(body, { log });
    release();
    await made.invoke('f', 1, { async: true });
    const stale = [...rows.values()];
    await made.drain();
    made.resume(stale);
    await made.drain();
    expect(runs).toHaveLength(1);
  });

  it('lets a waiting drain end early', async () => {
    const { body, release } = gate();
    const { made } = connector(body);
    await made.invoke('f', 1, { async: true });
    await expect(made.drain(AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' });
    release();
    await made.drain();
  });
});

describe('arguments', () => {
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const bomb = Array.from({ length: 40 }).reduce<unknown>((inner) => [inner, inner], 1);
  it.each([
    ['undefined', undefined],
    ['a function', () => 1],
    ['NaN', { a: [Number.NaN] }],
    ['a BigInt', 1n],
    ['a cycle', cyclic],
    ['a Date', new Date(0)],
    ['a hole in an array', Array.from({ length: 1 })],
    ['a prototype key', JSON.parse('{"a":{"__proto__":1}}')],
  ])('refuses %s as a payload', async (_what, payload) => {
    const { made, calls } = connector(echo);
    await expect(made.invoke('f', payload)).rejects.toMatchObject({ code: 'invalid_argument' });
    expect(calls).toEqual([]);
  });

  it.each([
    ['text over the limit', 'x'.repeat(1000)],
    ['a small graph that is endless as text', bomb],
  ])('refuses %s as too large', async (_what, payload) => {
    const { made } = connector(echo);
    await expect(made.invoke('f', payload)).rejects.toMatchObject({ code: 'payload_too_large' });
  });

  it.each(['', 'a'.repeat(141), '../x', 'a/b', 'a?b', '..', '.hidden', 'é'])('refuses the name %j', async (name) => {
    const { made } = connector(echo);
    await expect(made.invoke(name, null)).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  it.each([0, -1, 901, Number.NaN, Infinity])('refuses the time limit %d', async (timeoutSeconds) => {
    const { made } = connector(echo);
    await expect(made.invoke('f', null, { timeoutSeconds })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });

  it('hands every JSON value over unchanged', async () => {
    const { made } = connector(echo);
    const plain = fc.jsonValue({ maxDepth: 4, stringUnit: 'grapheme' }).filter((value) => {
      const text = JSON.stringify(value);
      return Buffer.byteLength(text) <= 1000 && !text.includes('__proto__');
    });
    await fc.assert(
      fc.asyncProperty(plain, async (value) => {
        expect((await made.invoke('f', value)).result).toEqual(value);
      }),
    );
  });
});

describe('functions', () => {
  it('are listed by name', async () => {
    const { made } = connector(echo);
    expect((await made.listFunctions()).map((f) => f.name)).toEqual(['a', 'b']);
  });

  it('are refused before any call where the platform takes none', async () => {
    const { made, calls } = connector(echo);
    await expect(made.deployFunction('f', { code: '' })).rejects.toMatchObject({ code: 'unsupported' });
    await expect(made.removeFunction('f')).rejects.toMatchObject({ code: 'unsupported' });
    expect(calls).toEqual([]);
  });
});
