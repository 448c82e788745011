import { cancelled, sleep, type Clock } from '../contract/clock.ts';
import { codeRow } from '../errors/codes.ts';
import { isConnectorError, type ConnectorError } from '../errors/error.ts';
import type { Policy } from './pipeline.ts';

export type RetryOptions = {
  /** Repetitions after the first attempt. */
  readonly maxRetries: number;
  /** First delay; it doubles with each repetition, to at most {@link MAX_DELAY_MS}. */
  readonly retryDelayMs: number;
};

/** The longest wait between two attempts; an error that asks for a longer one is the caller's to handle. */
export const MAX_DELAY_MS = 30_000;

// A dead backend gets 100 repetitions (50 of timeouts), then what it is offered and no more: the figures of the AWS SDKs.
const BUCKET_TOKENS = 500;
const RETRY_COST = 5;
const RETRY_COST_AFTER_TIMEOUT = 10;

/**
 * Repeats a call while its failure is temporary, as the table of error codes says, and returns the first success.
 *
 * Waits `min(30 s, retryDelayMs * 2^n)` scaled by full jitter, or what the error's `retryAfterMs` asks where that is
 * longer. Repetitions draw on a bucket that belongs to the policy, so make one policy for each connector.
 *
 * @throws the last attempt's error, unchanged; `cancelled` as soon as the caller's signal is aborted.
 */
export function retry(
  { maxRetries, retryDelayMs }: RetryOptions,
  clock: Clock,
  random: () => number = Math.random,
): Policy {
  let tokens = BUCKET_TOKENS;

  return (next) => async (call) => {
    for (let attempt = 1; ; attempt++) {
      if (call.signal.aborted) throw cancelled(call.signal);
      try {
        const result = await next(attempt === 1 ? call : { ...call, attempt });
        if (attempt === 1) tokens = Math.min(BUCKET_TOKENS, tokens + 1);
        return result;
      } catch (error) {
        if (call.once || attempt > maxRetries || !isRepeatable(error, call.idempotent)) throw error;
        const { retryAfterMs } = error;
        const cost = error.code === 'timeout' ? RETRY_COST_AFTER_TIMEOUT : RETRY_COST;
        if ((retryAfterMs ?? 0) > MAX_DELAY_MS || tokens < cost) throw error;
        tokens -= cost;
        const backoffMs = Math.min(MAX_DELAY_MS, retryDelayMs * 2 ** (attempt - 1)) * random();
        // One more than asked: Node's timers may fire up to a millisecond before the wall clock says so.
        const askedMs = retryAfterMs === undefined ? 0 : retryAfterMs + 1;
        await sleep(clock, Math.max(backoffMs, askedMs), call.signal);
      }
    }
  };
}

function isRepeatable(error: unknown, idempotent: boolean): error is ConnectorError {
  if (!isConnectorError(error)) return false;
  const { recovery } = codeRow(error.code);
  // What was not sent had no effect, whatever it was.
  const isSafe = idempotent || error.details['sent'] === false;
  return recovery === 'always' || (recovery === 'safe' && isSafe);
}
