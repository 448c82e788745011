import { cancelled, type Clock } from '../../contract/clock.ts';
import { ConnectorError } from '../../errors/error.ts';
import type { ClientInvocation } from './driver.ts';

/**
 * One call within the function's own time: `run` gets a signal that ends with it.
 *
 * @throws ConnectorError `timeout` when the time was over, `cancelled` when the caller gave up; whatever `run` throws
 *   after either is not looked at.
 */
export async function withinTime<T>(
  name: string,
  { timeoutMs }: Pick<ClientInvocation, 'timeoutMs'>,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const stop = clock.after(timeoutMs, () => over.abort(overTime(name, timeoutMs)));
  try {
    return await run(AbortSignal.any([signal, over.signal]));
  } catch (error) {
    if (signal.aborted) throw cancelled(signal);
    throw over.signal.aborted ? over.signal.reason : error;
  } finally {
    stop();
  }
}

/** The error of a function that ran longer than it may. */
export function overTime(name: string, timeoutMs: number): ConnectorError {
  return new ConnectorError('timeout', `function ${name} ran longer than ${timeoutMs / 1000} s`, {
    details: { timeoutMs },
  });
}
