import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { testClock } from '../testing/clock.ts';
import { testCall } from './call.fixture.ts';
import type { Call } from './pipeline.ts';
import { timeout } from './timeout.ts';

/** A driver that ignores its signal and shows what it was given; `settle` lets it answer late. */
function deafDriver() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const driver = { call: testCall(), run: async (_call: Call) => promise, resolve, reject };
  driver.run = async (call) => {
    driver.call = call;
    return promise;
  };
  return driver;
}

it('releases the caller and aborts the driver, even one that ignores its signal', async () => {
  const clock = testClock();
  const driver = deafDriver();
  const outcome = expect(timeout(100, clock)(driver.run)(testCall())).rejects.toMatchObject({
    code: 'timeout',
    details: { limitMs: 100 },
  });
  await clock.advance(99);
  expect(driver.call.signal.aborted).toBe(false);
  await clock.advance(1);
  await outcome;
  expect(driver.call.signal.aborted).toBe(true);
  expect(driver.call.signal.reason).toMatchObject({ code: 'timeout' });
  expect(clock.pendingTimers).toBe(0);
});

it('drops what a deaf driver answers later, rejections included', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  try {
    for (const late of ['resolve', 'reject'] as const) {
      const clock = testClock();
      const driver = deafDriver();
      const outcome = expect(timeout(100, clock)(driver.run)(testCall())).rejects.toMatchObject({
        code: 'timeout',
      });
      await clock.advance(100);
      await outcome;
      if (late === 'resolve') driver.resolve('late');
      else driver.reject(new Error('late'));
      await nextTurn();
    }
    expect(unhandled).toEqual([]);
  } finally {
    process.off('unhandledRejection', note);
  }
});

it('ends at once when the caller gives up, and hands the reason to the driver', async () => {
  const clock = testClock();
  const caller = new AbortController();
  const driver = deafDriver();
  const outcome = timeout(100, clock)(driver.run)(testCall({ signal: caller.signal }));
  const reason = new Error('gone');
  caller.abort(reason);
  await expect(outcome).rejects.toMatchObject({ code: 'cancelled', cause: reason });
  expect(driver.call.signal.aborted).toBe(true);
  expect(clock.pendingTimers).toBe(0);
});

it('does not begin a call that was given up before', async () => {
  const clock = testClock();
  let begun = false;
  const run = timeout(
    100,
    clock,
  )(async () => {
    begun = true;
  });
  await expect(run(testCall({ signal: AbortSignal.abort() }))).rejects.toMatchObject({ code: 'cancelled' });
  expect(begun).toBe(false);
});

it('takes the limit of the call before its own', async () => {
  const clock = testClock();
  const driver = deafDriver();
  const outcome = expect(timeout(100, clock)(driver.run)(testCall({ timeoutMs: 500 }))).rejects.toMatchObject(
    {
      details: { limitMs: 500 },
    },
  );
  await clock.advance(499);
  expect(driver.call.signal.aborted).toBe(false);
  await clock.advance(1);
  await outcome;
});

it('starts the limit anew with each progress, and ends a stream that stalls', async () => {
  const clock = testClock();
  const driver = deafDriver();
  let heard = 0;
  const run = timeout(100, clock)(driver.run)(testCall({ progress: () => (heard += 1) }));
  const outcome = expect(run).rejects.toMatchObject({ code: 'timeout' });
  for (let i = 0; i < 5; i++) {
    await clock.advance(90);
    driver.call.progress();
  }
  expect(heard).toBe(5);
  await clock.advance(99);
  expect(driver.call.signal.aborted).toBe(false);
  await clock.advance(1);
  expect(driver.call.signal.aborted).toBe(true);
  await outcome;
});

it('passes on an answer and an error unchanged, and leaves no timer', async () => {
  const clock = testClock();
  const bug = new TypeError('a bug');
  expect(await timeout(100, clock)(async () => 'ok')(testCall())).toBe('ok');
  await expect(timeout(100, clock)(async () => Promise.reject(bug))(testCall())).rejects.toBe(bug);
  const throwsAtOnce = (): Promise<never> => {
    throw bug;
  };
  await expect(timeout(100, clock)(throwsAtOnce)(testCall())).rejects.toBe(bug);
  expect(clock.pendingTimers).toBe(0);
});

it('leaves no listener on the signal of the caller', async () => {
  const clock = testClock();
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners += 1;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners -= 1;
    removeEventListener.apply(signal, args);
  };
  const run = timeout(
    100,
    clock,
  )(async () => {
    expect(listeners).toBe(1);
  });
  await run(testCall({ signal }));
  expect(listeners).toBe(0);
});

it('does not end at once where the limit is longer than a timer can be', async () => {
  const clock = testClock();
  const longest: number[] = [];
  const watched = {
    ...clock,
    after: (ms: number, task: () => void) => (longest.push(ms), clock.after(ms, task)),
  };
  await timeout(Number.POSITIVE_INFINITY, watched)(async () => 'ok')(testCall());
  expect(longest).toEqual([2 ** 31 - 1]);
});
