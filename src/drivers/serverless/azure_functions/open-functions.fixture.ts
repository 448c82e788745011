import type { OpenContext, ServerlessClient } from '../../../driver.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';

/** Clients of the driver, and whatever else is closed with them, in turn. */
export type Opened = {
  open(options: Readonly<Record<string, unknown>>, context?: Partial<OpenContext>): Promise<ServerlessClient>;
  keep<T extends { close(): Promise<void> }>(one: T): T;
  close(): Promise<void>;
};

export function openedFunctions(): Opened {
  const kept: { close(): Promise<void> }[] = [];
  const keep: Opened['keep'] = (one) => {
    kept.push(one);
    return one;
  };
  return {
    keep,
    open: async (options, context = {}) =>
      keep(
        await driver.open(
          driver.options.parse(options),
          openContext({ folder: '/nowhere', trusted: false, ...context }),
        ),
      ),
    async close() {
      for (const one of kept.splice(0).toReversed()) await one.close();
    },
  };
}

/** What a promise rejects with. */
export function failureOf(attempt: Promise<unknown> | undefined): Promise<unknown> {
  return Promise.resolve(attempt).then(
    () => undefined,
    (error: unknown) => error,
  );
}

let calls = 0;
/** An invocation of its own, as the connector hands it over. */
export function invocation(timeoutMs = 30_000): { readonly requestId: string; readonly timeoutMs: number } {
  calls += 1;
  return { requestId: `00000000-0000-4000-8000-${String(calls).padStart(12, '0')}`, timeoutMs };
}
