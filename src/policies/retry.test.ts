import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES, type ErrorCode } from '../errors/codes.ts';
import { ConnectorError } from '../errors/error.ts';
import { testClock } from '../testing/clock.ts';
import { testCall } from './call.fixture.ts';
import type { Call } from './pipeline.ts';
import { retry } from './retry.ts';

const OPTIONS = { maxRetries: 3, retryDelayMs: 1000 };
const MINUTE_MS = 60_000;

/** A backend that fails as told, then answers `ok`; it notes when each attempt came. */
function backend(clock: ReturnType<typeof testClock>, failures: readonly unknown[]) {
  const seen: { readonly attempt: number; readonly atMs: number }[] = [];
  // Not now(): at the epoch's size a double has no digits left for fractions of a millisecond.
  const startMs = clock.monotonicMs();
  const run = async (call: Call) => {
    seen.push({ attempt: call.attempt, atMs: clock.monotonicMs() - startMs });
    const failure = failures[seen.length - 1];
    if (failure !== undefined) throw failure;
    return 'ok';
  };
  return { run, seen };
}

const error = (code: ErrorCode, retryAfterMs?: number) =>
  new ConnectorError(code, 'failed', retryAfterMs === undefined ? {} : { retryAfterMs });

describe('what is repeated', () => {
  const rows = Object.entries(ERROR_CODES) as [ErrorCode, { readonly recovery: string }][];
  for (const [code, { recovery }] of rows) {
    for (const idempotent of [true, false]) {
      const repeats = recovery === 'always' || (recovery === 'safe' && idempotent);
      it(`${repeats ? 'repeats' : 'does not repeat'} ${code} of ${idempotent ? 'a safe' : 'an unsafe'} call`, async () => {
        const clock = testClock();
        const { run, seen } = backend(clock, [error(code)]);
        const outcome = retry(
          OPTIONS,
          clock,
        )(run)(testCall({ idempotent })).then(
          (value) => value,
          (failure: ConnectorError) => failure.code,
        );
        await clock.advance(MINUTE_MS);
        expect(await outcome).toBe(repeats ? 'ok' : code);
        expect(seen.length).toBe(repeats ? 2 : 1);
      });
    }
  }

  it('passes on what is not our error, unchanged and at once', async () => {
    const clock = testClock();
    const bug = new TypeError('a bug');
    const { run, seen } = backend(clock, [bug]);
    await expect(retry(OPTIONS, clock)(run)(testCall())).rejects.toBe(bug);
    expect(seen.length).toBe(1);
  });

  it('passes on the last error after max_retries repetitions, and counts the attempts', async () => {
    const clock = testClock();
    const last = error('unavailable');
    const { run, seen } = backend(clock, [
      error('unavailable'),
      error('timeout'),
      error('rate_limited'),
      last,
      last,
    ]);
    const outcome = expect(retry(OPTIONS, clock)(run)(testCall())).rejects.toBe(last);
    await clock.advance(MINUTE_MS);
    await outcome;
    expect(seen.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4]);
  });

  it('repeats nothing where max_retries is zero', async () => {
    const clock = testClock();
    const { run, seen } = backend(clock, [error('unavailable')]);
    await expect(retry({ ...OPTIONS, maxRetries: 0 }, clock)(run)(testCall())).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(seen.length).toBe(1);
  });
});

describe('how long it waits', () => {
  it('doubles the delay to at most 30 s when the jitter is at its fullest', async () => {
    const clock = testClock();
    const { run, seen } = backend(clock, Array<unknown>(8).fill(error('unavailable')));
    const outcome = retry({ maxRetries: 8, retryDelayMs: 1000 }, clock, () => 1)(run)(testCall());
    await clock.advance(10 * MINUTE_MS);
    await outcome;
    const waits = seen.slice(1).map(({ atMs }, i) => atMs - (seen[i]?.atMs ?? 0));
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('never waits longer than the doubled delay, whatever the jitter', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 0, max: 30_000 }),
        async (jitter, retryDelayMs) => {
          const clock = testClock();
          const { run, seen } = backend(clock, [error('unavailable'), error('unavailable')]);
          const outcome = retry({ maxRetries: 2, retryDelayMs }, clock, () => jitter)(run)(testCall());
          await clock.advance(MINUTE_MS + 1);
          await outcome;
          expect(seen[1]?.atMs).toBeCloseTo(Math.max(1, jitter * retryDelayMs), 6);
          expect((seen[2]?.atMs ?? 0) - (seen[1]?.atMs ?? 0)).toBeCloseTo(
            Math.max(1, jitter * Math.min(30_000, 2 * retryDelayMs)),
            6,
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it('never comes back earlier than the error asks', async () => {
    const clock = testClock();
    const { run, seen } = backend(clock, [error('rate_limited', 30_000)]);
    const outcome = retry(OPTIONS, clock, () => 0)(run)(testCall());
    await clock.advance(30_000);
    expect(seen.length).toBe(1);
    await clock.advance(1);
    expect(await outcome).toBe('ok');
  });

  it('waits the backoff where that is longer than the error asks', async () => {
    const clock = testClock();
    const { run, seen } = backend(clock, [error('rate_limited', 10)]);
    const outcome = retry(OPTIONS, clock, () => 1)(run)(testCall());
    await clock.advance(MINUTE_MS);
    await outcome;
    expect(seen[1]?.atMs).toBe(1000);
  });

  it('does not wait at all when the error asks for more than 30 s', async () => {
    const clock = testClock();
    const { run } = backend(clock, [error('rate_limited', 30_001)]);
    await expect(retry(OPTIONS, clock)(run)(testCall())).rejects.toMatchObject({ retryAfterMs: 30_001 });
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends the wait at once when the caller gives up, and leaves no timer', async () => {
    const clock = testClock();
    const caller = new AbortController();
    const { run, seen } = backend(clock, [error('unavailable')]);
    const outcome = retry(OPTIONS, clock, () => 1)(run)(testCall({ signal: caller.signal }));
    await clock.advance(500);
    caller.abort();
    await expect(outcome).rejects.toMatchObject({ code: 'cancelled' });
    expect(clock.pendingTimers).toBe(0);
    expect(seen.length).toBe(1);
  });

  it('does not begin a call that was given up before', async () => {
    const clock = testClock();
    const { run, seen } = backend(clock, []);
    await expect(retry(OPTIONS, clock)(run)(testCall({ signal: AbortSignal.abort() }))).rejects.toMatchObject(
      {
        code: 'cancelled',
      },
    );
    expect(seen.length).toBe(0);
  });
});

describe('the bucket', () => {
  async function attemptsAt(
    code: ErrorCode,
    calls: number,
    policy: ReturnType<typeof retry>,
    clock = testClock(),
  ) {
    let attempts = 0;
    const dead = policy(async () => {
      attempts += 1;
      throw error(code);
    });
    for (let i = 0; i < calls; i++) {
      const outcome = expect(dead(testCall())).rejects.toMatchObject({ code });
      await clock.advance(100);
      await outcome;
    }
    return attempts;
  }
  const impatient = { maxRetries: 3, retryDelayMs: 0 };

  it('grants a dead backend 100 repetitions, then what it is offered and no more', async () => {
    const clock = testClock();
    expect(await attemptsAt('unavailable', 300, retry(impatient, clock), clock)).toBe(300 + 100);
  });

  it('takes twice as much after a timeout', async () => {
    const clock = testClock();
    expect(await attemptsAt('timeout', 100, retry(impatient, clock), clock)).toBe(100 + 50);
  });

  it('gets one token back for each success at the first attempt, and never holds more than 500', async () => {
    const clock = testClock();
    const policy = retry(impatient, clock);
    await attemptsAt('unavailable', 100, policy, clock);
    const healthy = policy(async () => 'ok');
    for (let i = 0; i < 5; i++) await healthy(testCall());
    expect(await attemptsAt('unavailable', 10, policy, clock)).toBe(10 + 1);
    for (let i = 0; i < 600; i++) await healthy(testCall());
    expect(await attemptsAt('unavailable', 200, policy, clock)).toBe(200 + 100);
  });

  it('gets nothing back for a success that took a repetition', async () => {
    const clock = testClock();
    const policy = retry(impatient, clock);
    for (let i = 0; i < 100; i++) {
      const outcome = policy(backend(clock, [error('unavailable')]).run)(testCall());
      await clock.advance(1);
      expect(await outcome).toBe('ok');
    }
    expect(await attemptsAt('unavailable', 10, policy, clock)).toBe(10);
  });
});
