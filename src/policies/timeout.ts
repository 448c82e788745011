import { cancelled, type Clock } from '../contract/clock.ts';
import { ConnectorError } from '../errors/error.ts';
import { NEVER, type Policy } from './pipeline.ts';

// Beyond this, Node's timers fire at once.
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Ends an attempt that took longer than `call.timeoutMs ?? timeoutMs`, or that its caller gave up.
 *
 * The caller is released and the driver's signal aborted at that moment; what a driver that ignores its signal answers
 * later is dropped. `call.progress()` starts the limit anew.
 *
 * @throws ConnectorError `timeout` or `cancelled`; otherwise what the attempt threw, unchanged.
 */
export function timeout(timeoutMs: number, clock: Clock): Policy {
  return (next) => (call) =>
    new Promise((resolve, reject) => {
      const { signal: outer } = call;
      if (outer.aborted) return reject(cancelled(outer));
      const limitMs = Math.min(call.timeoutMs ?? timeoutMs, MAX_TIMER_MS);
      const controller = new AbortController();
      let progressAtMs: number | undefined;

      const expire = () => {
        // Streams report each chunk, so progress only notes the time and the timer is set anew when it fires.
        const leftMs = progressAtMs === undefined ? 0 : progressAtMs + limitMs - clock.monotonicMs();
        if (leftMs > 0) cancelTimer = clock.after(leftMs, expire);
        else end(new ConnectorError('timeout', `no answer within ${limitMs} ms`, { details: { limitMs } }));
      };
      const onAbort = () => end(cancelled(outer));
      const release = () => {
        cancelTimer();
        // Adding and removing a listener walks all others of the signal, and every call without one shares NEVER.
        if (outer !== NEVER) outer.removeEventListener('abort', onAbort);
      };
      const end = (error: ConnectorError) => {
        release();
        reject(error);
        controller.abort(error);
      };

      let cancelTimer = clock.after(limitMs, expire);
      if (outer !== NEVER) outer.addEventListener('abort', onAbort, { once: true });
      const progress = () => {
        progressAtMs = clock.monotonicMs();
        call.progress();
      };
      attempt(() => next({ ...call, signal: controller.signal, progress })).then(
        (result) => {
          release();
          resolve(result);
        },
        (error: unknown) => {
          release();
          reject(error);
        },
      );
    });
}

/** The promise of `run`, also where it throws before it returns one. */
async function attempt<T>(run: () => Promise<T>): Promise<T> {
  return await run();
}
