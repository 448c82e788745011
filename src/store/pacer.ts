import { setImmediate } from 'node:timers/promises';

/** Longest stretch of work between two turns of the event loop. */
const STRETCH_MS = 5;

/**
 * Makes a function to await between the steps of long work: once 5 ms have gone by, it lets everything else have its turn.
 */
export function pacer(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < STRETCH_MS) return undefined;
    return setImmediate().then(() => {
      since = performance.now();
    });
  };
}
