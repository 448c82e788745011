import type { Clock } from '../../../driver.ts';

/**
 * What is known of the server's clock, which SFTP does not tell: it stands at least where it stood when a file that we
 * wrote was given its time, and has gone on since.
 */
export class ServerTime {
  readonly #clock: Clock;
  #leastAheadMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A file that we have just written has this time. */
  observe(mtimeSeconds: number): void {
    this.#leastAheadMs = Math.max(this.#leastAheadMs, mtimeSeconds * 1000 - this.#clock.monotonicMs());
  }

  /** Whether the second of a file's time is over by the server's clock, so that nothing else can be given that time. */
  isOver(mtimeSeconds: number): boolean {
    return this.#clock.monotonicMs() + this.#leastAheadMs >= (mtimeSeconds + 1) * 1000;
  }
}
