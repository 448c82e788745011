import type { Clock } from '../../../driver.ts';

/** How long cleaning up may take once nobody waits for it any more. */
const CLEANUP_MS = 5000;

/** Work that goes on after its call was answered, such as removing what a failed upload left; closing waits for it. */
export class Afterwards {
  readonly #clock: Clock;
  readonly #running = new Set<Promise<void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Starts the task; what becomes of it is nobody's any more. Its signal ends it after five seconds. */
  run(task: (signal: AbortSignal) => Promise<unknown>): void {
    const ending = new AbortController();
    const cancelTimer = this.#clock.inBackground(CLEANUP_MS, () => ending.abort());
    const running = task(ending.signal)
      .then(
        () => {},
        () => {},
      )
      .finally(() => {
        cancelTimer();
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  async finish(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
