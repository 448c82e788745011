/**
 * Rate limits that servers share: what a count in Redis or PostgreSQL adds to a call, and how exactly a limit holds where
 * three processes offer twenty times of it.
 *
 *     node bench/limits.ts [--quick]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { Pool } from 'pg';
import { systemClock } from '../src/contract/clock.ts';
import type { RateLimitCounters } from '../src/contract/counters.ts';
import { FallbackCounters } from '../src/policies/fallback-counters.ts';
import { NEVER, type Call } from '../src/policies/pipeline.ts';
import { memoryCounters, rateLimit } from '../src/policies/rate-limit.ts';
import { redisCounters } from '../src/policies/redis-counters.ts';
import { REDIS_MS, STORE_MS } from '../src/registry/limits.ts';
import { silentLog } from '../src/registry/log.ts';
import { postgresCounters } from '../src/store/postgres-counters.ts';
import { SqlStore } from '../src/store/sql-store.ts';
import { noPostgres, startPostgres } from '../src/testing/postgres.fixture.ts';
import { noRedis, startRedis } from '../src/testing/redis.fixture.ts';
import { quantile, timedMs } from './pairs.ts';
import { report, type Row } from './report.ts';

const QUICK = process.argv.includes('--quick');
const CALLS = QUICK ? 500 : 10_000;
const PROCESSES = 3;
const WINDOWS = QUICK ? 2 : 15;
const LIMIT = { requests: 100, windowMs: 1_000 };
/** Attempts of all processes in a window. */
const OFFERED = 20 * LIMIT.requests;
const TICK_MS = 10;

const CALL: Call = { operation: 'bench', idempotent: true, attempt: 1, signal: NEVER, progress: () => {} };
const idle = async () => 1;

type Counted = {
  readonly offered: number;
  readonly allowed: number;
  readonly windows: number;
  readonly alone: number;
};

const [, , worker, url = ''] = process.argv;
if (worker === 'worker') await offer(url);
else await main();

async function main(): Promise<void> {
  const rows: Row[] = [];
  if (noRedis === undefined) {
    const redis = await startRedis();
    try {
      rows.push(...(await added('Redis', redis.url, 1)), ...(await exactness('Redis', redis.url)));
    } finally {
      await redis.close();
    }
  }
  if (noPostgres === undefined) {
    const postgres = await startPostgres();
    try {
      const databaseUrl = await postgres.database();
      await (await SqlStore.open({ databaseUrl })).close();
      rows.push(...(await added('PostgreSQL', databaseUrl)), ...(await exactness('PostgreSQL', databaseUrl)));
    } finally {
      await postgres.close();
    }
  }
  report('limits', rows);
}

/** What servers count in, as a registry has it. */
async function open(url: string): Promise<{ readonly counters: FallbackCounters; close(): Promise<void> }> {
  const isRedis = url.startsWith('redis');
  const [shared, close] = isRedis ? await inRedis(url) : inPostgres(url);
  const timeoutMs = isRedis ? REDIS_MS : STORE_MS;
  const options = { servers: () => PROCESSES, timeoutMs, clock: systemClock, log: silentLog };
  const counters = new FallbackCounters(shared, options);
  return {
    counters,
    async close() {
      counters.close();
      await close();
    },
  };
}

type Opened = readonly [RateLimitCounters, () => Promise<void>];

async function inRedis(url: string): Promise<Opened> {
  const counters = await redisCounters(url);
  return [counters, async () => counters.close()];
}

function inPostgres(url: string): Opened {
  const pool = new Pool({ connectionString: url, options: '-c role=connector_registry' });
  // The server is stopped while connections are still on their way out.
  pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {}));
  return [postgresCounters((text, values) => pool.query(text, [...values])), () => pool.end()];
}

async function added(where: string, url: string, targetMs?: number): Promise<Row[]> {
  const { counters, close } = await open(url);
  const limit = { key: `added-${process.pid}`, requests: 1_000_000_000, windowMs: 3_600_000 };
  const shared = rateLimit(limit, counters)(idle);
  const own = rateLimit(limit, memoryCounters())(idle);
  const took = { none: [] as number[], own: [] as number[], shared: [] as number[] };
  // In turns, so that a busy machine slows each alike.
  for (let call = 0; call < CALLS; call++) {
    took.none.push(await timedMs(idle));
    took.own.push(await timedMs(() => own(CALL)));
    took.shared.push(await timedMs(() => shared(CALL)));
  }
  await close();
  const over = (at: number) => quantile(took.shared, at) - quantile(took.none, at);
  const held = targetMs === undefined ? {} : { target: `<= ${targetMs}`, ok: over(0.5) <= targetMs };
  return [
    { what: `a limit in ${where} over none, p50`, figure: over(0.5), unit: 'ms', ...held },
    { what: `a limit in ${where} over none, p99`, figure: over(0.99), unit: 'ms' },
    {
      what: '... and in memory, p50',
      figure: quantile(took.own, 0.5) - quantile(took.none, 0.5),
      unit: 'ms',
    },
  ];
}

async function exactness(where: string, url: string): Promise<Row[]> {
  const startMs = performance.now();
  const counts = await Promise.all(Array.from({ length: PROCESSES }, () => runWorker(url)));
  const tookMs = performance.now() - startMs;
  const sum = (of: (count: Counted) => number) => counts.reduce((total, count) => total + of(count), 0);
  const due = LIMIT.requests * sum(({ windows }) => windows);
  const off = (100 * Math.abs(sum(({ allowed }) => allowed) - due)) / due;
  return [
    {
      what: `${PROCESSES} processes at 20 times a limit in ${where}: off by`,
      figure: off,
      unit: '%',
      target: '<= 1',
      ok: off <= 1,
      note:
        `${sum(({ allowed }) => allowed)} of ${sum(({ offered }) => offered)} let through in ` +
        `${sum(({ windows }) => windows)} windows of ${LIMIT.windowMs} ms, ${sum(({ alone }) => alone)} counted alone, ` +
        `${(tookMs / 1_000).toFixed(1)} s with the start of the processes`,
    },
  ];
}

async function runWorker(url: string): Promise<Counted> {
  const child = fork(import.meta.filename, ['worker', url, ...(QUICK ? ['--quick'] : [])]);
  // The one message that a worker sends.
  const [counted] = (await once(child, 'message')) as [Counted];
  await once(child, 'exit');
  return counted;
}

/** One of the processes: offers its part of the attempts at a steady rate. */
async function offer(url: string): Promise<void> {
  const { counters, close } = await open(url);
  let windows = 0;
  let alone = 0;
  const watched: RateLimitCounters = {
    async count(key, windowMs) {
      const count = await counters.count(key, windowMs);
      if (count.servers !== undefined) alone += 1;
      else if (count.attempts === 1) windows += 1;
      return count;
    },
  };
  const call = rateLimit({ key: 'shared', ...LIMIT }, watched)(idle);
  let allowed = 0;
  let offered = 0;
  const calls: Promise<unknown>[] = [];
  const startMs = performance.now();
  const perMs = OFFERED / PROCESSES / LIMIT.windowMs;
  // Ends in the middle of a window, by when the limit of that one is long reached.
  while (performance.now() - startMs < (WINDOWS - 0.5) * LIMIT.windowMs) {
    for (; offered < (performance.now() - startMs) * perMs; offered++)
      calls.push(
        call(CALL).then(
          () => (allowed += 1),
          () => {},
        ),
      );
    await wait(TICK_MS);
  }
  await Promise.all(calls);
  await close();
  const counted: Counted = { offered, allowed, windows, alone };
  process.send?.(counted);
  process.disconnect();
}
