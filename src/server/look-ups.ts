import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { ErrorCode } from '../errors/codes.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';

/** Failures that one address may make in a window before it is told to wait. */
const MAX_FAILURES = 20;
const WINDOW_SECONDS = 60;
/** Look-ups at once of addresses that do not keep failing, and of all others together. Each takes one of the store's connections. */
const AT_ONCE = { others: 4, failing: 1 };
/** How many wait for their turn, at most, and for how long. */
const WAITING = { others: 1_000, failing: 100 };
const WAIT_MS = 5_000;

const REFUSALS: ReadonlySet<ErrorCode> = new Set(['unauthenticated', 'permission_denied']);

/**
 * Looks up what callers show who are not known yet: API keys and sealed addresses. However many come with none that is
 * valid, most of the store's connections are left to the calls of others.
 *
 * An address that keeps failing is answered `rate_limited`; what is valid passes even then, because behind a proxy, and on
 * the machine itself, many callers share one address. Guessing is hopeless anyway: a key holds 256 random bits.
 */
export class LookUps {
  readonly #failures = new RateLimiterMemory({ points: MAX_FAILURES, duration: WINDOW_SECONDS });
  readonly #others = new Gate(AT_ONCE.others, WAITING.others);
  readonly #failing = new Gate(AT_ONCE.failing, WAITING.failing);

  /**
   * What `find` answers, in its turn.
   *
   * @throws ConnectorError what `find` throws; `rate_limited` where it refuses too often for the address; `unavailable`
   *   where too many others are looked up.
   */
  async run<T>(address: string, find: () => Promise<T>): Promise<T> {
    const failures = await this.#failures.get(address);
    const isFailing = failures !== null && failures.consumedPoints >= MAX_FAILURES;
    try {
      return await (isFailing ? this.#failing : this.#others).run(find);
    } catch (error) {
      if (isConnectorError(error) && REFUSALS.has(error.code)) await this.failed(address);
      throw error;
    }
  }

  /** Counts a failure of the address. @throws ConnectorError `rate_limited` where that is one too many. */
  async failed(address: string): Promise<void> {
    const waitMs = await this.#failures.consume(address).then(
      () => undefined,
      (refused: { readonly msBeforeNext: number }) => refused.msBeforeNext,
    );
    if (waitMs === undefined) return;
    throw new ConnectorError(
      'rate_limited',
      'too many requests without a valid API key or signed address came from this address',
      { retryAfterMs: Math.max(1, waitMs) },
    );
  }
}

/** Lets so many pieces of work run at once; others wait for their turn. */
class Gate {
  readonly #maxWaiting: number;
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(atOnce: number, maxWaiting: number) {
    this.#free = atOnce;
    this.#maxWaiting = maxWaiting;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn();
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next) next();
      else this.#free += 1;
    }
  }

  #turn(): Promise<void> {
    const busy = () =>
      new ConnectorError('unavailable', 'too many callers are looked up at the moment', {
        retryAfterMs: 1_000,
      });
    if (this.#waiting.size >= this.#maxWaiting) throw busy();
    return new Promise((resolve, reject) => {
      const begin = () => {
        leave();
        resolve();
      };
      const timer = setTimeout(() => {
        leave();
        reject(busy());
      }, WAIT_MS);
      const leave = () => {
        clearTimeout(timer);
        this.#waiting.delete(begin);
      };
      this.#waiting.add(begin);
    });
  }
}
