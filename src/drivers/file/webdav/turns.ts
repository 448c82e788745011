import { networkFailure } from '../../../driver.ts';

/** Has tasks about one thing wait for each other. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** What `task` answers, once the tasks before it have ended, however they did. The signal ends the wait. */
  async take<T>(key: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const mine = before.then(() => ended);
    this.#last.set(key, mine);
    try {
      await unlessAborted(before, signal);
      return await task();
    } finally {
      end();
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}

async function unlessAborted(wait: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(networkFailure(signal.reason, signal));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([wait, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
