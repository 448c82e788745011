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

type Count = Awaited<ReturnType<RateLimitCounters['count']>>;
type Caller = {
  readonly windowMs: number;
  readonly resolve: (count: Count) => void;
  readonly reject: (error: unknown) => void;
};

/**
 * Shared counts, and this process's own while those do not answer: no call ever fails for them.
 *
 * Only what is under way when they go away waits for them. From then on counts are made in memory, and whether the
 * shared ones are back is found out beside all calls, once a second.
 *
 * Of each key one count is under way at a time; attempts that come meanwhile are counted together after it. However many
 * come at once on one key, the counts of others do not wait behind them.
 */
export class FallbackCounters implements RateLimitCounters {
  readonly #shared: RateLimitCounters;
  readonly #options: FallbackOptions;
  readonly #own = memoryCounters();
  /** By the keys of counts under way, who came since. */
  readonly #waiting = new Map<string, Caller[]>();
  #answeredMs = Number.NEGATIVE_INFINITY;
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

  count(key: string, windowMs: number): Promise<Count> {
    return new Promise((resolve, reject) => {
      const caller = { windowMs, resolve, reject };
      const waiting = this.#waiting.get(key);
      if (waiting) waiting.push(caller);
      else void this.#countFor([caller], key, windowMs);
    });
  }

  async #countFor(callers: readonly Caller[], key: string, windowMs: number): Promise<void> {
    this.#waiting.set(key, []);
    try {
      const count = await this.#counted(key, windowMs, callers.length);
      const before = count.attempts - callers.length;
      callers.forEach(({ resolve }, at) => resolve({ ...count, attempts: before + at + 1 }));
    } catch (error) {
      for (const { reject } of callers) reject(error);
    }
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    const [next] = waiting;
    // By the window that holds now: it may have been changed.
    if (next) void this.#countFor(waiting, key, next.windowMs);
  }

  async #counted(key: string, windowMs: number, more: number): Promise<Count> {
    if (!this.#isAlone) {
      const sentMs = this.#options.clock.monotonicMs();
      try {
        return await this.#ask(key, windowMs, more);
      } catch (error) {
        // Where a later one was answered, what kept this one is its own.
        if (!isLate(error) || this.#answeredMs <= sentMs) this.#leave(error);
      }
    }
    return { ...(await this.#own.count(key, windowMs, more)), servers: this.#options.servers() };
  }

  /** Finds out whether the shared counts answer, and goes by them if they do. */
  async look(): Promise<void> {
    try {
      await this.#ask('', LOOK_AGAIN_MS, 1);
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

  async #ask(key: string, windowMs: number, more: number): Promise<Count> {
    const { clock, timeoutMs } = this.#options;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const tooLate = () => reject(new ConnectorError('timeout', `no answer within ${timeoutMs} ms`));
    // Where this process itself was busy for so long, an answer may have come, and is read before this.
    const cancel = clock.after(timeoutMs, () => void setImmediate(tooLate));
    try {
      const count = await Promise.race([this.#shared.count(key, windowMs, more), late]);
      this.#answeredMs = clock.monotonicMs();
      return count;
    } finally {
      cancel();
    }
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

function isLate(error: unknown): boolean {
  return isConnectorError(error) && error.code === 'timeout';
}
