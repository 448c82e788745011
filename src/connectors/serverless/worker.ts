import { sleep, type Clock } from '../../contract/clock.ts';
import type { Log } from '../../contract/driver.ts';
import { ConnectorError } from '../../errors/error.ts';
import { FairTurns, type Ceilings, type Taken, type Worked } from './fair-turns.ts';
import type {
  ClaimedInvocation,
  InvocationClaim,
  InvocationDeferral,
  InvocationEnd,
  InvocationLease,
  InvocationQueue,
} from './invocations.ts';
import { DueLooks, LOOK_ON_MS } from './due-looks.ts';
import { DueTime } from './due-time.ts';
import { EndsElsewhere } from './ends-elsewhere.ts';
import { Waiters } from './waiters.ts';

/** How long a worker holds an invocation without saying that it still does, in milliseconds. */
export const LEASE_MS = 30_000;
/** How often it says so. */
const RENEW_MS = LEASE_MS / 3;
/** How often it looks for what other workers left; what they held is taken up within a lease and this. */
export const SCAN_MS = 5_000;
/** The same where others do so: what one of them cannot run is another's to find. */
export const SHARED_SCAN_MS = 1_000;
/** How long a run that is given up may take to end before its lease is handed over all the same. */
export const HAND_OVER_MS = 1_500;
/** Between two attempts to store an end or to take something up, when the store fails. */
const STORE_AGAIN_MS = 1_000;

/** What came of one turn of an invocation: its end, or that it is let go of until later. */
export type Turn =
  | {
      readonly end: InvocationEnd;
      /** The failure itself, for the caller who waits. */
      readonly thrown?: ConnectorError;
    }
  | { readonly defer: Omit<InvocationDeferral, 'dueAt'>; readonly dueInMs: number };

/** Whose invocations are run. */
export interface InvocationRunner extends Worked {
  /** One turn. Never rejects. The signal ends it when the invocation is cancelled, its lease was lost, or the process closes. */
  turn(invocation: ClaimedInvocation, signal: AbortSignal): Promise<Turn>;
}

export type WorkerOptions = {
  readonly queue: InvocationQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly ceilings: Ceilings;
  /** Where other servers run what is stored as well: the time that all of them go by. */
  readonly shared?: { now(): number } | undefined;
};

type Held = { readonly lease: InvocationLease; readonly ending: AbortController; untilMs: number };

/**
 * Runs the stored invocations of all connectors of one process: in turns that are shared fairly, each under a lease that
 * is renewed while it runs.
 *
 * A worker that is stopped or killed loses its leases, and another takes over; what the first one has to say afterwards
 * is refused by the store, because the fence of the invocation has moved on.
 */
export class InvocationWorker {
  readonly #queue: InvocationQueue;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #turns: FairTurns<InvocationRunner>;
  readonly #held = new Set<Held>();
  readonly #waiters = new Waiters();
  readonly #timers = new Set<() => void>();
  readonly #leaving = new AbortController();
  readonly #closing = new AbortController();
  readonly #idle = new Set<() => void>();
  readonly #time: DueTime;
  /** Undefined where there are no other servers. */
  readonly #elsewhere: EndsElsewhere<Held> | undefined;
  #filling = false;
  #isRenewing = false;
  #handsOver = false;

  constructor({ queue, clock, log, ceilings, shared }: WorkerOptions) {
    this.#queue = queue;
    this.#clock = clock;
    this.#log = log;
    this.#turns = new FairTurns(ceilings);
    this.#time = new DueTime(clock, shared);
    if (!shared) return;
    this.#elsewhere = new EndsElsewhere({
      ended: (requestIds) => queue.ended(requestIds),
      held: () => [...this.#held].map((held) => [held.lease.requestId, held] as const),
      waited: () => this.#waiters.requestIds,
      later: (ms, task) => this.#later(ms, task),
      stop: ({ ending }) => ending.abort(),
      wake: (requestId) => this.wake(requestId),
    });
  }

  /** The time by which invocations are due, in milliseconds since the epoch. */
  now(): number {
    return this.#time.now();
  }

  /** Aborted once this worker is about to be closed: nobody waits here any longer. */
  get leaving(): AbortSignal {
    return this.#leaving.signal;
  }

  /** Something of this connector's was stored and is due. */
  offer(runner: InvocationRunner): void {
    if (this.#takesNoMore) return;
    this.#turns.offer(runner);
    void this.#fill();
  }

  /** Looks for what is due now and every few seconds: what other workers left, and what waited for its time. */
  watch(find: (connectorId: string) => Promise<InvocationRunner | undefined>): void {
    this.#time.asked();
    let isAway = false;
    const failed = (error: unknown) =>
      this.#log.error('could not look for invocations that are due', { error: String(error) });
    const looks = new DueLooks<InvocationRunner>({
      turns: this.#turns,
      due: async (after) => {
        const found = await this.#queue.due(new Date(this.#time.dueBy()), after);
        this.#time.heard();
        return found;
      },
      // One that cannot be had does not hold up the others.
      find: (connectorId) => find(connectorId).catch((error: unknown) => void failed(error)),
      offer: (runner) => this.offer(runner),
    });
    const look = async () => {
      let pauseMs = this.#elsewhere ? SHARED_SCAN_MS : SCAN_MS;
      try {
        // Others are about to take over what this worker could not prolong.
        if (this.#time.isLate && this.#held.size > 0) await this.#renew();
        if (await looks.look()) pauseMs = LOOK_ON_MS;
        isAway = false;
      } catch (error) {
        if (!isAway) failed(error);
        isAway = true;
      }
      this.#later(pauseMs, () => void look());
    };
    void look();
  }

  /** Runs an invocation that the caller holds already, outside the turns, and stores what comes of it; undefined where another worker has it by now, and it counts for nothing. */
  async run(runner: InvocationRunner, invocation: ClaimedInvocation): Promise<Turn | undefined> {
    const { tenantId, connectorId, requestId, fence, dueAt } = invocation;
    const lease = { tenantId, connectorId, requestId, fence };
    const ending = new AbortController();
    const held = { lease, ending, untilMs: dueAt?.getTime() ?? 0 };
    this.#held.add(held);
    this.#renewLater();
    this.#elsewhere?.askLater();
    if (this.#closing.signal.aborted) ending.abort(this.#closing.signal.reason);
    try {
      const turn = await runner.turn(invocation, ending.signal);
      const isOurs = await this.#store(lease, turn);
      if (isOurs && 'defer' in turn) this.#later(turn.dueInMs, () => this.offer(runner));
      return isOurs ? turn : undefined;
    } finally {
      this.#held.delete(held);
      this.wake(requestId);
      this.#tellIdle();
    }
  }

  /** Stores an end that somebody else found out. False where it has ended, or another worker has taken it up since. */
  async end(lease: InvocationLease, end: InvocationEnd): Promise<boolean> {
    const isOurs = await this.#queue.end(lease, end);
    if (isOurs) this.stop(lease.requestId);
    return isOurs;
  }

  /** Ends the run of an invocation that was ended otherwise. */
  stop(requestId: string): void {
    for (const { lease, ending } of this.#held) if (lease.requestId === requestId) ending.abort();
    this.wake(requestId);
  }

  /** Whoever waits for an invocation looks again. */
  wake(requestId: string): void {
    this.#waiters.wake(requestId);
  }

  /** The same for all of them, where invocations went otherwise than by an end. */
  wakeAll(): void {
    this.#waiters.wakeAll();
  }

  /** Resolves when something became of the invocation, here or on another server, or with the signal. */
  change(requestId: string, signal: AbortSignal): Promise<void> {
    const changed = this.#waiters.change(requestId, signal);
    this.#elsewhere?.askLater();
    return changed;
  }

  /**
   * Nobody waits here any longer; what runs goes on.
   *
   * @param handsOver whether others take up what is due.
   */
  leave({ handsOver }: { readonly handsOver: boolean }): void {
    this.#handsOver ||= handsOver;
    this.#leaving.abort();
    this.#tellIdle();
  }

  /** Resolves when nothing runs and nothing that is known of is due, or with the signal. */
  async drain(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#tellIdle(), { once: true });
    while (this.#isBusy && !signal.aborted) await this.#change();
  }

  /**
   * Takes up nothing more, ends what runs, and resolves when that is stored; what does not end soon is let go of, so that
   * another takes over at once.
   */
  async close(): Promise<void> {
    this.#leaving.abort();
    this.#closing.abort(new ConnectorError('cancelled', 'the registry is being closed'));
    for (const { ending } of this.#held) ending.abort(this.#closing.signal.reason);
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    let isOver = false;
    const cancel = this.#clock.after(HAND_OVER_MS, () => {
      isOver = true;
      this.#tellIdle();
    });
    // What is being taken up just now is let go of as well.
    while (!isOver && (this.#held.size > 0 || this.#filling)) await this.#change();
    cancel();
    const left = [...this.#held].map(({ lease }) => lease);
    this.#held.clear();
    if (left.length > 0)
      await this.#queue
        .renew(left, new Date(this.now()))
        .catch((error: unknown) =>
          this.#log.warn('leases of invocations were not handed over', { error: String(error) }),
        );
  }

  /** Resolves when something has ended. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#idle.add(resolve));
  }

  get #isBusy(): boolean {
    return this.#held.size > 0 || (this.#handsOver ? this.#turns.running : this.#turns.busy);
  }

  get #takesNoMore(): boolean {
    return this.#handsOver || this.#closing.signal.aborted;
  }

  /** Takes up as much as there are turns, and again until nothing is left to take. */
  async #fill(): Promise<void> {
    if (this.#filling) return;
    this.#filling = true;
    try {
      for (;;) {
        // What is offered or freed in this turn of the event loop goes into one transaction.
        await new Promise(setImmediate);
        const taken = this.#takesNoMore ? [] : this.#turns.take();
        if (taken.length === 0) return;
        await this.#takeUp(taken);
      }
    } finally {
      this.#filling = false;
      this.#tellIdle();
    }
  }

  async #takeUp(taken: readonly Taken<InvocationRunner>[]): Promise<void> {
    let claim: InvocationClaim = { claimed: [], full: [] };
    try {
      // After this process stood still, its own leases look like those of one that has ended.
      const standing = this.now();
      if ([...this.#held].some(({ untilMs }) => untilMs <= standing)) await this.#renew();
      const now = this.now();
      const answer = await this.#queue.claim(taken, new Date(this.#time.dueBy()), new Date(now + LEASE_MS));
      this.#time.heard();
      if (this.now() - now >= LEASE_MS) await this.#letGo(answer);
      claim = answer;
    } catch (error) {
      this.#log.error('invocations could not be taken up', { error: String(error) });
      for (const { worked } of taken) this.#later(STORE_AGAIN_MS, () => this.offer(worked));
    }
    const byConnector = Map.groupBy(claim.claimed, ({ connectorId }) => connectorId);
    for (const want of taken) {
      const own = byConnector.get(want.connectorId) ?? [];
      this.#turns.settle(want, own.length, claim.full.includes(want.connectorId));
      for (const invocation of own) void this.#inTurn(want.worked, invocation);
    }
  }

  /** The answer of the store came when others may have taken over already: nothing of it is run. */
  async #letGo({ claimed }: InvocationClaim): Promise<never> {
    for (const invocation of claimed) {
      const { native, failures, interrupted } = invocation;
      // Whoever takes it up next has to know that it may have run.
      const status = native !== null || interrupted ? 'running' : 'queued';
      await this.#queue.defer(invocation, { status, native, failures, dueAt: new Date(this.now()) });
    }
    throw new ConnectorError('timeout', `the store answered after more than ${LEASE_MS / 1_000} s`);
  }

  async #inTurn(runner: InvocationRunner, invocation: ClaimedInvocation): Promise<void> {
    const { tenantId, connectorId, requestId } = invocation;
    try {
      await this.run(runner, invocation);
    } catch (error) {
      this.#log.error('an invocation could not be run', { requestId, error: String(error) });
    } finally {
      this.#turns.done(tenantId, connectorId);
      void this.#fill();
    }
  }

  /** Goes on until it is stored, since nobody else knows: the lease is held meanwhile. False when it is another's by now. */
  async #store(lease: InvocationLease, turn: Turn): Promise<boolean> {
    const { requestId } = lease;
    for (let attempt = 1; ; attempt++) {
      try {
        const isOurs =
          'end' in turn
            ? await this.#queue.end(lease, turn.end)
            : await this.#queue.defer(lease, {
                ...turn.defer,
                dueAt: new Date(this.now() + turn.dueInMs),
              });
        if (!isOurs)
          this.#log.warn('another worker has the invocation by now; what came of it here is refused', {
            requestId,
          });
        return isOurs;
      } catch (error) {
        if (attempt === 1)
          this.#log.error('what came of an invocation could not be stored; trying again', {
            requestId,
            error: error instanceof Error ? error.message : String(error),
          });
        if (this.#closing.signal.aborted) return false;
        await sleep(this.#clock, STORE_AGAIN_MS, this.#closing.signal).catch(() => {});
      }
    }
  }

  #renewLater(): void {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    this.#later(RENEW_MS, () => {
      void this.#renew()
        .catch((error: unknown) =>
          this.#log.error('leases of invocations could not be renewed', { error: String(error) }),
        )
        .finally(() => {
          this.#isRenewing = false;
          if (this.#held.size > 0) this.#renewLater();
        });
    });
  }

  async #renew(): Promise<void> {
    const held = [...this.#held];
    const untilMs = this.now() + LEASE_MS;
    const ours = await this.#queue.renew(
      held.map(({ lease }) => lease),
      new Date(untilMs),
    );
    this.#time.heard();
    const kept = new Set(ours.map(nameOf));
    for (const one of held) {
      if (kept.has(nameOf(one.lease))) one.untilMs = untilMs;
      else one.ending.abort();
    }
  }

  #later(ms: number, task: () => void): void {
    if (this.#closing.signal.aborted) return;
    const cancel = this.#clock.inBackground(ms, () => {
      this.#timers.delete(cancel);
      task();
    });
    this.#timers.add(cancel);
  }

  #tellIdle(): void {
    const told = [...this.#idle];
    this.#idle.clear();
    for (const tell of told) tell();
  }
}

function nameOf({ requestId, fence }: InvocationLease): string {
  return `${requestId} ${fence}`;
}
