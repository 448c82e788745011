import type { Cluster } from './cluster.ts';
import { accept, makeFunctions, untilRun } from './functions.ts';
import { until } from './until.ts';

/** Of each kind, with and without a key. */
const CALLS = 6;
/** Shorter than a lease, and longer than the others take to be about it at different times: so the first run ends while its server stands still, and the second runs when that goes on. */
const RUN_MS = 12_000;
const TAKEN_OVER_WITHIN_MS = 45_000;
const END_WITHIN_SECONDS = 30;
const LOOK_MS = 100;

/**
 * Lets a server stand still until others have taken over what it ran, and go on while they run it: what came of it there is
 * refused, and each call ends once.
 */
export async function pauseServer(cluster: Cluster, at: number, run: string): Promise<string> {
  const { calls, faults } = cluster;
  const server = cluster.server(at);
  const other = cluster.server(at + 2);
  const connectorId = await makeFunctions(cluster, `paused-${run}`);
  const unkeyed = Array.from({ length: CALLS }, (_, call) => `${run}-paused-${call}`);
  const keyed = Array.from({ length: CALLS }, (_, call) => `${run}-paused-keyed-${call}`);
  const accepted = await Promise.all([
    ...unkeyed.map((id) => accept(cluster, server, connectorId, { id, ms: RUN_MS })),
    ...keyed.map((id) => accept(cluster, server, connectorId, { id, ms: RUN_MS }, id)),
  ]);
  await untilRun(cluster, [...unkeyed, ...keyed], 1);
  server.pause();
  const pausedMs = performance.now();
  try {
    await untilRun(cluster, unkeyed, 2);
    await untilLost(cluster, accepted.slice(CALLS));
  } finally {
    server.resume();
  }
  const stoodMs = performance.now() - pausedMs;
  const ended = await Promise.all(
    accepted.map((requestId) =>
      calls.ask(
        other,
        'GET',
        `/connectors/${connectorId}/invocations/${requestId}?wait=${END_WITHIN_SECONDS}`,
      ),
    ),
  );
  const runs = await cluster.runs();
  for (const [index, id] of [...unkeyed, ...keyed].entries()) {
    const { status, result } = ended[index]?.body ?? {};
    const ran = runs[id] ?? [];
    if (index < CALLS) {
      // Whoever took it over has it: an end of the first run would be one that the fence had let through.
      const of = (result as { readonly run?: unknown } | undefined)?.run;
      if (status !== 'completed' || of !== ran.at(-1)?.run || ran.length !== 2)
        faults.push(
          `${id} ended as ${String(status)} with run ${String(of)} of ${ran.map((one) => one.run).join()}`,
        );
    } else if (status !== 'lost' || ran.length !== 1)
      faults.push(`${id}, under a key, ended as ${String(status)} and ran ${ran.length} times`);
  }
  return `a server stood still for ${(stoodMs / 1_000).toFixed(1)} s: ${CALLS} calls taken over, ${CALLS} under a key lost, each with one end`;
}

/** Resolves when others have found that nobody knows how these ended. @throws Error when that takes too long. */
async function untilLost({ sql }: Cluster, requestIds: readonly string[]): Promise<void> {
  const ids = requestIds.map((id) => `'${id}'`).join();
  const left = await until(
    () =>
      sql(
        `select request_id from invocations where request_id in (${ids}) and status in ('queued', 'running')`,
      ),
    { isWanted: (left) => left.length === 0, withinMs: TAKEN_OVER_WITHIN_MS, everyMs: LOOK_MS },
  );
  if (left.length > 0) throw new Error(`not taken over: ${JSON.stringify(left)}`);
}
