import type { Clock } from '../contract/clock.ts';
import { codeRow, type ErrorCode } from '../errors/codes.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import type { Call, Policy } from './pipeline.ts';

const FAILURES_TO_OPEN = 5;
const OPEN_MS = 30_000;
// How long a trial call takes is not known; a caller who meets one is asked to come back soon.
const TRIAL_RETRY_AFTER_MS = 1000;

type State =
  | { readonly name: 'closed' }
  | { readonly name: 'open'; readonly untilMs: number; readonly lastCode: ErrorCode }
  | { readonly name: 'trial'; readonly lastCode: ErrorCode };

/**
 * Leaves a sick backend alone: opens after 5 consecutive `sick` failures, and after 30 s lets one call through at a
 * time until one is answered.
 *
 * Any answer proves that the backend lives, a 404 or a 429 as well; an attempt that the caller aborted proves nothing, nor
 * does one that was refused here.
 * An attempt counts only in the state that it began in, so that a slow one cannot reopen a breaker that has healed.
 * The state belongs to the policy, so make one policy for each connector.
 *
 * @throws ConnectorError `circuit_open` with `retryAfterMs`, before the backend is asked; otherwise what the attempt
 *   threw, unchanged.
 */
export function circuitBreaker(clock: Clock): Policy {
  let state: State = { name: 'closed' };
  let failures = 0;

  const admit = (): void => {
    if (state.name === 'closed') return;
    const { lastCode } = state;
    const leftMs = state.name === 'open' ? state.untilMs - clock.monotonicMs() : TRIAL_RETRY_AFTER_MS;
    if (leftMs > 0) {
      throw new ConnectorError('circuit_open', `left alone after repeated failures, the last a ${lastCode}`, {
        retryAfterMs: Math.ceil(leftMs),
        details: { lastCode },
      });
    }
    state = { name: 'trial', lastCode };
  };

  const answered = (): void => {
    failures = 0;
    if (state.name !== 'closed') state = { name: 'closed' };
  };

  const failed = (call: Call, error: unknown): void => {
    if (
      !isConnectorError(error) ||
      error.code === 'cancelled' ||
      isRefusedHere(error) ||
      call.signal.aborted
    ) {
      // Nothing was learned: the next call is the trial.
      if (state.name === 'trial')
        state = { name: 'open', untilMs: clock.monotonicMs(), lastCode: state.lastCode };
      return;
    }
    if (!codeRow(error.code).sick) return answered();
    failures += 1;
    if (state.name === 'trial' || failures >= FAILURES_TO_OPEN) {
      state = { name: 'open', untilMs: clock.monotonicMs() + OPEN_MS, lastCode: error.code };
    }
  };

  return (next) => async (call) => {
    admit();
    const begunIn = state;
    try {
      const result = await next(call);
      if (state === begunIn) answered();
      return result;
    } catch (error) {
      if (state === begunIn) failed(call, error);
      throw error;
    }
  };
}

/** Whether an attempt ended before the backend was asked, for want of room in this process. */
export function isRefusedHere(error: ConnectorError): boolean {
  return error.details['asked'] === false;
}
