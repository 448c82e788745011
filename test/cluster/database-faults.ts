import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import { figures } from './figures.ts';
import type { Random } from './random.ts';

const APART_MS = 500;
const AWAY_MS = 1_500;
/** Within so long of its database a server is ready. */
const READY_WITHIN_MS = 2_000;
const LOOK_MS = 10;
/** After it is ready: what was begun before may still be told that the database was away. */
const ECHO_MS = 1_000;

type Fault = 'kill -9' | 'fast stop' | 'stopped';

/** Takes the database away in each way so often, and measures how soon every server is ready once it is back. */
export async function breakDatabase(
  cluster: Cluster,
  random: Random,
  times: number,
  stoppedMs: number,
): Promise<readonly string[]> {
  const said: string[] = [];
  for (const fault of ['kill -9', 'fast stop', 'stopped'] as const) {
    const readyMs: number[] = [];
    for (let at = 0; at < times; at++) {
      await wait(APART_MS + random.int(APART_MS));
      readyMs.push(...(await breakOnce(cluster, random, fault, stoppedMs)));
    }
    const of = fault === 'stopped' ? `stopped for ${stoppedMs} ms` : fault;
    said.push(`PostgreSQL ${of} ${times} times: servers ready ${figures(readyMs)} after it`);
  }
  return said;
}

async function breakOnce(
  { postgres, calls, servers, faults }: Cluster,
  random: Random,
  fault: Fault,
  stoppedMs: number,
): Promise<readonly number[]> {
  const back = calls.outage();
  try {
    if (fault === 'stopped') {
      const paused = postgres.pause();
      await wait(stoppedMs);
      paused.resume();
    } else {
      await (fault === 'kill -9' ? postgres.kill() : postgres.stop());
      await wait(random.int(AWAY_MS));
      await postgres.start();
    }
    const backMs = performance.now();
    const readyMs = await Promise.all(
      servers.map(async (server) => {
        while (!(await server.isReady())) {
          if (server.hasEnded) throw new Error(`${server.name} ended when PostgreSQL was away (${fault})`);
          await wait(LOOK_MS);
        }
        return performance.now() - backMs;
      }),
    );
    for (const [at, ms] of readyMs.entries())
      if (ms > READY_WITHIN_MS)
        faults.push(`${servers[at]?.name} was ready ${ms.toFixed(0)} ms after PostgreSQL (${fault})`);
    await wait(ECHO_MS);
    return readyMs;
  } finally {
    back();
  }
}
