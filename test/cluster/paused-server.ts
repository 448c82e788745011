import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import { makeFunctions } from './load.ts';

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

/** The request id of an asynchronous call. */
export async function accept(
  { calls }: Cluster,
  server: ClusterServer,
  connectorId: string,
  payload: { readonly id: string; readonly ms: number },
  key?: string,
): Promise<string> {
  const body = { payload, async: true, ...(key !== undefined && { idempotency_key: key }) };
  const path = `/connectors/${connectorId}/functions/once/invocations`;
  const answer = await calls.ask(server, 'POST', path, { body });
  if (answer?.status !== 202) throw new Error(`not accepted: ${JSON.stringify(answer)}`);
  return String(answer.body['request_id']);
}

/** Resolves when each ran so often. @throws Error when that takes too long. */
export async function untilRun(cluster: Cluster, ids: readonly string[], times: number): Promise<void> {
  const deadline = performance.now() + TAKEN_OVER_WITHIN_MS;
  for (;;) {
    const runs = await cluster.runs();
    const left = ids.filter((id) => (runs[id]?.length ?? 0) < times);
    if (left.length === 0) return;
    if (performance.now() > deadline) throw new Error(`did not run ${times} times: ${left.join(', ')}`);
    await wait(LOOK_MS);
  }
}

/** Resolves when others have found that nobody knows how these ended. @throws Error when that takes too long. */
async function untilLost({ sql }: Cluster, requestIds: readonly string[]): Promise<void> {
  const deadline = performance.now() + TAKEN_OVER_WITHIN_MS;
  const ids = requestIds.map((id) => `'${id}'`).join();
  for (;;) {
    const left = await sql(
      `select request_id from invocations where request_id in (${ids}) and status in ('queued', 'running')`,
    );
    if (left.length === 0) return;
    if (performance.now() > deadline) throw new Error(`not taken over: ${JSON.stringify(left)}`);
    await wait(LOOK_MS);
  }
}
