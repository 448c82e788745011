import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { testCall } from './call.fixture.ts';
import { memoryCounters, rateLimit } from './rate-limit.ts';

// The limiter reads Date and sets timers itself, so this is the one policy that the test clock does not move.
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

const OPTIONS = { key: 'acme/c1', requests: 3, windowMs: 10_000 };
const ok = async () => 'ok';

it('lets just so many attempts through in each window, and says when the next one begins', async () => {
  let reached = 0;
  const call = rateLimit(OPTIONS)(async () => (reached += 1));
  const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => call(testCall())));
  expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(3);
  await vi.advanceTimersByTimeAsync(4000);
  await expect(call(testCall())).rejects.toMatchObject({
    code: 'rate_limited',
    retryAfterMs: 6000,
    details: { requests: 3, windowMs: 10_000 },
  });
  await vi.advanceTimersByTimeAsync(6000);
  expect(await call(testCall())).toBe(4);
  expect(reached).toBe(4);
});

it('counts attempts that failed as well', async () => {
  const bug = new TypeError('a bug');
  const call = rateLimit(OPTIONS)(async () => Promise.reject(bug));
  for (let i = 0; i < 3; i++) await expect(call(testCall())).rejects.toBe(bug);
  await expect(call(testCall())).rejects.toMatchObject({ code: 'rate_limited' });
});

it('keeps the counts of connectors apart', async () => {
  const counters = memoryCounters();
  const one = rateLimit({ ...OPTIONS, requests: 1 }, counters)(ok);
  const other = rateLimit({ ...OPTIONS, key: 'acme/c2', requests: 1 }, counters)(ok);
  await one(testCall());
  await expect(one(testCall())).rejects.toMatchObject({ code: 'rate_limited' });
  expect(await other(testCall())).toBe('ok');
});

it('gives no new slots to a connector that is opened again within the window', async () => {
  const counters = memoryCounters();
  for (let i = 0; i < 3; i++) await rateLimit(OPTIONS, counters)(ok)(testCall());
  await expect(rateLimit(OPTIONS, counters)(ok)(testCall())).rejects.toMatchObject({ code: 'rate_limited' });
});

it('does not lengthen a window when the wall clock is set back', async () => {
  const call = rateLimit({ ...OPTIONS, requests: 1 })(ok);
  await call(testCall());
  vi.setSystemTime(Date.now() - 3_600_000);
  await expect(call(testCall())).rejects.toMatchObject({ retryAfterMs: 10_000 });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await call(testCall())).toBe('ok');
});

it('takes windows of a fraction of a second', async () => {
  const call = rateLimit({ ...OPTIONS, requests: 1, windowMs: 250 })(ok);
  await call(testCall());
  await expect(call(testCall())).rejects.toMatchObject({ retryAfterMs: 250 });
  await vi.advanceTimersByTimeAsync(250);
  expect(await call(testCall())).toBe('ok');
});

it('forgets a key when its window ends', async () => {
  const counters = memoryCounters();
  for (let i = 0; i < 1000; i++) await counters.count(`acme/c${i}`, 10_000);
  expect(vi.getTimerCount()).toBe(1000);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(vi.getTimerCount()).toBe(0);
});
