/**
 * Functions on this machine: a warm call, a start with and without a spare process, calls a second, and what the
 * product adds to writing to a pooled process by hand.
 *
 *     node bench/functions.ts [--quick]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { NEVER } from '../src/policies/pipeline.ts';
import { denoRuntime } from '../src/drivers/serverless/local/deno.ts';
import driver from '../src/drivers/serverless/local/index.ts';
import { SandboxPool } from '../src/drivers/serverless/local/pool.ts';
import { systemClock, type ServerlessClient } from '../src/driver.ts';
import { openContext } from '../src/testing/open-context.ts';
import { serverlessConnector } from '../src/testing/serverless-suite.ts';
import { median } from './pairs.ts';
import { report } from './report.ts';

const QUICK = process.argv.includes('--quick');
const ROUNDS = 5;
const CALLS = QUICK ? 500 : 4000;
const STARTS = QUICK ? 5 : 15;
const TRIVIAL = 'export const handler = (event) => event;';

const folder = mkdtempSync(join(tmpdir(), 'bench-functions-'));
try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const first = await open();
  await first.deploy?.('trivial', { code: TRIVIAL, filename: 'index.js' }, NEVER);
  await first.close();

  const cold = await repeat(STARTS, async () => started({ spareMs: 0 }));
  const prewarmed = await repeat(STARTS, async () => started({ spareMs: 600 }));

  const client = await open();
  const { functions: connector, registry } = await serverlessConnector(client, driver.capabilities);
  const byHand = await handmade();
  // Taken in turns, so that what else the machine does falls on both.
  const pairs = await repeat(ROUNDS, async () => ({
    ours: median(await timed(CALLS, (n) => connector.invoke('trivial', { n }))),
    hand: median(await timed(CALLS, (n) => byHand.call({ n }))),
  }));
  const ours = median(pairs.map((pair) => pair.ours));
  const hand = median(pairs.map((pair) => pair.hand));
  const rates = await repeat(ROUNDS, () => callsPerSecond(() => connector.invoke('trivial', null), 4));
  const rate = median(rates);
  byHand.close();
  await registry.close();

  const coldMs = median(cold);
  const prewarmedMs = median(prewarmed);
  report('functions', [
    { what: 'warm call, trivial body, p50', figure: ours, unit: 'ms', target: '<= 1', ok: ours <= 1 },
    { what: 'the same by hand on a pooled process, p50', figure: hand, unit: 'ms' },
    {
      what: 'warm call over by hand',
      figure: ours / hand,
      unit: 'x',
      target: '<= 2',
      ok: ours / hand <= 2,
      note: `${ROUNDS} rounds of ${CALLS} each, in turns`,
    },
    {
      what: 'cold start: connector opened to first answer, p50',
      figure: coldMs,
      unit: 'ms',
      target: '<= 250',
      ok: coldMs <= 250,
      note: `${STARTS} starts, bundle kept from before`,
    },
    { what: 'first call on a spare process, p50', figure: prewarmedMs, unit: 'ms', note: `${STARTS} starts` },
    { what: 'calls a second, 4 callers', figure: rate, unit: '/s' },
  ]);
}

function open(): Promise<ServerlessClient> {
  return driver.open(
    driver.options.parse({}),
    openContext({ folder: join(folder, 'c1'), tenantFolder: folder }),
  );
}

/** From a connector that is opened to its first answer, or from the call alone where its spare process had time to start. */
async function started({ spareMs }: { readonly spareMs: number }): Promise<number> {
  const openedMs = performance.now();
  const client = await open();
  if (spareMs > 0) await wait(spareMs);
  const fromMs = spareMs > 0 ? performance.now() : openedMs;
  await client.invoke('trivial', null, { requestId: 'r', timeoutMs: 10_000 }, NEVER);
  const tookMs = performance.now() - fromMs;
  await client.close();
  return tookMs;
}

/** One process, one request written, one answer read: the least that any product above it must do. */
async function handmade() {
  const limits = { processes: 1, processesOfTenant: 1, idleMs: 600_000, startMs: 10_000 };
  const launch = { memoryMb: 128, allowNet: false, envNames: [] };
  const pool = new SandboxPool(await denoRuntime(), 2 ** 20, limits, systemClock);
  const member = await pool.acquire({ tenant: 'hand', owner: 'hand', key: 'trivial', launch }, NEVER);
  await member.ready;
  const { sandbox } = member;
  await sandbox.ask({ code: TRIVIAL, functionName: 'trivial', env: {}, maxResultBytes: 2 ** 20 });
  return {
    call: (event: unknown) => sandbox.ask({ event, requestId: 'r', deadlineMs: Date.now() + 10_000 }),
    close: () => sandbox.kill('closed'),
  };
}

async function callsPerSecond(call: () => Promise<unknown>, callers: number): Promise<number> {
  const fromMs = performance.now();
  const each = Math.ceil(CALLS / callers);
  await Promise.all(Array.from({ length: callers }, () => repeat(each, call)));
  return (each * callers * 1000) / (performance.now() - fromMs);
}

async function timed(count: number, call: (n: number) => Promise<unknown>): Promise<number[]> {
  const tookMs: number[] = [];
  for (let n = 0; n < count; n++) {
    const fromMs = performance.now();
    await call(n);
    tookMs.push(performance.now() - fromMs);
  }
  return tookMs;
}

async function repeat<T>(count: number, task: () => Promise<T>): Promise<T[]> {
  const answers: T[] = [];
  for (let n = 0; n < count; n++) answers.push(await task());
  return answers;
}
