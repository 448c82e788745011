import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import { figures } from './figures.ts';
import type { Random } from './random.ts';

const KILL_WITHIN_MS = 800;

/** Kills one server after another with SIGKILL, each time until it is ready again; how long that took. */
export async function killServers({ servers }: Cluster, random: Random, times: number): Promise<string> {
  const readyMs: number[] = [];
  for (let at = 0; at < times; at++) {
    const server = random.pick(servers);
    await wait(random.int(KILL_WITHIN_MS));
    await server.kill();
    server.start();
    readyMs.push(await server.ready());
  }
  return `${times} kills, ready again after ${figures(readyMs)}`;
}
