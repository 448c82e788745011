import type { Clock } from '../contract/clock.ts';
import { circuitBreaker } from './circuit-breaker.ts';
import { pipeline, type Policy } from './pipeline.ts';
import type { RateLimitCounters } from '../contract/counters.ts';
import { rateLimit } from './rate-limit.ts';
import { retry } from './retry.ts';
import { timeout } from './timeout.ts';

export type PolicyOptions = {
  /** The tenant and the connector: whose rate limit is counted. */
  readonly key: string;
  /** Limit of each attempt; a call may bring its own. */
  readonly timeoutMs: number;
  readonly maxRetries: number;
  readonly retryDelayMs: number;
  readonly rateLimit?: { readonly requests: number; readonly windowMs: number };
};

export type PolicyContext = {
  readonly clock: Clock;
  /** A number in 0 to 1 for the jitter; `Math.random` where absent. */
  readonly random?: () => number;
  /** Shared by all connectors of a registry, so that the counts outlive one connector's policies. */
  readonly counters?: RateLimitCounters;
};

/**
 * One connector's policies, in the one order in which they wrap a call, outermost first.
 *
 * - Retry is outside the limit and the breaker: each attempt takes a slot and is evidence about the backend.
 * - The limit is outside the breaker: that we ran out of slots says nothing about the backend.
 * - The timeout is innermost: a slow attempt is a failure that counts and that retry can repeat.
 */
export function standardPolicies(options: PolicyOptions, { clock, random, counters }: PolicyContext): Policy {
  const { key, timeoutMs, rateLimit: limit } = options;
  return pipeline(
    retry(options, clock, random),
    ...(limit ? [rateLimit({ key, ...limit }, counters)] : []),
    circuitBreaker(clock),
    timeout(timeoutMs, clock),
  );
}
