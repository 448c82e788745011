/**
 * Asynchronous invocations on PostgreSQL, in turns with pg-boss on the same server: how many a second are accepted durably,
 * and how many are accepted and done, where what is to be done takes no time; and what it costs to wait on another server
 * than the one that runs it.
 *
 * pg-boss: `send` for each, then `fetch` and `complete` of 64 at a time, on two loops. Once bare, once with its groups, which
 * hold a ceiling as a connector does.
 *
 *     node bench/queue.ts [--quick]
 */
import { setTimeout as wait } from 'node:timers/promises';
import { PgBoss, type FetchOptions } from 'pg-boss';
import { z } from 'zod';
import type { ServerlessConnector } from '../src/connectors/serverless/connector.ts';
import { defineServerlessDriver } from '../src/driver.ts';
import { ConnectorRegistry } from '../src/registry/registry.ts';
import { noPostgres, query, startPostgres } from '../src/testing/postgres.fixture.ts';
import { median, quantile } from './pairs.ts';
import { report, type Row } from './report.ts';

const QUICK = process.argv.includes('--quick');
const BURST = QUICK ? 300 : 4_000;
const ROUNDS = QUICK ? 1 : 7;
const WAITS = QUICK ? 10 : 200;
const CALLERS = 32;
/** At once, of one connector; what pg-boss fetches at once. */
const AT_ONCE = 64;
const RUN_MS = 20;
const POOL_SIZE = 10;

/** How many a second. */
type Rates = { readonly accepted: number; readonly completed: number };

process.env['CONNECTORS_MASTER_KEY'] = Buffer.alloc(32, 7).toString('base64');
if (noPostgres === undefined) await main();

async function main(): Promise<void> {
  const postgres = await startPostgres();
  try {
    report('queue', [...(await rates(postgres.database)), ...(await waits(await postgres.database()))]);
  } finally {
    await postgres.close();
  }
}

async function rates(database: () => Promise<string>): Promise<readonly Row[]> {
  const [ours, theirs] = [await database(), await database()];
  const registry = await open(ours, async () => ({ status: 'completed', result: 1 }));
  const functions = await registry.createServerlessConnector({
    ...{ tenantId: 'acme', name: 'f', provider: 'trivial', maxConcurrency: AT_ONCE },
  });
  const boss = new PgBoss({ connectionString: theirs, max: POOL_SIZE });
  boss.on('error', console.error);
  await boss.start();
  await boss.createQueue('bare');
  await boss.createQueue('grouped');
  const found = { ours: [] as Rates[], bare: [] as Rates[], grouped: [] as Rates[] };
  for (let round = -1; round < ROUNDS; round++) {
    const bare = await burstOfBoss(boss, 'bare', {});
    const own = await burstOf(functions, ours);
    const grouped = await burstOfBoss(boss, 'grouped', { groupConcurrency: 2 * AT_ONCE });
    // The first round warms all of them up.
    if (round < 0) continue;
    found.bare.push(bare);
    found.ours.push(own);
    found.grouped.push(grouped);
  }
  await boss.stop({ graceful: false });
  await registry.close();
  const of = (which: keyof typeof found, what: keyof Rates) => median(found[which].map((one) => one[what]));
  return (['accepted', 'completed'] as const).flatMap((what) => [
    { what: `${what}, ours`, figure: of('ours', what), unit: '/s', note: `${BURST} from ${CALLERS} callers` },
    { what: `${what}, pg-boss`, figure: of('bare', what), unit: '/s' },
    { what: `${what}, pg-boss with groups`, figure: of('grouped', what), unit: '/s' },
    { what: `${what}, ours of pg-boss`, figure: of('ours', what) / of('bare', what), unit: 'x' },
  ]);
}

async function burstOf(functions: ServerlessConnector, url: string): Promise<Rates> {
  const { rate, sinceMs } = await accepted(async (n) => {
    await functions.invoke('f', n, { async: true });
  });
  // Not one after another with waitForResult: that would be so many reads more.
  while ((await query(url, 'select from invocations where due_at is not null limit 1')).length > 0)
    await wait(5);
  return { accepted: rate, completed: (BURST * 1_000) / (performance.now() - sinceMs) };
}

async function burstOfBoss(boss: PgBoss, queue: string, options: FetchOptions): Promise<Rates> {
  let done = 0;
  const worker = async () => {
    while (done < BURST) {
      const jobs = await boss.fetch(queue, { batchSize: AT_ONCE, ...options });
      if (jobs.length === 0) await wait(1);
      else
        await boss.complete(
          queue,
          jobs.map(({ id }) => id),
          { result: 1 },
        );
      done += jobs.length;
    }
  };
  const working = Promise.all([worker(), worker()]);
  const { rate, sinceMs } = await accepted(async (n) => {
    const grouped = options.groupConcurrency !== undefined;
    await boss.send(queue, { payload: n }, grouped ? { group: { id: 'acme' } } : {});
  });
  await working;
  return { accepted: rate, completed: (BURST * 1_000) / (performance.now() - sinceMs) };
}

async function accepted(accept: (n: number) => Promise<void>) {
  const sinceMs = performance.now();
  let left = BURST;
  const caller = async () => {
    while (left > 0) await accept(left--);
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return { sinceMs, rate: (BURST * 1_000) / (performance.now() - sinceMs) };
}

/** From the end of a function to whoever waits for it: on the server that ran it, and on another. */
async function waits(databaseUrl: string): Promise<readonly Row[]> {
  let endedMs = 0;
  const run = async () => {
    await wait(RUN_MS * (1 + Math.random() * 5));
    endedMs = performance.now();
    return { status: 'completed', result: 1 } as const;
  };
  const [a, b] = [await open(databaseUrl, run), await open(databaseUrl, run)];
  const here = await a.createServerlessConnector({ tenantId: 'acme', name: 'f', provider: 'trivial' });
  const there = (await b.get(here.connectorId)) as ServerlessConnector;
  const rows: Row[] = [];
  for (const [where, waiter] of [
    ['the same server', here],
    ['another', there],
  ] as const) {
    const late: number[] = [];
    for (let i = 0; i < WAITS; i++) {
      const { requestId } = await here.invoke('f', i, { async: true });
      await waiter.waitForResult(requestId);
      late.push(performance.now() - endedMs);
    }
    rows.push(
      { what: `from its end to who waits on ${where}, p50`, figure: quantile(late, 0.5), unit: 'ms' },
      { what: `from its end to who waits on ${where}, p99`, figure: quantile(late, 0.99), unit: 'ms' },
    );
  }
  const [{ rows: asked } = { rows: 0 }] = (await query(
    databaseUrl,
    'select count(*)::int as rows from invocations',
  )) as { rows: number }[];
  if (asked !== 2 * WAITS) throw new Error(`${asked} invocations of ${2 * WAITS}`);
  await Promise.all([a.close(), b.close()]);
  return rows;
}

function open(databaseUrl: string, invoke: () => Promise<{ status: 'completed'; result: number }>) {
  const driver = defineServerlessDriver({
    ...{ kind: 'serverless', id: 'trivial', title: 'Trivial', remote: true },
    options: z.strictObject({}),
    capabilities: {
      ...{ deploy: false, logs: false, native: false },
      limits: { payloadBytes: 1_000, resultBytes: 1_000, timeoutSeconds: 900 },
    },
    open: async () => ({
      invoke,
      listFunctions: async () => [],
      check: async () => [],
      close: async () => {},
    }),
  });
  return ConnectorRegistry.open({
    databaseUrl,
    drivers: { 'serverless/trivial': async () => ({ default: driver }) },
    maxInvocations: 2 * AT_ONCE,
  });
}
