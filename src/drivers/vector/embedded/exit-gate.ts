const BUILDING = 0;
const CLOSED = 1;
/** How long a process that exits waits for the step of an index that is being built. */
const PATIENCE_MS = 10_000;

/**
 * Memory that both threads see, so that a process does not exit in the middle of building an index: the engine answers
 * from a thread of its own, and ends the process with an abort when nobody is left to hear it.
 */
export class BuildGate {
  readonly memory: SharedArrayBuffer;
  readonly #state: Int32Array;

  constructor(memory = new SharedArrayBuffer(8)) {
    this.memory = memory;
    this.#state = new Int32Array(memory);
  }

  /** Runs `build` where the process is not about to exit, and keeps it from exiting meanwhile. */
  async pass(build: () => Promise<void>): Promise<void> {
    Atomics.add(this.#state, BUILDING, 1);
    try {
      if (Atomics.load(this.#state, CLOSED) === 0) await build();
    } finally {
      Atomics.sub(this.#state, BUILDING, 1);
      Atomics.notify(this.#state, BUILDING);
    }
  }

  /** Lets no build start any more, and returns when those under way have ended. Blocks this thread: for its last moment. */
  close(): void {
    Atomics.store(this.#state, CLOSED, 1);
    for (;;) {
      const building = Atomics.load(this.#state, BUILDING);
      if (building === 0 || Atomics.wait(this.#state, BUILDING, building, PATIENCE_MS) === 'timed-out')
        return;
    }
  }
}
