import type { Clock } from '../contract/clock.ts';
import type { RateLimitCounters } from '../contract/counters.ts';
import type { Log } from '../contract/driver.ts';
import { FallbackCounters } from '../policies/fallback-counters.ts';
import { memoryCounters } from '../policies/rate-limit.ts';
import { redisCounters } from '../policies/redis-counters.ts';
import type { Peers } from '../store/peers.ts';

/** Where a registry counts the attempts that its rate limits let through. */
export type Limits = {
  readonly counters: RateLimitCounters;
  /** Whether each server holds to its own share of a limit, because the counts that all share do not answer. */
  isAlone(): boolean;
  close(): void;
};

type LimitsOptions = {
  readonly redisUrl: string | undefined;
  readonly peers: Peers | undefined;
  readonly clock: Clock;
  readonly log: Log;
};

/** How long a count in Redis may take before it is made in this process. */
export const REDIS_MS = 100;
/** The same for the store. Longer: a count waits for one of the store's connections, and a busy store is not one that is away. */
export const STORE_MS = 500;

/**
 * In Redis where there is one, otherwise in the store that servers share, otherwise in this process.
 *
 * @throws ConnectorError as `redisCounters`; a Redis that does not answer is a warning in the log.
 */
export async function openLimits({ redisUrl, peers, clock, log }: LimitsOptions): Promise<Limits> {
  const redis = redisUrl === undefined ? undefined : await redisCounters(redisUrl);
  const shared = redis ?? peers?.counters;
  if (!shared) return { counters: memoryCounters(), isAlone: () => false, close: () => {} };
  const servers = () => peers?.count ?? 1;
  const counters = new FallbackCounters(shared, {
    servers,
    timeoutMs: redis ? REDIS_MS : STORE_MS,
    clock,
    log,
  });
  await counters.look();
  return {
    counters,
    isAlone: () => counters.isAlone,
    close() {
      counters.close();
      redis?.close();
    },
  };
}
