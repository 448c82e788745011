import { randomInt } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { noPostgres } from '../../src/testing/postgres.fixture.ts';
import { noRedis } from '../../src/testing/redis.fixture.ts';
import { startCluster } from './cluster.ts';
import { raceForNames } from './names.ts';
import { pauseServer } from './paused-server.ts';
import { seededRandom } from './random.ts';
import { runCluster } from './run.ts';
import { shareKeys } from './shared-keys.ts';
import { stopServers } from './stopped-server.ts';

const GIVEN = ['CONNECTORS_TEST_PG_URL', 'CONNECTORS_TEST_REDIS_URL'].filter((name) => process.env[name]);
const missing =
  noPostgres ??
  noRedis ??
  (GIVEN.length > 0 ? `what ${GIVEN.join(' and ')} name is not ours to stop` : undefined);
if (missing !== undefined) console.warn(`skipped: several servers: ${missing}`);
const SHORT = {
  ...{ kills: 2, outages: 1, stoppedMs: 2_000, redisOutages: 1, pauses: 0, stops: 0 },
  ...{ names: 0, keys: 0, changes: 8, histories: 4 },
};
const seed = randomInt(2 ** 31);
const say = (line: string) => console.log(line);

// Each mostly waits, for leases and for servers to be missed: so all at once.
describe.skipIf(missing !== undefined)(
  `three servers as one registry, seed ${seed}`,
  { concurrent: true },
  () => {
    it('lose nothing while servers, their database and their Redis go away', async ({ signal }) => {
      const parts = ['kills', 'database', 'redis', 'histories'] as const;
      expect(await runCluster({ seed, say, parts, sizes: SHORT, signal })).toEqual([]);
    }, 180_000);

    it('run each call once where one stands still past its lease, stops, or is asked the same as another', async () => {
      const cluster = await startCluster();
      const random = seededRandom(seed);
      try {
        const paused = pauseServer(cluster, 2, 'short');
        const others = async () => {
          while (!cluster.server(2).isPaused) await wait(20);
          for (const line of await stopServers(cluster, random, [0], 'short')) say(line);
          say(await raceForNames(cluster, random, 30));
          say(await shareKeys(cluster, 8, 'short'));
        };
        const [line] = await Promise.all([paused, others()]);
        say(line);
        expect(cluster.faults).toEqual([]);
      } finally {
        await cluster.close();
      }
    }, 180_000);
  },
);

// By itself: what is to be in force within a second is measured.
describe.skipIf(missing !== undefined)(`three servers that work alone, seed ${seed}`, () => {
  it('know of each other’s changes within a second, and add up what all of them do', async ({ signal }) => {
    const parts = ['propagation', 'counters'] as const;
    expect(await runCluster({ seed, say, parts, sizes: SHORT, signal })).toEqual([]);
  }, 180_000);
});
