import type { Clock } from '../contract/clock.ts';
import type { RateLimitCounters } from '../contract/counters.ts';
import type { Log } from '../contract/driver.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { memoryCounters } from './rate-limit.ts';

export type FallbackOptions = {
  /** How many processes share the limits at this moment, this one included. */
  readonly servers: () => number;
  /** How long a count may take before it is made here. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
};

/** Between two looks at whether the shared counts answer again. */
const LOOK_AGAIN_MS = 1_000;

/**
 * Shared counts, and this process's own while those do not answer: no call ever fails for them.
 *
 * Only what is under way when they go away waits for them. From then on counts are made in memory, and whether the
 * shared ones are back is found out beside all calls, once a second.
 */
export class FallbackCounters implements RateLimitCounters {
  readonly #shared: RateLimitCounters;
  readonly #options: FallbackOptions;
  readonly #own = memoryCounters();
  #isAlone = false;
  #isClosed = false;
  #cancelLook: (() => void) | undefined;

  constructor(shared: RateLimitCounters, options: FallbackOptions) {
    this.#shared = shared;
    this.#options = options;
  }

  /** Whether this process counts by itself, because the shared counts did not answer when they were last asked. */
  get isAlone(): boolean {
    return this.#isAlone;
  }

  async count(key: string, windowMs: number) {
    if (!this.#isAlone) {
      try {
        return await this.#ask(key, windowMs);
      } catch (error) {
        this.#leave(error);
      }
    }
    return { ...(await this.#own.count(key, windowMs)), servers: this.#options.servers() };
  }

  /** Finds out whether the shared counts answer, and goes by them if they do. */
  async look(): Promise<void> {
    try {
      await this.#ask('', LOOK_AGAIN_MS);
    } catch (error) {
      this.#leave(error);
      this.#lookAgain();
      return;
    }
    if (this.#isAlone) this.#options.log.info('rate limits hold across servers again');
    this.#isAlone = false;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook?.();
  }

  #ask(key: string, windowMs: number): ReturnType<RateLimitCounters['count']> {
    const { clock, timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const late = () => reject(new ConnectorError('timeout', `no answer within ${timeoutMs} ms`));
      // Where this process itself was busy for so long, an answer may have come, and is read before this.
      const cancel = clock.after(timeoutMs, () => void setImmediate(late));
      this.#shared.count(key, windowMs).then(resolve, reject).finally(cancel);
    });
  }

  #leave(error: unknown): void {
    if (this.#isAlone || this.#isClosed) return;
    this.#isAlone = true;
    const reason = isConnectorError(error) ? error.message : 'they failed';
    this.#options.log.warn("rate limits are this server's share until the shared counts answer again", {
      reason,
    });
    this.#lookAgain();
  }

  #lookAgain(): void {
    if (this.#isClosed) return;
    this.#cancelLook?.();
    this.#cancelLook = this.#options.clock.inBackground(LOOK_AGAIN_MS, () => void this.look());
  }
}
