import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import type { Runs } from './function-backend.ts';
import { type Invoked, Invoker } from './invoker.ts';
import { KeyHolder } from './key-holder.ts';
import { Owner } from './owner.ts';
import type { Random } from './random.ts';
import { until } from './until.ts';

const CALLERS = 50;
/** On two cores, beside three servers and their database. */
const MAX_PAUSE_MS = 250;
const DRAIN_WITHIN_MS = 90_000;
const LOOK_MS = 100;

/** What callers did and what became of it. */
export type LoadReport = {
  readonly answers: number;
  readonly lostAnswers: number;
  /** Answers that said to come back later. */
  readonly unavailable: number;
  /** Creates, updates, deletes, keys made and revoked, invocations accepted. */
  readonly acknowledged: number;
  /** Writes of which it was not heard whether they were made. */
  readonly unheard: number;
  readonly ends: Readonly<Record<string, number>>;
  /** Calls without a key that ran more than once, which they may. */
  readonly rerun: number;
};

/** Fifty callers that go on until they are told to end. */
export class Load {
  readonly #cluster: Cluster;
  readonly #owners: readonly Owner[];
  readonly #invokers: readonly Invoker[];
  readonly #holders: readonly KeyHolder[];
  readonly #random: Random;
  readonly #mayTimeOut: boolean;
  readonly #before: { readonly statuses: Readonly<Record<number, number>>; readonly lost: number };
  #isStopping = false;
  #running: Promise<unknown> = Promise.resolve();

  /**
   * @param connectorId of the functions, `once` among them.
   * @param mayTimeOut where servers stand still for as long as a function may run.
   */
  constructor(
    cluster: Cluster,
    random: Random,
    connectorId: string,
    run: string,
    { mayTimeOut = false } = {},
  ) {
    this.#mayTimeOut = mayTimeOut;
    this.#cluster = cluster;
    this.#random = random;
    this.#before = { statuses: { ...cluster.calls.statuses }, lost: cluster.calls.lost };
    const many = Array.from({ length: CALLERS }, (_, at) => at);
    this.#owners = many
      .filter((at) => at % 10 < 5)
      .map((at) => new Owner(cluster, random.fork(`owner ${at}`), `${run}-${at}`));
    this.#invokers = many
      .filter((at) => at % 10 >= 5 && at % 10 < 9)
      .map((at) => new Invoker(cluster, random.fork(`invoker ${at}`), `${run}-${at}`, connectorId));
    this.#holders = many
      .filter((at) => at % 10 === 9)
      .map((at) => new KeyHolder(cluster, random.fork(`holder ${at}`)));
  }

  start(): void {
    const callers = [...this.#owners, ...this.#invokers, ...this.#holders];
    this.#running = Promise.all(
      callers.map((caller, at) => this.#lane(caller, this.#random.fork(`pause ${at}`))),
    );
    // Whoever stops it hears of it.
    this.#running.catch(() => {});
  }

  /** Lets everything that was begun end, and compares all that was acknowledged with what is there. */
  async end(): Promise<LoadReport> {
    const { calls, servers, faults } = this.#cluster;
    const unanswered = (server: ClusterServer, what: string) =>
      faults.push(`${server.name}: no answer with which ${what} could be compared`);
    this.#isStopping = true;
    await this.#running;
    await calls.calm(servers);
    await this.#drained();
    const runs = await this.#cluster.runs();
    for (const owner of this.#owners)
      for (const owned of owner.connectors)
        // On each: they read the same store.
        for (const server of servers) if (!(await owner.read(owned, server))) unanswered(server, owned.name);
    for (const holder of this.#holders)
      for (const held of holder.keys)
        for (const server of servers)
          if (!(await holder.use(held, server))) unanswered(server, `key ${held.keyId}`);
    const ends: Record<string, number> = {};
    let [acknowledged, rerun] = [0, 0];
    for (const invoker of this.#invokers)
      for (const call of invoker.calls) {
        if (call.requestIds.size > 0) acknowledged += 1;
        // A synchronous call without a key is not kept.
        const isKept = call.isAsync || call.key !== undefined;
        const server = this.#random.pick(servers);
        if (isKept && !(await invoker.look(call, server, 0))) unanswered(server, `call ${call.id}`);
        if (call.seen) ends[call.seen.status] = (ends[call.seen.status] ?? 0) + 1;
        if (!checkInvoked(call, runs, faults, this.#mayTimeOut)) rerun += 1;
      }
    await checkEndedOnce(this.#cluster);
    return {
      answers: sum(calls.statuses) - sum(this.#before.statuses),
      lostAnswers: calls.lost - this.#before.lost,
      unavailable: (calls.statuses[503] ?? 0) - (this.#before.statuses[503] ?? 0),
      acknowledged:
        acknowledged + [...this.#owners, ...this.#holders].reduce((sum, one) => sum + one.acknowledged, 0),
      unheard: this.#owners.reduce((sum, one) => sum + one.unheard, 0),
      ends,
      rerun,
    };
  }

  async #lane(caller: { step(): Promise<void> }, random: Random): Promise<void> {
    while (!this.#isStopping) {
      await caller.step();
      await wait(random.int(MAX_PAUSE_MS));
    }
  }

  async #drained(): Promise<void> {
    const { sql, faults } = this.#cluster;
    const [row] = await until(
      async () =>
        (await sql(
          "select count(*)::int as open from invocations where status in ('queued', 'running')",
        )) as readonly { readonly open: number }[],
      { isWanted: ([row]) => row?.open === 0, withinMs: DRAIN_WITHIN_MS, everyMs: LOOK_MS },
    );
    if (row?.open !== 0) faults.push(`${row?.open} invocations have not ended after ${DRAIN_WITHIN_MS} ms`);
  }
}

function sum(counts: Readonly<Record<number, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** Holds a call against what its function did; false where it ran more than once, as it may without a key. */
function checkInvoked(
  { id, key, isAsync, requestIds, seen }: Invoked,
  runs: Runs,
  faults: string[],
  mayTimeOut: boolean,
): boolean {
  const ran = runs[id] ?? [];
  const say = (what: string) =>
    faults.push(`call ${id} ${key ? 'with' : 'without'} key, ${[...requestIds].join()}: ${what}`);
  const ids = new Set([...requestIds, ...ran.map(({ requestId }) => requestId)]);
  // A synchronous call without a key that got no answer may not be sent again.
  if (ids.size > 1) say(`has more than one request id: ${[...ids].join()}`);
  if (ran.length > 1 && (key !== undefined || !isAsync)) say(`ran ${ran.length} times`);
  if (!seen) {
    if (requestIds.size > 0) say('has no end');
    return ran.length <= 1;
  }
  if (seen.status === 'completed') {
    if (!ran.some(({ run }) => run === seen.run))
      say(`has the result of run ${String(seen.run)}, which is none of its own`);
  } else if (!(seen.status === 'lost' && key !== undefined) && !(seen.status === 'timed_out' && mayTimeOut))
    say(`ended as ${seen.status}`);
  return ran.length <= 1;
}

/** Whatever a server answers: an end that was stored twice, or changed, is one too many. */
async function checkEndedOnce({ sql, faults }: Cluster): Promise<void> {
  const rows = (await sql(
    `select request_id, count(*)::int as ends, string_agg(was || ' to ' || status, ', ' order by at) as how
     from watched_ends group by request_id having count(*) > 1`,
  )) as readonly { readonly request_id: string; readonly ends: number; readonly how: string }[];
  for (const { request_id: requestId, ends, how } of rows)
    faults.push(`invocation ${requestId} ended ${ends} times: ${how}`);
}
