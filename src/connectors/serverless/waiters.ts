/** Who waits for something to become of an invocation, in this process. */
export class Waiters {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** What is waited for. */
  get requestIds(): Iterable<string> {
    return this.#waiting.keys();
  }

  /** Resolves when the invocation is woken, or with the signal. */
  change(requestId: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(requestId) ?? new Set();
      this.#waiting.set(requestId, waiting);
      const look = () => {
        signal.removeEventListener('abort', look);
        waiting.delete(look);
        if (waiting.size === 0 && this.#waiting.get(requestId) === waiting) this.#waiting.delete(requestId);
        resolve();
      };
      waiting.add(look);
      if (signal.aborted) look();
      else signal.addEventListener('abort', look, { once: true });
    });
  }

  /** Whoever waits for an invocation looks again. */
  wake(requestId: string): void {
    const waiting = this.#waiting.get(requestId);
    this.#waiting.delete(requestId);
    for (const look of waiting ?? []) look();
  }

  /** The same for all of them. */
  wakeAll(): void {
    for (const requestId of [...this.#waiting.keys()]) this.wake(requestId);
  }
}
