import { setTimeout as wait } from 'node:timers/promises';

/** What `look` finds once that is as it is wanted; what it found last, where that takes longer. It looks at least once. */
export async function until<T>(
  look: () => Promise<T>,
  options: {
    readonly isWanted: (found: T) => boolean;
    readonly withinMs: number;
    readonly everyMs: number;
  },
): Promise<T> {
  const { isWanted, withinMs, everyMs } = options;
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (isWanted(found) || performance.now() > deadline) return found;
    await wait(everyMs);
  }
}
