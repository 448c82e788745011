const RUNNING = 0;
const CLOSED = 1;
/** How long an exit waits for a call of the engine. Node itself would wait for it without an end, and abort then. */
const PATIENCE_MS = 10_000;

/**
 * Memory that both threads see, so that a process exits only between two calls of the engine.
 *
 * An exit ends the worker wherever it is. Where that is inside native code, the engine can neither answer nor throw any
 * more, takes that for an error of its own, and aborts the process. So it is called through this gate alone.
 */
export class ExitGate {
  readonly memory: SharedArrayBuffer;
  readonly #state: Int32Array;

  constructor(memory = new SharedArrayBuffer(8)) {
    this.memory = memory;
    this.#state = new Int32Array(memory);
  }

  /** Whether a call is under way. */
  get isBusy(): boolean {
    return Atomics.load(this.#state, RUNNING) > 0;
  }

  /** What `call` returns. Once the gate is closed this never returns: the thread rests until it is ended. */
  run<T>(call: () => T): T {
    // Beside a call that goes on elsewhere the exit waits anyway, and that call needs this thread for its answer.
    const others = this.#enter();
    if (others === 0 && this.#isClosed) {
      this.#leave();
      for (;;) Atomics.wait(this.#state, CLOSED, 1);
    }
    try {
      return call();
    } finally {
      this.#leave();
    }
  }

  /** The same for a call that goes on in another thread; once the gate is closed the promise never settles. */
  async runAsync<T>(call: () => Promise<T>): Promise<T> {
    this.#enter();
    try {
      if (!this.#isClosed) return await call();
    } finally {
      this.#leave();
    }
    return new Promise(() => {});
  }

  /** Lets no call start any more, and returns when none is under way. Blocks this thread: for its last moment. */
  close(): void {
    Atomics.store(this.#state, CLOSED, 1);
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const running = Atomics.load(this.#state, RUNNING);
      const leftMs = deadline - performance.now();
      if (running === 0 || leftMs <= 0) return;
      Atomics.wait(this.#state, RUNNING, running, leftMs);
    }
  }

  get #isClosed(): boolean {
    return Atomics.load(this.#state, CLOSED) === 1;
  }

  #enter(): number {
    return Atomics.add(this.#state, RUNNING, 1);
  }

  #leave(): void {
    Atomics.sub(this.#state, RUNNING, 1);
    Atomics.notify(this.#state, RUNNING);
  }
}
