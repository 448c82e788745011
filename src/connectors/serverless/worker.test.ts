import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SqlStore } from '../../store/sql-store.ts';
import type { Store } from '../../store/store.ts';
import { testClock, type TestClock } from '../../testing/clock.ts';
import { CREATED, invocation, storeSuite } from '../../testing/store-suite.ts';
import type { ClaimedInvocation, InvocationEnd, InvocationQueue } from './invocations.ts';
import { InvocationWorker, LEASE_MS, SCAN_MS, type InvocationRunner, type Turn } from './worker.ts';

const folder = mkdtempSync(join(tmpdir(), 'worker-'));
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
  rmSync(folder, { recursive: true, force: true });
});

const ENDED: InvocationEnd = {
  status: 'completed',
  result: null,
  resultFile: null,
  error: null,
  logs: null,
  durationMs: 1,
  endedAt: CREATED,
  expiresAt: new Date(4_000_000_000_000),
};

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

async function suite() {
  const store = await SqlStore.open({ file: ':memory:' });
  closing.push(() => store.close());
  const { stored, fresh } = storeSuite(() => store);
  const { record } = await stored({ connectorType: 'serverless' });
  const add = async (patch = {}) => {
    const one = invocation(record, { requestId: fresh('request'), ...patch });
    await store.addInvocation(one);
    return one;
  };
  const statusOf = async ({ requestId }: { readonly requestId: string }) =>
    (await store.getInvocation(record.tenantId, record.connectorId, requestId))?.status;
  return { store, record, add, statusOf };
}

type Turned = (invocation: ClaimedInvocation, signal: AbortSignal) => Promise<Turn>;

function worker(store: Store, clock: TestClock, turn: Turned, queue = queueOf(store)) {
  const warnings: string[] = [];
  const log = {
    info: () => {},
    warn: (message: string) => void warnings.push(message),
    error: (message: string) => void warnings.push(message),
  };
  const made = new InvocationWorker({
    queue,
    clock,
    log: { debug: () => {}, ...log },
    ceilings: { all: 64, perTenant: 32 },
  });
  closing.push(() => made.close());
  // Of each connector its tenant is what claims its rows.
  const runner = async (connectorId: string): Promise<InvocationRunner | undefined> => {
    const found = await store.getConnector(null, connectorId);
    return found && { tenantId: found.record.tenantId, connectorId, maxConcurrency: 10, turn };
  };
  return { made, warnings, watch: () => made.watch(runner) };
}

const forever: Turned = (_invocation, signal) =>
  new Promise((resolve) => {
    const ended = () => resolve({ end: { ...ENDED, status: 'failed' } });
    signal.addEventListener('abort', ended, { once: true });
  });

describe('a worker that is stopped', () => {
  it('loses what it runs to another within a lease and a scan, and what it says afterwards is refused', async () => {
    const { store, add, statusOf } = await suite();
    const stopped = testClock(CREATED.getTime());
    const clock = testClock(CREATED.getTime());
    let wake = (): void => {};
    const woken = new Promise<void>((resolve) => (wake = resolve));
    const first = worker(store, stopped, async () => {
      await woken;
      return { end: { ...ENDED, result: 'stale' } };
    });
    const taken: string[] = [];
    const second = worker(store, clock, async ({ requestId, interrupted, fence }) => {
      taken.push(`${requestId} ${interrupted} ${fence}`);
      return { end: { ...ENDED, result: 'fresh' } };
    });
    const one = await add();
    first.watch();
    await expect.poll(() => statusOf(one)).toBe('running');
    // The first one's clock stands still, as that of a process that is stopped: it renews nothing.
    second.watch();
    await clock.advance(LEASE_MS - SCAN_MS);
    expect(taken).toEqual([]);
    await clock.advance(2 * SCAN_MS);
    await expect.poll(() => taken).toEqual([`${one.requestId} true 2`]);
    await expect.poll(() => statusOf(one)).toBe('completed');
    wake();
    await expect.poll(() => first.warnings.length).toBe(1);
    expect(first.warnings[0]).toContain('another worker has the invocation by now');
    const { tenantId, connectorId, requestId } = one;
    expect(await store.getInvocation(tenantId, connectorId, requestId)).toMatchObject({ result: 'fresh' });
  });

  it('keeps what it runs as long as it renews its lease', async () => {
    const { store, add, statusOf } = await suite();
    const clock = testClock(CREATED.getTime());
    const first = worker(store, clock, forever);
    const taken: string[] = [];
    const second = worker(store, clock, async ({ requestId }) => {
      taken.push(requestId);
      return { end: ENDED };
    });
    const one = await add();
    first.watch();
    await expect.poll(() => statusOf(one)).toBe('running');
    second.watch();
    for (let i = 0; i < 40; i++) await clock.advance(LEASE_MS / 6);
    expect(taken).toEqual([]);
    expect(await statusOf(one)).toBe('running');
  });

  it('ends a run whose lease it finds lost', async () => {
    const { store, add, statusOf } = await suite();
    const clock = testClock(CREATED.getTime());
    const aborted: string[] = [];
    const first = worker(store, clock, async (invocation, signal) => {
      const turn = await forever(invocation, signal);
      aborted.push(invocation.requestId);
      return turn;
    });
    const one = await add();
    first.watch();
    await expect.poll(() => statusOf(one)).toBe('running');
    const later = new Date(CREATED.getTime() + LEASE_MS);
    await store.claimInvocations(
      [{ ...one, limit: 1, maxConcurrency: 9 }],
      later,
      new Date(later.getTime() + LEASE_MS),
    );
    await clock.advance(LEASE_MS / 3);
    await expect.poll(() => aborted).toEqual([one.requestId]);
  });
});

describe('a worker', () => {
  it('takes up what became due without being told', async () => {
    const { store, add, statusOf } = await suite();
    const clock = testClock(CREATED.getTime());
    const { watch } = worker(store, clock, async () => ({ end: ENDED }));
    watch();
    const one = await add({ dueAt: new Date(CREATED.getTime() + 3 * SCAN_MS) });
    await clock.advance(2 * SCAN_MS);
    expect(await statusOf(one)).toBe('queued');
    await clock.advance(2 * SCAN_MS);
    await expect.poll(() => statusOf(one)).toBe('completed');
  });

  it('goes on trying to store an end that the store does not take, and holds its lease meanwhile', async () => {
    const { store, add, statusOf } = await suite();
    const clock = testClock(CREATED.getTime());
    let isFull = true;
    const queue = {
      ...queueOf(store),
      end: (...given: Parameters<InvocationQueue['end']>) =>
        isFull ? Promise.reject(new Error('disk full')) : store.endInvocation(...given),
    };
    const runs: string[] = [];
    const turn: Turned = async ({ requestId }) => {
      runs.push(requestId);
      return { end: ENDED };
    };
    const { watch, warnings } = worker(store, clock, turn, queue);
    const one = await add();
    watch();
    await expect.poll(() => runs).toEqual([one.requestId]);
    for (let i = 0; i < 60; i++) await clock.advance(1_000);
    expect(await statusOf(one)).toBe('running');
    expect(warnings).toHaveLength(1);
    isFull = false;
    await clock.advance(1_000);
    await expect.poll(() => statusOf(one)).toBe('completed');
    expect(runs).toHaveLength(1);
  });

  it('ends what runs when it is closed, and leaves no timer', async () => {
    const { store, add, statusOf } = await suite();
    const clock = testClock(CREATED.getTime());
    const { made, watch } = worker(store, clock, forever);
    const one = await add();
    watch();
    await expect.poll(() => statusOf(one)).toBe('running');
    await made.close();
    expect(await statusOf(one)).toBe('failed');
    expect(clock.pendingTimers).toBe(0);
  });

  it('does not let a tenant whose functions never end delay another tenant', async () => {
    const { store, add } = await suite();
    const { stored, fresh } = storeSuite(() => store);
    const clock = testClock(CREATED.getTime());
    const done: string[] = [];
    const { watch } = worker(store, clock, async (one, signal) => {
      if (one.tenantId === 'tenant') return forever(one, signal);
      done.push(one.requestId);
      return { end: ENDED };
    });
    for (let i = 0; i < 200; i++) await add();
    const other = await stored({ connectorType: 'serverless', tenantId: 'other', connectorId: 'other-1' });
    watch();
    const late = invocation(other.record, { requestId: fresh('late') });
    await store.addInvocation(late);
    await clock.advance(SCAN_MS);
    await expect.poll(() => done).toEqual([late.requestId]);
  });
});

/** A clock whose machine's time, and with `stands` whose process, jumps without a timer in between. */
function jumpingClock() {
  const base = testClock(CREATED.getTime());
  let wallMs = 0;
  let elapsedMs = 0;
  const clock: TestClock = Object.create(base, {
    now: { value: () => base.now() + wallMs },
    monotonicMs: { value: () => base.monotonicMs() + elapsedMs },
  });
  return {
    clock,
    jump: (ms: number) => void (wallMs += ms),
    standStill: (ms: number) => void ([wallMs, elapsedMs] = [wallMs + ms, elapsedMs + ms]),
  };
}

describe('when time jumps, a worker', () => {
  const DAY_MS = 86_400_000;

  it.each(['jump', 'standStill'] as const)('does not take up what it runs itself (%s)', async (how) => {
    const { store, add, statusOf } = await suite();
    const time = jumpingClock();
    const runs: string[] = [];
    const { watch } = worker(store, time.clock, (one, signal) => {
      runs.push(one.requestId);
      return forever(one, signal);
    });
    const one = await add();
    watch();
    await expect.poll(() => statusOf(one)).toBe('running');
    time[how](DAY_MS);
    for (let i = 0; i < 4; i++) {
      await time.clock.advance(SCAN_MS);
      await store.ping();
      await store.ping();
    }
    expect(runs).toEqual([one.requestId]);
  });

  it('goes on with what waits, though the date is one before it', async () => {
    const { store, add, statusOf } = await suite();
    const time = jumpingClock();
    const { watch } = worker(store, time.clock, async () => ({ end: ENDED }));
    watch();
    const one = await add({ dueAt: new Date(CREATED.getTime() + 2 * SCAN_MS) });
    time.jump(-DAY_MS);
    await time.clock.advance(4 * SCAN_MS);
    await expect.poll(() => statusOf(one)).toBe('completed');
  });
});

describe('a fault of one thing', () => {
  it('such as a claim that comes when the worker is closed already, leaves what it took up waiting', async () => {
    const { store, add, statusOf } = await suite();
    let claiming = (): void => {};
    const isClaiming = new Promise<void>((resolve) => (claiming = resolve));
    let go = (): void => {};
    const mayGo = new Promise<void>((resolve) => (go = resolve));
    const queue: InvocationQueue = {
      ...queueOf(store),
      async claim(...given) {
        claiming();
        await mayGo;
        return store.claimInvocations(...given);
      },
    };
    const turn: Turned = async (_one, { aborted }) =>
      aborted
        ? { defer: { status: 'queued', native: null, failures: 0 }, dueInMs: 0 }
        : { end: { ...ENDED, status: 'lost' } };
    const { made, watch } = worker(store, testClock(CREATED.getTime()), turn, queue);
    const one = await add();
    watch();
    await isClaiming;
    const closed = made.close();
    go();
    await closed;
    expect(await statusOf(one)).toBe('queued');
  });

  it('such as a connector that cannot be had, does not hold up the others', async () => {
    const { store, add, statusOf } = await suite();
    const { stored, fresh } = storeSuite(() => store);
    const broken = await stored({ connectorType: 'serverless', connectorId: '0-before-all-others' });
    await store.addInvocation(invocation(broken.record, { requestId: fresh('broken') }));
    const one = await add();
    const { made } = worker(store, testClock(CREATED.getTime()), async () => ({ end: ENDED }));
    made.watch(async (connectorId) => {
      if (connectorId === broken.record.connectorId) throw new Error('its driver is gone');
      const turn = async () => ({ end: ENDED });
      return { tenantId: one.tenantId, connectorId, maxConcurrency: 10, turn };
    });
    await expect.poll(() => statusOf(one)).toBe('completed');
  });

  it('such as a claim that the store refuses once, is made up for by a worker that nobody wakes', async () => {
    const { store, add, statusOf } = await suite();
    const clock = testClock(CREATED.getTime());
    let refusals = 0;
    const queue: InvocationQueue = {
      ...queueOf(store),
      claim: (...given) =>
        refusals++ === 0 ? Promise.reject(new Error('disk full')) : store.claimInvocations(...given),
    };
    const { made } = worker(store, clock, async () => ({ end: ENDED }), queue);
    const one = await add();
    made.offer({ ...one, maxConcurrency: 1, turn: async () => ({ end: ENDED }) });
    await expect.poll(() => refusals).toBe(1);
    await clock.advance(1_000);
    await expect.poll(() => statusOf(one)).toBe('completed');
  });

  it('such as an end that comes under an old fence, ends no run', async () => {
    const { store, add, statusOf } = await suite();
    let aborted = false;
    const { made, watch } = worker(store, testClock(CREATED.getTime()), (one, signal) => {
      signal.addEventListener('abort', () => (aborted = true), { once: true });
      return forever(one, signal);
    });
    const one = await add();
    watch();
    await expect.poll(() => statusOf(one)).toBe('running');
    expect(await made.end(one, ENDED)).toBe(false);
    expect(aborted).toBe(false);
  });
});
