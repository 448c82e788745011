import type { InvocationQueue } from './invocations.ts';

/** How often other servers' ends are asked for, in milliseconds. */
export const ASK_MS = 100;

export type EndsElsewhereParts<Held> = {
  readonly ended: InvocationQueue['ended'];
  /** What this worker runs at the moment. */
  readonly held: () => readonly (readonly [requestId: string, held: Held])[];
  /** What is waited for at the moment. */
  readonly waited: () => Iterable<string>;
  readonly later: (ms: number, task: () => void) => void;
  /** What this worker runs was ended by another. */
  readonly stop: (held: Held) => void;
  readonly wake: (requestId: string) => void;
};

/**
 * Finds out which invocations other servers have ended, for as long as that matters to anybody here: one small question for
 * all of them.
 *
 * Not by LISTEN and NOTIFY: transactions that notify commit one after another.
 */
export class EndsElsewhere<Held> {
  readonly #parts: EndsElsewhereParts<Held>;
  #isAsking = false;

  constructor(parts: EndsElsewhereParts<Held>) {
    this.#parts = parts;
  }

  askLater(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    this.#parts.later(ASK_MS, () => {
      void this.#ask()
        // The store is away: the next question may be answered.
        .catch(() => true)
        .then((isAsked) => {
          this.#isAsking = false;
          if (isAsked) this.askLater();
        });
    });
  }

  /** False where nobody wants to know anything. */
  async #ask(): Promise<boolean> {
    const { ended, held: heldNow, waited, stop, wake } = this.#parts;
    // As it was before the answer: one that is begun anew meanwhile is another run.
    const held = heldNow();
    const ids = new Set([...waited(), ...held.map(([requestId]) => requestId)]);
    if (ids.size === 0) return false;
    const found = new Set(await ended([...ids]));
    for (const [requestId, one] of held) if (found.has(requestId)) stop(one);
    for (const requestId of found) wake(requestId);
    return true;
  }
}
