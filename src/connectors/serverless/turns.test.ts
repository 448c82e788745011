import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../errors/error.ts';
import { testClock } from '../../testing/clock.ts';
import { takeTurn, type TurnHost } from './turns.ts';
import type { ClaimedInvocation } from './invocations.ts';

const DAY_MS = 86_400_000;
const clock = testClock();
const invocation: ClaimedInvocation = {
  ...{ requestId: 'r', tenantId: 'acme', connectorId: 'c', functionName: 'f', status: 'running' },
  ...{
    payload: 1,
    payloadHash: '',
    idempotencyKey: null,
    repeatable: true,
    timeoutMs: 1_000,
    failures: 0,
    takeovers: 0,
  },
  ...{ fence: 1, dueAt: new Date(clock.now()), native: null, result: null, resultFile: null, error: null },
  ...{ logs: null, durationMs: null, createdAt: new Date(clock.now()), endedAt: null, expiresAt: null },
  interrupted: false,
};

function hostWith(failure: ConnectorError): TurnHost {
  const fail = () => Promise.reject(failure);
  const call = async () => ({ failure, asked: true, durationMs: 1 });
  return {
    ...{ foreground: false, clock, random: () => 0, retryDelayMs: 0, resultTtlMs: DAY_MS, native: 'follow' },
    calls: { call, start: async () => ({ native: undefined }), follow: fail },
  };
}

describe('a platform that asks to wait for ages', () => {
  // As far as `Retry-After` can be read: no date is so far off, so the invocation would be due at none.
  const ages = { retryAfterMs: Number.MAX_SAFE_INTEGER };
  it.each([
    ['too busy for a call', 'rate_limited', null],
    ['down for a call', 'unavailable', null],
    ['too busy to tell how a run goes', 'rate_limited', { kind: 'run', id: '1' }],
    ['down and tells not how a run goes', 'unavailable', { kind: 'run', id: '1' }],
  ] as const)('is asked again the next day, where it is %s', async (_what, code, native) => {
    const host = hostWith(new ConnectorError(code, 'no', ages));
    const turn = await takeTurn({ ...invocation, native }, host, new AbortController().signal);
    expect(turn).toMatchObject({ dueInMs: DAY_MS });
  });
});

describe('an invocation', () => {
  const { signal } = new AbortController();
  const run = { kind: 'run', id: '1' };

  it('that a platform was never asked to start is not lost', async () => {
    const failure = new ConnectorError('unavailable', 'no client of it could be opened');
    const host = hostWith(failure);
    const start = async () => ({ failure, asked: false, durationMs: 0 });
    const calling = { ...host, native: 'callback', calls: { ...host.calls, start } } as const;
    const turn = await takeTurn({ ...invocation, repeatable: false }, calling, signal);
    expect(turn).toMatchObject({ defer: { status: 'queued', failures: 1 } });
  });

  it('that ended twenty servers is run no more; how often it waited does not count', async () => {
    const host = { ...hostWith(new ConnectorError('unavailable', 'down')), native: false } as const;
    const waited = { ...invocation, fence: 1_000, takeovers: 20, interrupted: true };
    expect(await takeTurn(waited, host, signal)).toMatchObject({ defer: { status: 'queued', failures: 1 } });
    expect(await takeTurn({ ...waited, takeovers: 21 }, host, signal)).toMatchObject({
      end: { status: 'lost', error: { name: 'LostError' } },
    });
  });

  it('whose run has a result over the limit has failed, as it is with any other call', async () => {
    const host = hostWith(new ConnectorError('payload_too_large', 'the result is too large'));
    const turn = await takeTurn({ ...invocation, native: run }, host, signal);
    const end = { status: 'failed', error: { name: 'payload_too_large' }, durationMs: expect.any(Number) };
    expect(turn).toMatchObject({ end });
  });

  it('waits as long as a platform that fails is left alone, since nothing was attempted', async () => {
    const host = hostWith(new ConnectorError('circuit_open', 'left alone', { retryAfterMs: 30_000 }));
    const turn = await takeTurn({ ...invocation, failures: 2 }, host, signal);
    expect(turn).toMatchObject({ defer: { status: 'queued', failures: 2 }, dueInMs: 30_000 });
  });
});
