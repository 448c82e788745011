import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../../errors/error.ts';
import { testClock } from '../../testing/clock.ts';
import { takeTurn, type TurnHost } from './turns.ts';
import type { ClaimedInvocation } from './invocations.ts';

const DAY_MS = 86_400_000;
const clock = testClock();
const invocation: ClaimedInvocation = {
  ...{ requestId: 'r', tenantId: 'acme', connectorId: 'c', functionName: 'f', status: 'running' },
  ...{ payload: 1, payloadHash: '', idempotencyKey: null, repeatable: true, timeoutMs: 1_000, failures: 0 },
  ...{ fence: 1, dueAt: new Date(clock.now()), native: null, result: null, resultFile: null, error: null },
  ...{ logs: null, durationMs: null, createdAt: new Date(clock.now()), endedAt: null, expiresAt: null },
  interrupted: false,
};

function hostWith(failure: ConnectorError): TurnHost {
  const fail = () => Promise.reject(failure);
  const call = async () => ({ failure, asked: true, durationMs: 1 });
  return {
    ...{ foreground: false, clock, random: () => 0, retryDelayMs: 0, resultTtlMs: DAY_MS, native: 'follow' },
    calls: { call, start: async () => undefined, follow: fail },
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
