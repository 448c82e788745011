import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { SqlStore } from '../../store/sql-store.ts';
import type { Store } from '../../store/store.ts';
import { testClock, type TestClock } from '../../testing/clock.ts';
import { CREATED, invocation, storeSuite } from '../../testing/store-suite.ts';
import { silentLog } from '../../registry/log.ts';
import { ASK_MS } from './ends-elsewhere.ts';
import type { ClaimedInvocation, InvocationEnd, InvocationQueue } from './invocations.ts';
import { HAND_OVER_MS, InvocationWorker, LEASE_MS, SHARED_SCAN_MS, type Turn } from './worker.ts';

// The rows of one store, worked on by several workers that go by one time, as servers on one database do.

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

const ENDED: InvocationEnd = {
  ...{ status: 'completed', result: null, resultFile: null, error: null, logs: null, durationMs: 1 },
  ...{ endedAt: CREATED, expiresAt: new Date(4_000_000_000_000) },
};

async function suite() {
  const store = await SqlStore.open({ file: ':memory:' });
  closing.push(() => store.close());
  const { stored, fresh } = storeSuite(() => store);
  const { record } = await stored({ connectorType: 'serverless' });
  const { tenantId, connectorId } = record;
  const clock = testClock(CREATED.getTime());
  const add = async (patch = {}) => {
    const one = invocation(record, { requestId: fresh('request'), ...patch });
    await store.addInvocation(one);
    return one;
  };
  const found = ({ requestId }: { readonly requestId: string }) =>
    store.getInvocation(tenantId, connectorId, requestId);
  const statusOf = async (one: { readonly requestId: string }) => (await found(one))?.status;
  const cancel = ({ requestId }: { readonly requestId: string }) =>
    store.cancelInvocation(tenantId, connectorId, requestId, { ...ENDED, status: 'cancelled' });
  return { store, clock, tenantId, connectorId, add, found, statusOf, cancel };
}

type Turned = (invocation: ClaimedInvocation, signal: AbortSignal) => Promise<Turn>;
type Suite = Awaited<ReturnType<typeof suite>>;

function queueOf(store: Store): InvocationQueue {
  return {
    claim: (...given) => store.claimInvocations(...given),
    renew: (...given) => store.renewInvocations(...given),
    end: (...given) => store.endInvocation(...given),
    defer: (...given) => store.deferInvocation(...given),
    ended: (...given) => store.endedInvocations(...given),
    due: (...given) => store.dueInvocations(...given),
  };
}

function worker(
  { store, clock, tenantId, connectorId }: Suite,
  turn: Turned,
  {
    queue = queueOf(store),
    maxConcurrency = 10,
    own = clock,
  }: { queue?: InvocationQueue; maxConcurrency?: number; own?: TestClock } = {},
) {
  const made = new InvocationWorker({
    queue,
    clock: own,
    log: silentLog,
    ceilings: { all: 64, perTenant: 32 },
    shared: own,
  });
  closing.push(() => made.close());
  const runner = { tenantId, connectorId, maxConcurrency, turn };
  return { made, runner, watch: () => made.watch(async () => runner) };
}

/** Runs until it is ended. */
const forever: Turned = async (_invocation, signal) => {
  if (!signal.aborted) await once(signal, 'abort');
  return { end: { ...ENDED, status: 'failed' } };
};

describe('a worker among others', () => {
  it('ends what it runs, and wakes who waits for it, when another has ended it', async () => {
    const all = await suite();
    const first = worker(all, forever);
    const second = worker(all, forever);
    const one = await all.add();
    first.watch();
    await expect.poll(() => all.statusOf(one)).toBe('running');
    let isWoken = false;
    const woken = second.made
      .change(one.requestId, new AbortController().signal)
      .then(() => (isWoken = true));
    await all.clock.advance(5 * ASK_MS);
    await all.store.ping();
    expect(isWoken).toBe(false);
    await all.cancel(one);
    await all.clock.advance(ASK_MS);
    await woken;
    // Its run ended: nothing is left that it would drain.
    await first.made.drain(new AbortController().signal);
    expect(await all.statusOf(one)).toBe('cancelled');
  });

  it('asks nothing of the store once nobody waits and nothing runs', async () => {
    const all = await suite();
    let asked = 0;
    const ended = (ids: readonly string[]) => {
      asked += 1;
      return all.store.endedInvocations(ids);
    };
    const { made } = worker(all, forever, { queue: { ...queueOf(all.store), ended } });
    const leaving = new AbortController();
    const changed = made.change('one', leaving.signal);
    await all.clock.advance(ASK_MS);
    await changed;
    await all.clock.advance(ASK_MS);
    expect(asked).toBe(1);
    expect(all.clock.pendingTimers).toBe(0);
  });

  it('runs nothing of a claim whose answer comes after the lease, and says what may have run', async () => {
    const all = await suite();
    const [fresh, cut] = [await all.add(), await all.add({ status: 'running', fence: 1 })];
    const runs: string[] = [];
    let isFirst = true;
    const queue: InvocationQueue = {
      ...queueOf(all.store),
      async claim(...given) {
        const claim = await all.store.claimInvocations(...given);
        if (isFirst) await all.clock.advance(LEASE_MS);
        isFirst = false;
        return claim;
      },
    };
    const { made, runner } = worker(
      all,
      async ({ requestId }) => {
        runs.push(requestId);
        return { end: ENDED };
      },
      { queue },
    );
    made.offer(runner);
    await expect.poll(() => all.statusOf(fresh)).toBe('queued');
    await expect.poll(async () => (await all.found(cut))?.dueAt).toEqual(new Date(all.clock.now()));
    expect(await all.statusOf(cut)).toBe('running');
    expect(runs).toEqual([]);
    const ran = async () => {
      await all.clock.advance(1_000);
      return runs.toSorted();
    };
    await expect.poll(ran).toEqual([fresh.requestId, cut.requestId].toSorted());
  });

  it('takes nothing over that others could not prolong while the store was away', async () => {
    const all = await suite();
    let isAway = false;
    const away =
      <Given extends unknown[], T>(run: (...given: Given) => Promise<T>) =>
      (...given: Given) =>
        isAway ? Promise.reject(new Error('away')) : run(...given);
    const real = queueOf(all.store);
    const queue = {
      ...real,
      renew: away(real.renew),
      due: away(real.due),
      claim: away(real.claim),
      ended: away(real.ended),
    };
    const runs: string[] = [];
    const counted: Turned = (one, signal) => {
      runs.push(`${one.requestId} ${one.interrupted}`);
      return forever(one, signal);
    };
    const first = worker(all, counted, { queue });
    const second = worker(all, counted, { queue });
    const one = await all.add();
    first.watch();
    await expect.poll(() => all.statusOf(one)).toBe('running');
    second.watch();
    await all.clock.advance(SHARED_SCAN_MS);
    isAway = true;
    for (let i = 0; i < 60; i++) await all.clock.advance(SHARED_SCAN_MS);
    isAway = false;
    for (let i = 0; i < 10; i++) {
      await all.clock.advance(SHARED_SCAN_MS);
      await all.store.ping();
    }
    expect(runs).toEqual([`${one.requestId} false`]);
    // What waits is taken up again soon.
    const next = await all.add({ dueAt: new Date(all.clock.now()) });
    await all.clock.advance(SHARED_SCAN_MS);
    await expect.poll(() => runs).toContain(`${next.requestId} false`);
  });

  it('takes over from one that is gone, within a lease and a scan', async () => {
    const all = await suite();
    const gone = testClock(CREATED.getTime());
    const first = worker(all, forever, { own: gone });
    const taken: string[] = [];
    const second = worker(all, async ({ requestId, interrupted }) => {
      taken.push(`${requestId} ${interrupted}`);
      return { end: ENDED };
    });
    const one = await all.add();
    first.watch();
    await expect.poll(() => all.statusOf(one)).toBe('running');
    second.watch();
    for (let ms = 0; ms < LEASE_MS - SHARED_SCAN_MS; ms += SHARED_SCAN_MS)
      await all.clock.advance(SHARED_SCAN_MS);
    expect(taken).toEqual([]);
    await all.clock.advance(SHARED_SCAN_MS);
    await all.clock.advance(SHARED_SCAN_MS);
    await expect.poll(() => taken).toEqual([`${one.requestId} true`]);
  });

  it('goes on with a connector of which others run the rest, whenever a run of its own is done', async () => {
    const all = await suite();
    let claims = 0;
    // Of ten that may run, others run nine.
    const queue: InvocationQueue = {
      ...queueOf(all.store),
      async claim([want], ...rest) {
        claims += 1;
        const { claimed } = await all.store.claimInvocations(want ? [{ ...want, limit: 1 }] : [], ...rest);
        return { claimed, full: claimed.length === 1 ? [all.connectorId] : [] };
      },
    };
    const { made, runner } = worker(all, async () => ({ end: ENDED }), { queue });
    const added = [await all.add(), await all.add(), await all.add()];
    made.offer(runner);
    for (const one of added) await expect.poll(() => all.statusOf(one)).toBe('completed');
    await made.drain(new AbortController().signal);
    // One that found nothing told it that there is no more.
    expect(claims).toBe(4);
  });
});

describe('a worker that is closed', () => {
  it('hands over what does not end, as interrupted', async () => {
    const all = await suite();
    const deaf = worker(all, () => new Promise(() => {}));
    const one = await all.add();
    deaf.watch();
    await expect.poll(() => all.statusOf(one)).toBe('running');
    await all.clock.advance(1);
    const closed = deaf.made.close();
    await all.clock.advance(HAND_OVER_MS);
    await closed;
    const now = new Date(all.clock.now());
    expect(await all.found(one)).toMatchObject({ status: 'running', dueAt: now });
    const { tenantId, connectorId } = all;
    const want = { tenantId, connectorId, limit: 1, maxConcurrency: 1 };
    const { claimed } = await all.store.claimInvocations([want], now, new Date(now.getTime() + LEASE_MS));
    expect(claimed).toMatchObject([{ requestId: one.requestId, interrupted: true }]);
  });

  it('leaves what is due to others, and ends what it runs', async () => {
    const all = await suite();
    let end = (): void => {};
    const { made, runner } = worker(
      all,
      async () => {
        await new Promise<void>((resolve) => (end = resolve));
        return { end: ENDED };
      },
      { maxConcurrency: 1 },
    );
    const [first, second] = [await all.add(), await all.add()];
    made.offer(runner);
    await expect.poll(() => all.statusOf(first)).toBe('running');
    made.leave({ handsOver: true });
    const drained = made.drain(new AbortController().signal);
    end();
    await drained;
    expect(await all.statusOf(first)).toBe('completed');
    expect(await all.statusOf(second)).toBe('queued');
  });
});
