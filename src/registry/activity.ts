import type { BaseConnector } from '../connectors/base.ts';
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/driver.ts';
import type { Store } from '../store/store.ts';

const FLUSH_AFTER_MS = 1_000;

/**
 * Stores status and counters in batches, never on a caller's path.
 *
 * What happened in the last second before a crash is lost: it is counted, not acknowledged.
 */
export class ActivityWriter {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #changed = new Map<string, BaseConnector>();
  #cancelTimer: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(store: Store, clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  note(connector: BaseConnector): void {
    this.#changed.set(connector.connectorId, connector);
    this.#cancelTimer ??= this.#clock.inBackground(FLUSH_AFTER_MS, () => {
      this.flush().catch((error: unknown) =>
        this.#log.warn('status and counters were not stored', { error }),
      );
    });
  }

  /** A connector that is gone has nothing left to store. */
  forget(connectorId: string): void {
    this.#changed.delete(connectorId);
  }

  /** Resolves when everything noted so far is stored. */
  flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#changed.size === 0) return this.#writing;
    const batch = [...this.#changed.values()];
    this.#changed.clear();
    const write = async () => {
      try {
        await this.#store.saveActivity(
          batch.map((c) => ({ tenantId: c.tenantId, connectorId: c.connectorId, activity: c.activity })),
        );
      } catch (error) {
        for (const connector of batch) this.note(connector);
        throw error;
      }
    };
    const written = this.#writing.then(write);
    // The chain goes on after a failure: the batch was noted again.
    this.#writing = written.catch(() => {});
    return written;
  }
}
