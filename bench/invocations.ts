/**
 * Asynchronous invocations: how many a second are accepted durably and how many are completed, how long one takes from the
 * one to the other, and what 100,000 finished ones cost whoever asks for one and whoever starts.
 *
 *     node bench/invocations.ts [--quick]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { ServerlessConnector } from '../src/connectors/serverless/connector.ts';
import { drivers } from '../src/drivers.generated.ts';
import { ConnectorRegistry } from '../src/registry/registry.ts';
import { quantile, timedMs } from './pairs.ts';
import { report } from './report.ts';

const QUICK = process.argv.includes('--quick');
const BURST = QUICK ? 500 : 5_000;
const CALLERS = 32;
const STEADY_PER_SECOND = 200;
const STEADY_SECONDS = QUICK ? 1 : 10;
const ROWS = QUICK ? 2_000 : 100_000;
const READS = QUICK ? 200 : 2_000;
const TRIVIAL = 'export const handler = (event) => event;';

const folder = mkdtempSync(join(tmpdir(), 'bench-invocations-'));
try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function main(): Promise<void> {
  // The first start makes the database.
  await startMs();
  const emptyStartMs = await startMs();
  const registry = await ConnectorRegistry.open({ dataDir: folder, drivers, env: {} });
  const functions = await registry.createServerlessConnector({
    tenantId: 'acme',
    name: 'f',
    provider: 'local',
  });
  await functions.deployFunction('trivial', { code: TRIVIAL, filename: 'index.js' });
  await functions.invoke('trivial', 0);

  const burst = await burstOf(functions);
  const lags = await steady(functions);

  for (let made = 0; made < ROWS; made += 500) {
    const some = await Promise.all(
      Array.from({ length: 500 }, (_, n) => functions.invoke('trivial', n, { async: true })),
    );
    const last = some.at(-1);
    if (last) await functions.waitForResult(last.requestId);
  }
  const { requestId } = await functions.invoke('trivial', 'asked for', { async: true });
  await functions.waitForResult(requestId);
  const reads = await timed(READS, () => functions.getResult(requestId));
  const lists = await timed(READS / 10, () => functions.listInvocations({ function: 'trivial', limit: 100 }));
  await registry.close();
  const fullStartMs = await startMs();

  const slower = fullStartMs - emptyStartMs;
  report('invocations', [
    {
      what: 'accepted durably',
      figure: burst.acceptedPerSecond,
      unit: '/s',
      target: '>= 1000',
      ok: burst.acceptedPerSecond >= 1_000,
      note: `${CALLERS} callers, while they are run`,
    },
    {
      what: 'accepted and completed',
      figure: burst.completedPerSecond,
      unit: '/s',
      target: '>= 500',
      ok: burst.completedPerSecond >= 500,
      note: `${BURST} at once, trivial function`,
    },
    { what: `accepted to completed at ${STEADY_PER_SECOND}/s, p50`, figure: quantile(lags, 0.5), unit: 'ms' },
    {
      what: `accepted to completed at ${STEADY_PER_SECOND}/s, p99`,
      figure: quantile(lags, 0.99),
      unit: 'ms',
      target: '<= 1000',
      ok: quantile(lags, 0.99) <= 1_000,
    },
    {
      what: `getResult among ${ROWS} finished, p50`,
      figure: quantile(reads, 0.5),
      unit: 'ms',
      target: '<= 1',
      ok: quantile(reads, 0.5) <= 1,
    },
    { what: `listInvocations of 100 among them, p50`, figure: quantile(lists, 0.5), unit: 'ms' },
    {
      what: 'start-up with them, over an empty directory',
      figure: slower,
      unit: 'ms',
      target: '<= 200',
      ok: slower <= 200,
    },
  ]);
}

async function burstOf(functions: ServerlessConnector) {
  const fromMs = performance.now();
  let left = BURST;
  const ids: string[] = [];
  const caller = async () => {
    while (left-- > 0) ids.push((await functions.invoke('trivial', left, { async: true })).requestId);
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const acceptedMs = performance.now() - fromMs;
  for (const id of ids) await functions.waitForResult(id);
  const completedMs = performance.now() - fromMs;
  return {
    acceptedPerSecond: (BURST * 1_000) / acceptedMs,
    completedPerSecond: (BURST * 1_000) / completedMs,
  };
}

/** How long each took from being accepted to being completed, in milliseconds, at a steady rate. */
async function steady(functions: ServerlessConnector): Promise<readonly number[]> {
  const lags: Promise<number>[] = [];
  const startedMs = performance.now();
  for (let sent = 0; sent < STEADY_PER_SECOND * STEADY_SECONDS; sent++) {
    const dueMs = startedMs + (sent * 1_000) / STEADY_PER_SECOND;
    const earlyMs = dueMs - performance.now();
    if (earlyMs > 0) await wait(earlyMs);
    const { requestId } = await functions.invoke('trivial', sent, { async: true });
    const acceptedMs = performance.now();
    lags.push(functions.waitForResult(requestId).then(() => performance.now() - acceptedMs));
  }
  return Promise.all(lags);
}

async function startMs(): Promise<number> {
  const fromMs = performance.now();
  const registry = await ConnectorRegistry.open({ dataDir: folder, drivers, env: {} });
  const tookMs = performance.now() - fromMs;
  await registry.close();
  return tookMs;
}

async function timed(times: number, work: () => Promise<unknown>): Promise<readonly number[]> {
  const took: number[] = [];
  for (let i = 0; i < times; i++) took.push(await timedMs(work));
  return took;
}
