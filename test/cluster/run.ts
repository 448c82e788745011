import { once } from 'node:events';
import { startCluster, type Cluster } from './cluster.ts';
import { addUp } from './counters.ts';
import { breakDatabase } from './database-faults.ts';
import { makeFunctions } from './functions.ts';
import { checkHistories } from './histories.ts';
import { Load } from './load.ts';
import { raceForNames } from './names.ts';
import { nemesis } from './nemesis.ts';
import { pauseServer } from './paused-server.ts';
import { measurePropagation } from './propagation.ts';
import { type Random, seededRandom } from './random.ts';
import { breakRedis } from './redis-faults.ts';
import { killServers } from './server-kills.ts';
import { shareKeys } from './shared-keys.ts';
import { stopServers } from './stopped-server.ts';

/** How much each part does. */
export type Sizes = {
  readonly kills: number;
  /** Of each way in which the database goes away. */
  readonly outages: number;
  readonly stoppedMs: number;
  readonly redisOutages: number;
  readonly pauses: number;
  readonly stops: number;
  readonly names: number;
  readonly keys: number;
  /** In each state of the listeners. */
  readonly changes: number;
  readonly histories: number;
};

export const FULL: Sizes = {
  ...{ kills: 50, outages: 10, stoppedMs: 30_000, redisOutages: 10, pauses: 5, stops: 10 },
  ...{ names: 2_000, keys: 500, changes: 400, histories: 200 },
};

/** What there is to run, in this order. */
export const PARTS = [
  ...(['kills', 'database', 'redis', 'paused', 'stops', 'names', 'keys'] as const),
  ...(['propagation', 'counters', 'histories'] as const),
];
export type Part = (typeof PARTS)[number];

type Running = {
  readonly cluster: Cluster;
  readonly random: Random;
  readonly sizes: Sizes;
};

const RUN: Readonly<Record<Part, (running: Running) => Promise<readonly string[]>>> = {
  kills: ({ cluster, random, sizes }) =>
    underLoad(cluster, random, 'kills', async () => [await killServers(cluster, random, sizes.kills)]),
  database: ({ cluster, random, sizes }) =>
    underLoad(cluster, random, 'database', () =>
      breakDatabase(cluster, random, sizes.outages, sizes.stoppedMs),
    ),
  redis: ({ cluster, random, sizes }) =>
    underLoad(cluster, random, 'redis', () => breakRedis(cluster, random, sizes.redisOutages)),
  paused: ({ cluster, random, sizes }) =>
    underLoad(cluster, random, 'paused', async () => {
      const said: string[] = [];
      for (let at = 0; at < sizes.pauses; at++)
        said.push(await pauseServer(cluster, random.int(cluster.servers.length), `paused-${at}`));
      return said;
    }),
  stops: ({ cluster, random, sizes }) =>
    underLoad(cluster, random, 'stops', () => {
      const targets = Array.from({ length: sizes.stops }, () => random.int(cluster.servers.length));
      return stopServers(cluster, random, targets, 'stops');
    }),
  names: async ({ cluster, random, sizes }) => [await raceForNames(cluster, random, sizes.names)],
  keys: async ({ cluster, sizes }) => [await shareKeys(cluster, sizes.keys, 'keys')],
  propagation: ({ cluster, random, sizes }) =>
    underLoad(cluster, random, 'propagation', () => measurePropagation(cluster, random, sizes.changes)),
  counters: ({ cluster }) => addUp(cluster, 'counters'),
  async histories({ cluster, random, sizes }) {
    const end = nemesis(cluster, random.fork('nemesis'));
    const said = await checkHistories(cluster, random, sizes.histories, 'histories');
    return [said, await end()];
  },
};

export type RunOptions = {
  readonly seed: number;
  readonly sizes: Sizes;
  readonly parts: readonly Part[];
  /** Hears the figures of each part. */
  readonly say: (line: string) => void;
  /** Ends it in the midst of a part. */
  readonly signal: AbortSignal;
};

/**
 * Runs parts one after another on one cluster; everything that was not as it is promised.
 *
 * Whether it fails or is told to end, nothing that it started is left.
 */
export async function runCluster({
  seed,
  sizes,
  parts,
  say,
  signal,
}: RunOptions): Promise<readonly string[]> {
  const random = seededRandom(seed);
  const cluster = await startCluster();
  try {
    const told: Promise<readonly string[]> = once(signal, 'abort');
    for (const part of parts) {
      signal.throwIfAborted();
      const known = cluster.faults.length;
      const startMs = performance.now();
      const lines = await Promise.race([RUN[part]({ cluster, random: random.fork(part), sizes }), told]);
      // A part that is cut short fails by itself at what is ended below.
      signal.throwIfAborted();
      for (const line of lines) say(`${part}: ${line}`);
      const seconds = ((performance.now() - startMs) / 1_000).toFixed(0);
      say(`${part}: ${cluster.faults.length - known} faults, ${seconds} s`);
    }
    return [...cluster.faults, ...cluster.servers.flatMap(({ errors }) => errors.filter(isUnexplained))];
  } finally {
    await cluster.close();
  }
}

/** What a server logs as an error of its own; that it could not reach its database is none. */
function isUnexplained(line: string): boolean {
  return !/the database|its database/.test(line);
}

async function underLoad(
  cluster: Cluster,
  random: Random,
  part: Part,
  run: () => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const load = new Load(cluster, random, await makeFunctions(cluster, `functions-${part}`), part, {
    mayTimeOut: part === 'paused',
  });
  load.start();
  const said = await run();
  const { answers, lostAnswers, unavailable, acknowledged, unheard, ends, rerun } = await load.end();
  const ended = Object.entries(ends).map(([status, count]) => `${count} ${status}`);
  return [
    ...said,
    `${answers} answers, ${lostAnswers} lost with their server, ${unavailable} told to come back; ` +
      `${acknowledged} acknowledged and ${unheard} writes unheard, compared; ` +
      `calls: ${ended.join(', ')}, ${rerun} run again without a key`,
  ];
}
