/**
 * Kills a server amid the invocations that a client hands to it, starts it again on the same data directory, and checks
 * that each one that was acknowledged has one end, and that none ran more often than it may.
 *
 *     node test/crash/invocations.ts [--cycles 100]
 *
 * The functions behind HTTP run in this process, which counts what they do. A local function's sandbox reaches nothing,
 * so of those only ends and results are checked, and that no sandbox outlives its server.
 */
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ConnectorRegistry } from '../../src/index.ts';
import { checkInvocations, type Outcome } from './invocation-checks.ts';
import { InvocationClient } from './invocation-client.ts';
import { KilledServer } from './killed-server.ts';
import { observedFunctions } from './observed-functions.ts';

const TENANT = 'crash';
const KILL_WITHIN_MS = 1_200;
/** A part of what a server takes to listen. */
const KILL_STARTING_WITHIN_MS = 1_000;
/** The lease of a worker is 30 seconds: whoever waited for its end would be later than this. */
const DRAIN_WITHIN_MS = 20_000;
/** Longer than a process may outlive its server. */
const SPIN_MS = 4_000;
/** What the checks say first; the others are mostly the same. */
const MAX_SHOWN = 20;

export type InvocationReport = Outcome & {
  readonly lostAnswers: number;
  /** From the last start until nothing was queued or ran. */
  readonly drainMs: number;
  /** Sandboxes and other children of killed servers. */
  readonly childrenEnded: number;
};

/** Kills the server so often. The report; `faults` names everything that is lost, stuck, doubled or left over. */
export async function crashInvocations(
  cycles: number,
  onCycle?: (cycle: number, calls: number) => void,
): Promise<InvocationReport> {
  const dataDir = await mkdtemp(join(tmpdir(), 'connector-registry-crash-'));
  const functions = await observedFunctions();
  const server = new KilledServer(dataDir);
  try {
    const made = await makeConnectors(dataDir, functions.url);
    const client = new InvocationClient({ server, ...made });
    server.start();
    client.start();
    for (let cycle = 1; cycle <= cycles; cycle++) {
      // Every fifth server is killed while it still takes up what the one before left.
      if (cycle % 5 > 0) {
        await server.url;
        await wait(randomInt(KILL_WITHIN_MS));
      } else await wait(randomInt(KILL_STARTING_WITHIN_MS));
      await server.kill();
      server.start();
      onCycle?.(cycle, client.calls.length);
    }
    const startedMs = performance.now();
    await client.stop();
    await drained(await server.url, made);
    const drainMs = performance.now() - startedMs;
    await server.stop();
    const { childrenEnded } = server;
    const outcome = await checkInvocations({
      ...{ dataDir, tenantId: TENANT, calls: client.calls, idempotentFunction: 'again' },
      observed: ({ id, connectorId }) => ({
        isLocal: connectorId === made.local,
        executions: functions.executions.get(id) ?? [],
      }),
    });
    const late =
      drainMs > DRAIN_WITHIN_MS ? [`the last server took ${drainMs.toFixed(0)} ms to end them`] : [];
    const faults = [...client.faults, ...functions.faults, ...server.errors, ...late, ...outcome.faults];
    return { ...outcome, lostAnswers: client.lostAnswers, drainMs, childrenEnded, faults };
  } finally {
    await server.abandon();
    await functions.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

type Made = Pick<ConstructorParameters<typeof InvocationClient>[0], 'apiKey' | 'functions'> & {
  readonly local: string;
};

async function makeConnectors(dataDir: string, url: string): Promise<Made> {
  await using registry = await ConnectorRegistry.open({ dataDir });
  const tenant = registry.forTenant(TENANT, { admin: true });
  const names = ['effect', 'again', 'large', 'throws'];
  const remote = await tenant.createServerlessConnector({
    name: 'remote',
    provider: 'http',
    config: {
      endpoint: url,
      options: { functions: Object.fromEntries(names.map((name) => [name, `/${name}`])) },
    },
    maxConcurrency: 30,
    idempotentFunctions: ['again'],
  });
  const local = await tenant.createServerlessConnector({ name: 'local', maxConcurrency: 4 });
  await local.deployFunction('echo', { code: ECHO });
  const { key } = await registry.keys.create({ tenantId: TENANT, role: 'operator' });
  const at = (functionName: string, share: number) => ({
    ...{ connectorId: remote.connectorId, functionName, share },
  });
  return {
    apiKey: key,
    local: local.connectorId,
    functions: [
      at('effect', 60),
      at('again', 15),
      at('large', 8),
      at('throws', 5),
      {
        ...{ connectorId: local.connectorId, functionName: 'echo', share: 12 },
        // One that computes does not see that its server is gone. Under a key: without one it would never come to its end.
        payload: (key) => ({ spinMs: key !== undefined && Math.random() < 0.1 ? SPIN_MS : 0 }),
      },
    ],
  };
}

const ECHO = `export const handler = ({ id, spinMs }) => {
  for (const end = Date.now() + spinMs; Date.now() < end; );
  return { id };
};`;

/** Resolves when nothing is queued or runs, or when it is too late. */
async function drained(url: string, { apiKey, functions }: Made): Promise<void> {
  const deadline = performance.now() + 2 * DRAIN_WITHIN_MS;
  const headers = { authorization: `Bearer ${apiKey}` };
  const isBusy = async (connectorId: string, status: string) => {
    const path = `/api/v1/connectors/${connectorId}/invocations?status=${status}&limit=1`;
    // The server's answers have their own tests.
    const page = (await (await fetch(`${url}${path}`, { headers })).json()) as { invocations: unknown[] };
    return page.invocations.length > 0;
  };
  for (const connectorId of new Set(functions.map((one) => one.connectorId))) {
    while ((await isBusy(connectorId, 'queued')) || (await isBusy(connectorId, 'running'))) {
      if (performance.now() > deadline) return;
      await wait(20);
    }
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { cycles: { type: 'string', default: '100' } } });
  const cycles = Number(values.cycles);
  const startMs = performance.now();
  const report = await crashInvocations(cycles, (cycle, calls) => {
    if (cycle % 10 === 0) console.log(`${cycle} of ${cycles} kills, ${calls.toLocaleString('en')} calls`);
  });
  const { faults, ends, rerun, acknowledged, unheard, lostAnswers, largeResults } = report;
  for (const fault of faults.slice(0, MAX_SHOWN)) console.error(fault);
  const seconds = ((performance.now() - startMs) / 1_000).toFixed(0);
  const ended = Object.entries(ends).map(([status, count]) => `${count} ${status}`);
  console.log(
    `invocations: ${cycles} kills, ${lostAnswers} answers lost, ${acknowledged} acknowledged: ${ended.join(', ')} (${report.lostUnrun} lost before they ran); ` +
      `${unheard} more stored unheard; run again: ${rerun.withoutKey} without key, ${rerun.idempotent} idempotent under ` +
      `a key, ${rerun.underKey} others under a key; ${largeResults} large results; ${report.childrenEnded} children of ` +
      `killed servers ended; drained in ${report.drainMs.toFixed(0)} ms; ${faults.length} faults, ${seconds} s`,
  );
  if (faults.length > 0) process.exitCode = 1;
}
