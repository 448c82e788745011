import type { RateLimiterMemory } from 'rate-limiter-flexible';
import type { RateLimitCounters } from '../contract/counters.ts';
import { ConnectorError } from '../errors/error.ts';
import type { Policy } from './pipeline.ts';

export type RateLimitOptions = {
  /** Whose slots are counted: the tenant and the connector. */
  readonly key: string;
  /** Attempts allowed in each window. */
  readonly requests: number;
  readonly windowMs: number;
};

/** Counters in the memory of this process. */
export function memoryCounters(): RateLimitCounters {
  let loading: Promise<RateLimiterMemory> | undefined;
  return {
    async count(key, windowMs, more = 1) {
      loading ??= loadLimiter();
      const limiter = await loading;
      const { consumedPoints, msBeforeNext } = await limiter.consume(key, more, {
        customDuration: windowMs / 1000,
      });
      // The limiter reads the wall clock, and one that is set back must not lengthen a window.
      return { attempts: consumedPoints, leftMs: Math.min(msBeforeNext, windowMs) };
    },
  };
}

/**
 * Lets `requests` attempts through in each window of `windowMs`, or this process's share of them, one at least, where
 * the counts say that they are its own.
 *
 * @throws ConnectorError `rate_limited`, whose `retryAfterMs` is the end of the window, before the backend is asked.
 */
export function rateLimit(
  { key, requests, windowMs }: RateLimitOptions,
  counters: RateLimitCounters = memoryCounters(),
): Policy {
  return (next) => async (call) => {
    const { attempts, leftMs, servers = 1 } = await counters.count(key, windowMs);
    const allowed = servers === 1 ? requests : Math.max(1, Math.floor(requests / servers));
    if (attempts > allowed) {
      throw new ConnectorError('rate_limited', `more than ${allowed} attempts within ${windowMs} ms`, {
        retryAfterMs: Math.ceil(leftMs),
        details: { requests: allowed, windowMs },
      });
    }
    return next(call);
  };
}

// On first use: the package holds every store that it knows, and takes tens of milliseconds to import (bench/policies.ts).
async function loadLimiter(): Promise<RateLimiterMemory> {
  const { RateLimiterMemory } = await import('rate-limiter-flexible');
  // The limit differs by connector and is compared here; the counts are what the package keeps.
  return new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: 1 });
}
