import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { RateLimitCounters } from '../contract/counters.ts';
import { testCall } from '../policies/call.fixture.ts';
import { rateLimit } from '../policies/rate-limit.ts';

/** What counters of attempts do, wherever they count. `open` answers those of two servers that share their counts. */
export function testCounters(open: () => readonly [RateLimitCounters, RateLimitCounters]): void {
  it('counts each attempt once, however many two servers make at once', async () => {
    const key = randomUUID();
    const counts = await Promise.all(
      Array.from({ length: 100 }, () => open().map((counters) => counters.count(key, 60_000))).flat(),
    );
    const attempts = counts.map((count) => count.attempts).toSorted((a, b) => a - b);
    expect(attempts).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
    expect(counts.every(({ servers }) => servers === undefined)).toBe(true);
  });

  it('counts several attempts at once, also where a window begins or has ended', async () => {
    const [one, other] = open();
    const key = randomUUID();
    expect(await one.count(key, 300, 7)).toMatchObject({ attempts: 7 });
    expect(await other.count(key, 300, 1_000)).toMatchObject({ attempts: 1_007 });
    await expect.poll(async () => (await other.count(key, 300, 5)).attempts, { interval: 20 }).toBe(5);
  });

  it('lets exactly the limit through at twenty times of it', async () => {
    const options = { key: randomUUID(), requests: 25, windowMs: 60_000 };
    const calls = open().map((counters) => rateLimit(options, counters)(async () => 'through'));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 250 }, () => calls.map((call) => call(testCall()))).flat(),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(25);
  });

  it('begins a window with its first attempt, and ends it no later for those that follow', async () => {
    const [one, other] = open();
    const key = randomUUID();
    const startMs = performance.now();
    expect(await one.count(key, 300)).toMatchObject({ attempts: 1 });
    let last = { attempts: 1, leftMs: 300 };
    for (;;) {
      const count = await other.count(key, 300);
      if (count.attempts === 1) break;
      expect(count.attempts).toBe(last.attempts + 1);
      // Clocks of milliseconds: one that was rounded up may be followed by one that was rounded down.
      expect(count.leftMs).toBeLessThanOrEqual(last.leftMs + 1);
      last = count;
      await delay(5);
    }
    const tookMs = performance.now() - startMs;
    expect(tookMs).toBeGreaterThan(295);
    expect(tookMs).toBeLessThan(1_000);
    expect(last.attempts).toBeGreaterThan(2);
  });

  it('keeps keys apart', async () => {
    const [counters] = open();
    const key = randomUUID();
    await counters.count(key, 60_000);
    expect(await counters.count(`${key}'`, 60_000)).toMatchObject({ attempts: 1 });
    const { attempts, leftMs } = await counters.count(key, 60_000);
    expect(attempts).toBe(2);
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });
}
