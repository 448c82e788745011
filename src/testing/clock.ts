import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../contract/clock.ts';

/** Time that stands still until a test moves it. */
export interface TestClock extends Clock {
  /**
   * Moves time forward and runs every timer that falls due, in the order of their times; what they set going, and what
   * was already under way, has run when the answer resolves.
   */
  advance(ms: number): Promise<void>;
  /** How many timers wait, so that a test can show that none was left behind. */
  readonly pendingTimers: number;
}

type Timer = { readonly dueMs: number; readonly task: () => void };

/** A clock at a fixed date; `startMs` is milliseconds since the epoch. */
export function testClock(startMs = Date.UTC(2026, 0, 1)): TestClock {
  let elapsedMs = 0;
  const timers = new Set<Timer>();

  const after = (ms: number, task: () => void) => {
    // Node never fires a timer in the turn that set it, so neither does this clock.
    const timer = { dueMs: elapsedMs + Math.max(ms, 1), task };
    timers.add(timer);
    return () => void timers.delete(timer);
  };

  return {
    now: () => startMs + elapsedMs,
    // Not the epoch's milliseconds: code that mixes the two up must fail its tests.
    monotonicMs: () => 1000 + elapsedMs,
    after,
    inBackground: after,
    get pendingTimers() {
      return timers.size;
    },
    async advance(ms) {
      const untilMs = elapsedMs + ms;
      await nextTurn();
      for (let timer = earliest(timers, untilMs); timer; timer = earliest(timers, untilMs)) {
        elapsedMs = timer.dueMs;
        timers.delete(timer);
        timer.task();
        await nextTurn();
      }
      elapsedMs = untilMs;
    },
  };
}

/** The timer that is due first, the oldest of equals. */
function earliest(timers: ReadonlySet<Timer>, untilMs: number): Timer | undefined {
  let first: Timer | undefined;
  for (const timer of timers) {
    if (timer.dueMs <= untilMs && (first === undefined || timer.dueMs < first.dueMs)) first = timer;
  }
  return first;
}
