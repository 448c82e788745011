import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { systemClock } from '../contract/clock.ts';
import type { RateLimitCounters } from '../contract/counters.ts';
import type { Log } from '../contract/driver.ts';
import { ConnectorError } from '../errors/error.ts';
import { testClock } from '../testing/clock.ts';
import { testCall } from './call.fixture.ts';
import { FallbackCounters } from './fallback-counters.ts';
import { rateLimit } from './rate-limit.ts';

type Count = Awaited<ReturnType<RateLimitCounters['count']>>;
const SHARED: Count = { attempts: 7, leftMs: 500 };
const answer = async () => SHARED;
const refuse = async () => Promise.reject(new ConnectorError('unavailable', 'Redis cannot be reached'));
const hang = () => new Promise<Count>(() => {});

function withShared(servers = 3) {
  const clock = testClock();
  const logged: string[] = [];
  const write = (level: string) => (message: string, fields?: object) =>
    void logged.push(`${level}: ${message}${fields ? ` ${JSON.stringify(fields)}` : ''}`);
  const log: Log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  const shared = { asked: 0, do: answer };
  const counters = new FallbackCounters(
    { count: () => ((shared.asked += 1), shared.do()) },
    { servers: () => servers, timeoutMs: 100, clock, log },
  );
  return { clock, log, logged, shared, counters, count: () => counters.count('k', 60_000) };
}

it('goes by the shared counts while they answer, and leaves no timer behind', async () => {
  const { clock, logged, counters, count } = withShared();
  expect(await count()).toEqual(SHARED);
  expect(counters.isAlone).toBe(false);
  expect(clock.pendingTimers).toBe(0);
  expect(logged).toEqual([]);
});

it('counts by itself from the first failure on, says so once, and does not ask again for a second', async () => {
  const { clock, logged, shared, counters, count } = withShared();
  shared.do = refuse;
  const counts = await Promise.all([count(), count()]);
  expect(counts).toMatchObject([
    { attempts: 1, servers: 3 },
    { attempts: 2, servers: 3 },
  ]);
  expect(shared.asked).toBe(1);
  expect(counters.isAlone).toBe(true);
  await clock.advance(999);
  expect(await count()).toMatchObject({ attempts: 3, servers: 3 });
  expect(shared.asked).toBe(1);
  expect(logged).toEqual([
    'warn: rate limits are this server\'s share until the shared counts answer again {"reason":"Redis cannot be reached"}',
  ]);
});

it('is back within a second of the shared counts, with no call to find it out', async () => {
  const { clock, logged, shared, counters, count } = withShared();
  shared.do = refuse;
  await count();
  await clock.advance(5_000);
  expect(shared.asked).toBe(6);
  shared.do = answer;
  await clock.advance(1_000);
  expect(counters.isAlone).toBe(false);
  expect(await count()).toEqual(SHARED);
  expect(logged.slice(1)).toEqual(['info: rate limits hold across servers again']);
  expect(clock.pendingTimers).toBe(0);
});

it('waits for counts that do not come no longer than it may, and never twice', async () => {
  const { clock, logged, shared, count } = withShared();
  shared.do = hang;
  let counted = 0;
  const waiting = [count(), count()].map((one) => one.then(() => (counted += 1)));
  await clock.advance(99);
  expect(counted).toBe(0);
  await clock.advance(1);
  await Promise.all(waiting);
  expect(logged.length).toBe(1);
  expect(logged[0]).toContain('no answer within 100 ms');
  // While a look hangs, too.
  await clock.advance(1_050);
  expect(shared.asked).toBe(2);
  expect(await count()).toMatchObject({ attempts: 3 });
});

it('counts together what comes while a count of the same key is under way', async () => {
  const { log, clock } = withShared();
  const asked: [key: string, more: number | undefined][] = [];
  let attempts = 0;
  const count = async (key: string, _windowMs: number, more = 1): Promise<Count> => {
    asked.push([key, more]);
    await nextTurn();
    return { attempts: (attempts += more), leftMs: 500 };
  };
  const counters = new FallbackCounters({ count }, { servers: () => 3, timeoutMs: 100, clock, log });
  const counts = await Promise.all(Array.from({ length: 3_000 }, () => counters.count('k', 60_000)));
  expect(asked).toEqual([
    ['k', 1],
    ['k', 2_999],
  ]);
  expect(counts.map((one) => one.attempts)).toEqual(Array.from({ length: 3_000 }, (_, n) => n + 1));
  expect(counts.some(({ servers }) => servers !== undefined)).toBe(false);
  expect((await counters.count('k', 60_000)).attempts).toBe(3_001);
});

it('counts what waited by the window that it came with', async () => {
  const { log, clock } = withShared();
  const windows: number[] = [];
  const count = async (_key: string, windowMs: number) => {
    windows.push(windowMs);
    return SHARED;
  };
  const counters = new FallbackCounters({ count }, { servers: () => 3, timeoutMs: 100, clock, log });
  await Promise.all([counters.count('k', 60_000), counters.count('k', 1_000)]);
  expect(windows).toEqual([60_000, 1_000]);
});

it('counts one key by itself where that alone is late, and all others together', async () => {
  const { log, clock, logged } = withShared();
  const count = (key: string) => (key === 'slow' ? hang() : answer());
  const counters = new FallbackCounters({ count }, { servers: () => 3, timeoutMs: 100, clock, log });
  const late = counters.count('slow', 60_000);
  await clock.advance(50);
  expect(await counters.count('k', 60_000)).toEqual(SHARED);
  await clock.advance(50);
  expect(await late).toMatchObject({ attempts: 1, servers: 3 });
  expect(counters.isAlone).toBe(false);
  expect(await counters.count('k', 60_000)).toEqual(SHARED);
  expect(logged).toEqual([]);
  // Nothing was answered since this one was sent.
  const last = counters.count('slow', 60_000);
  await clock.advance(100);
  expect(await last).toMatchObject({ attempts: 2, servers: 3 });
  expect(counters.isAlone).toBe(true);
});

it('takes an answer that came while the process itself was busy for the whole time', async () => {
  const { log } = withShared();
  // What arrived is read after the timers that are due.
  const count = () => new Promise<Count>((resolve) => void setImmediate(() => resolve(SHARED)));
  const options = { servers: () => 3, timeoutMs: 5, clock: systemClock, log };
  const counters = new FallbackCounters({ count }, options);
  await nextTurn();
  const counted = counters.count('k', 60_000);
  const busyUntilMs = performance.now() + 20;
  while (performance.now() < busyUntilMs);
  expect(await counted).toEqual(SHARED);
});

it('looks no more once it is closed', async () => {
  const { clock, logged, shared, counters, count } = withShared();
  shared.do = refuse;
  await count();
  counters.close();
  await clock.advance(60_000);
  expect(shared.asked).toBe(1);
  expect(clock.pendingTimers).toBe(0);
  expect(logged.length).toBe(1);
});

it.each([
  { requests: 10, servers: 3, allowed: 3 },
  { requests: 2, servers: 3, allowed: 1 },
  { requests: 10, servers: 1, allowed: 10 },
])('lets $allowed of $requests through alone among $servers', async ({ requests, servers, allowed }) => {
  const { shared, counters } = withShared(servers);
  shared.do = refuse;
  const call = rateLimit({ key: 'k', requests, windowMs: 60_000 }, counters)(async () => 'through');
  const outcomes = await Promise.allSettled(Array.from({ length: 30 }, () => call(testCall())));
  expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(allowed);
  await expect(call(testCall())).rejects.toMatchObject({
    code: 'rate_limited',
    details: { requests: allowed, windowMs: 60_000 },
  });
});
