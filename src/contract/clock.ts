import { ConnectorError } from '../errors/error.ts';

/** Time as the core sees it, so that tests own it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds on a clock that never goes back; only differences mean something. */
  monotonicMs(): number;
  /** Runs `task` once after `ms`; the answer cancels it. Somebody waits for it, so it keeps the process alive. */
  after(ms: number, task: () => void): () => void;
  /** The same for housekeeping that nobody waits for: it never keeps the process alive. */
  inBackground(ms: number, task: () => void): () => void;
}

/** The real clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
  inBackground(ms, task) {
    const timer = setTimeout(task, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Waits `ms`, or rejects with `cancelled` as soon as the signal is aborted. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(cancelled(signal));
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    const onAbort = () => {
      cancel();
      reject(cancelled(signal));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The error of a wait that the caller ended. */
export function cancelled(signal?: AbortSignal): ConnectorError {
  return new ConnectorError('cancelled', 'the caller ended the call', { cause: signal?.reason });
}
