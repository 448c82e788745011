import { setTimeout as wait } from 'node:timers/promises';
import { request } from 'undici';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import { figures } from './figures.ts';
import type { Random } from './random.ts';
import { until } from './until.ts';

const APART_MS = 500;
const AWAY_MS = 1_500;
const KNOWN_WITHIN_MS = 15_000;
const LOOK_MS = 20;

/**
 * Takes Redis away so often, by turns killed and standing still, while functions with a rate limit are called: the
 * metric of each server says so, and that it is back.
 */
export async function breakRedis(
  cluster: Cluster,
  random: Random,
  times: number,
): Promise<readonly string[]> {
  const { redis, servers, faults } = cluster;
  const awayMs: number[] = [];
  const backMs: number[] = [];
  const measure = async (wanted: boolean, into: number[]) => {
    const known = await Promise.all(servers.map((server) => untilDegraded(server, wanted)));
    for (const [at, ms] of known.entries()) {
      if (ms === undefined)
        faults.push(`${servers[at]?.name} does not say that Redis is ${wanted ? 'away' : 'back'}`);
      else into.push(ms);
    }
  };
  await measure(false, []);
  for (let at = 0; at < times; at++) {
    await wait(APART_MS + random.int(APART_MS));
    const isKilled = at % 2 === 0;
    if (isKilled) await redis.kill();
    else redis.pause();
    await measure(true, awayMs);
    await wait(random.int(AWAY_MS));
    if (isKilled) await redis.start();
    else redis.resume();
    await measure(false, backMs);
  }
  return [
    `Redis away ${times} times: known after ${figures(awayMs)}, and that it is back after ${figures(backMs)}`,
  ];
}

async function untilDegraded(server: ClusterServer, wanted: boolean): Promise<number | undefined> {
  const startMs = performance.now();
  const isKnown = await until(
    async () => {
      const { body } = await request(`${server.url}/metrics`);
      const [, value] = /^connector_registry_limits_degraded (\d)$/m.exec(await body.text()) ?? [];
      return value === String(Number(wanted));
    },
    { isWanted: Boolean, withinMs: KNOWN_WITHIN_MS, everyMs: LOOK_MS },
  );
  return isKnown ? performance.now() - startMs : undefined;
}
