/**
 * Three servers on one PostgreSQL and one Redis while fifty callers work: what may break is broken, and nothing that was
 * acknowledged is lost, nothing runs twice under a key, and no answer is a 5xx that nothing explains.
 *
 *     npm run test:cluster [-- --only kills,database --seed 7 --share 0.1]
 */
import { randomInt } from 'node:crypto';
import { constants } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { FULL, type Part, PARTS, runCluster, type Sizes } from './run.ts';

const MAX_SHOWN = 40;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: PARTS.join(',') },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
    /** Of what a full run does. */
    share: { type: 'string', default: '1' },
  },
});
const startMs = performance.now();
const parts = values.only.split(',').map((name): Part => {
  const part = PARTS.find((known) => known === name);
  if (part === undefined) throw new Error(`no part ${name}: ${PARTS.join(', ')}`);
  return part;
});
console.log(`seed ${values.seed}`);
const end = new AbortController();
let endedBy: 'SIGINT' | 'SIGTERM' | undefined;
// As often as it comes: npm passes on what the terminal sends to both.
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.on(name, () => {
    endedBy ??= name;
    end.abort(new Error(`ended by ${name}`));
  });
const faults = await runCluster({
  ...{ seed: Number(values.seed), parts, sizes: scaled(FULL, Number(values.share)) },
  say: (line) => console.log(line),
  signal: end.signal,
}).catch(async (error: unknown) => {
  // What a terminal tells its children, too, they may have failed of before this has heard of it.
  await nextTurn();
  if (endedBy === undefined) throw error;
  console.error(`cluster: ${String(error)}`);
  // What the part had begun may still wait for something.
  process.exit(128 + constants.signals[endedBy]);
});
for (const fault of faults.slice(0, MAX_SHOWN)) console.error(fault);
const seconds = ((performance.now() - startMs) / 1_000).toFixed(0);
console.log(`cluster: ${faults.length} faults, ${seconds} s, seed ${values.seed}`);
if (faults.length > 0) process.exitCode = 1;

/** Less of each, and at least one. */
function scaled(sizes: Sizes, share: number): Sizes {
  const some = (count: number) => Math.max(1, Math.round(count * share));
  return {
    kills: some(sizes.kills),
    outages: some(sizes.outages),
    stoppedMs: some(sizes.stoppedMs),
    redisOutages: some(sizes.redisOutages),
    pauses: some(sizes.pauses),
    stops: some(sizes.stops),
    names: some(sizes.names),
    keys: some(sizes.keys),
    changes: some(sizes.changes),
    histories: some(sizes.histories),
  };
}
