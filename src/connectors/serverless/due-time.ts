import type { Clock } from '../../contract/clock.ts';

/** A store that was away for so long may have kept others from prolonging their leases. */
const OUTAGE_MS = 5_000;
/** How long they have for it before anything is taken over from them. */
const OUTAGE_GRACE_MS = 2_500;

/**
 * The time by which invocations are due: the store's where servers share it, otherwise the date at the beginning and what
 * went by since. Where the machine's date jumps, neither do leases end nor does what waits wait for longer.
 */
export class DueTime {
  readonly #clock: Clock;
  readonly #shared: { now(): number } | undefined;
  readonly #zeroMs: number;
  /** When the store last answered. */
  #heardMs: number;
  #isAsked = false;
  #grace = { untilMs: Number.NEGATIVE_INFINITY, dueByMs: 0 };

  /** @param shared the time that all servers on one store go by; undefined where this one has it to itself. */
  constructor(clock: Clock, shared: { now(): number } | undefined) {
    this.#clock = clock;
    this.#shared = shared;
    this.#zeroMs = clock.now() - clock.monotonicMs();
    this.#heardMs = this.now();
  }

  now(): number {
    return this.#shared?.now() ?? Math.round(this.#zeroMs + this.#clock.monotonicMs());
  }

  /** The store is asked all the time from now on, so that it is away where it does not answer. */
  asked(): void {
    this.#isAsked = true;
    this.#heardMs = this.now();
  }

  /** Whether the store, which others share, did not answer for a while. */
  get isLate(): boolean {
    return this.#shared !== undefined && this.#isAsked && this.now() - this.#heardMs > OUTAGE_MS;
  }

  /** The store answered. */
  heard(): void {
    this.#noteOutage();
    this.#heardMs = this.now();
  }

  /**
   * What was due by then is due. After the store was away it stands still for a moment: leases that ended meanwhile may be
   * those of workers that are alive, and prolong them now.
   */
  dueBy(): number {
    this.#noteOutage();
    const now = this.now();
    return now < this.#grace.untilMs ? this.#grace.dueByMs : now;
  }

  #noteOutage(): void {
    if (this.isLate) this.#grace = { untilMs: this.now() + OUTAGE_GRACE_MS, dueByMs: this.#heardMs };
  }
}
