import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { Random } from './random.ts';

const APART_MS = 1_500;
const AWAY_MS = 1_000;
const PAUSED_MS = 2_000;
const ECHO_MS = 1_000;

/** Breaks one thing after another until what comes back is called; that says what it did. */
export function nemesis(cluster: Cluster, random: Random): () => Promise<string> {
  const did: Record<string, number> = { 'kills of a server': 0, 'kills of PostgreSQL': 0, pauses: 0 };
  let isOver = false;
  const working = (async () => {
    while (!isOver) {
      await wait(random.int(APART_MS));
      const what = random.pick(Object.keys(did));
      if (what === 'kills of a server') await killServer(cluster, random);
      else if (what === 'pauses') await pause(cluster, random);
      else await killDatabase(cluster, random);
      did[what] = (did[what] ?? 0) + 1;
    }
  })();
  // Whoever ends it hears of it.
  working.catch(() => {});
  return async () => {
    isOver = true;
    await working;
    return Object.entries(did)
      .map(([what, count]) => `${count} ${what}`)
      .join(', ');
  };
}

async function killServer({ servers }: Cluster, random: Random): Promise<void> {
  const server = random.pick(servers);
  await server.kill();
  server.start();
  await server.ready();
}

async function pause({ servers }: Cluster, random: Random): Promise<void> {
  const server = random.pick(servers);
  server.pause();
  await wait(random.int(PAUSED_MS));
  server.resume();
}

async function killDatabase({ postgres, calls, servers }: Cluster, random: Random): Promise<void> {
  const back = calls.outage();
  await postgres.kill();
  await wait(random.int(AWAY_MS));
  await postgres.start();
  await Promise.all(servers.map((server) => server.ready()));
  await wait(ECHO_MS);
  back();
}
