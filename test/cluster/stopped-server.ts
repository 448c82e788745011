import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import { figures } from './figures.ts';
import { accept, makeFunctions, untilRun } from './functions.ts';
import type { Random } from './random.ts';

const CALLS = 4;
/** Longer than a server may take to stop. */
const RUN_MS = 14_000;
const EXIT_WITHIN_MS = 10_000;
/** A lease is 30 seconds: what is handed over does not wait for its end. */
const TAKEN_OVER_WITHIN_MS = 6_000;
const END_WITHIN_SECONDS = 40;
const APART_MS = 500;

/** Tells one server after another (by their numbers) to stop while it runs more than it can finish: it ends in time, and others go on with that. */
export async function stopServers(
  cluster: Cluster,
  random: Random,
  targets: readonly number[],
  run: string,
): Promise<readonly string[]> {
  const { calls, faults } = cluster;
  const connectorId = await makeFunctions(cluster, `stopped-${run}`);
  const exitMs: number[] = [];
  const takenOverMs: number[] = [];
  for (const [time, at] of targets.entries()) {
    const server = cluster.server(at);
    await wait(random.int(APART_MS));
    const ids = Array.from({ length: CALLS }, (_, call) => `${run}-stopped-${time}-${call}`);
    const accepted = await Promise.all(
      ids.map((id) => accept(cluster, server, connectorId, { id, ms: RUN_MS })),
    );
    await untilRun(cluster, ids, 1);
    const tookMs = await server.stop();
    const goneAtMs = Date.now();
    exitMs.push(tookMs);
    if (tookMs > EXIT_WITHIN_MS) faults.push(`${server.name} took ${tookMs.toFixed(0)} ms to stop`);
    await untilRun(cluster, ids, 2);
    const runs = await cluster.runs();
    for (const id of ids) {
      const laterMs = Math.max(0, (runs[id]?.[1]?.atMs ?? 0) - goneAtMs);
      takenOverMs.push(laterMs);
      if (laterMs > TAKEN_OVER_WITHIN_MS)
        faults.push(`${id} was taken over ${laterMs} ms after its server had stopped`);
    }
    server.start();
    await server.ready();
    for (const requestId of accepted) {
      const path = `/connectors/${connectorId}/invocations/${requestId}?wait=${END_WITHIN_SECONDS}`;
      const answer = await calls.ask(cluster.server(at + 1), 'GET', path);
      if (answer?.body['status'] !== 'completed')
        faults.push(`${requestId}, handed over, is ${JSON.stringify(answer)}`);
    }
  }
  return [
    `${targets.length} stops in good order: gone after ${figures(exitMs)}; what ran taken over after ${figures(takenOverMs)}`,
  ];
}
