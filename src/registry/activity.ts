import type { BaseConnector, ConnectorActivity } from '../connectors/base.ts';
import type { ConnectorStatus } from '../connectors/kinds.ts';
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/driver.ts';
import { together } from '../store/activity.ts';
import { pacer } from '../store/pacer.ts';
import type { ActivityChange, Store } from '../store/store.ts';
import type { Emit } from './parts.ts';

const FLUSH_AFTER_MS = 1_000;
/** How long the end waits for the store, which may be away. */
const CLOSE_MS = 2_000;
/** Connectors that are stored together: either all of them are, or none. */
const STORED_AT_ONCE = 100;

/** What is stored of a connector, and whether its object has another configuration now than before. */
export type ReadActivity = {
  readonly connector: BaseConnector;
  readonly activity: ConnectorActivity;
  readonly isReplaced: boolean;
};

type ActivityParts = {
  readonly store: Pick<Store, 'saveActivity'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly emit: Emit;
};

type Noted = {
  readonly connector: BaseConnector;
  /** The figures that are stored, without what is noted here. */
  base: Pick<ConnectorActivity, 'status' | 'connectionCount' | 'errorCount'>;
  isMoved: boolean;
};

/** What is on its way to the store. */
type Taken = { readonly noted: Noted; readonly change: ActivityChange };

/**
 * Stores status and counters in batches, never on a caller's path, and takes up what other processes stored.
 *
 * What happened in the last second before a crash is lost: it is counted, not acknowledged.
 */
export class ActivityWriter {
  readonly #parts: ActivityParts;
  readonly #noted = new Map<string, Noted>();
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;
  /** What is read is compared with what is noted, so that nothing may be on its way to the store meanwhile. */
  #working: Promise<void> = Promise.resolve();

  constructor(parts: ActivityParts) {
    this.#parts = parts;
  }

  /** Something happened to a connector here; `before` is how it was. */
  note(connector: BaseConnector, before: ConnectorActivity): void {
    const { connectorId, status, lastConnected } = connector;
    const noted = this.#noted.get(connectorId) ?? { connector, base: before, isMoved: false };
    noted.isMoved ||= before.status !== status || before.lastConnected !== lastConnected;
    this.#noted.set(connectorId, noted);
    this.#flushLater();
    tellStatus(this.#parts.emit, connector, before.status);
  }

  /** A connector that is gone has nothing left to store. */
  forget(connectorId: string): void {
    this.#noted.delete(connectorId);
  }

  /** Resolves when everything noted so far is stored. */
  flush(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#noted.size === 0) return this.#working;
    return this.#alone(async () => {
      // What happens while they are stored is noted anew, and is no part of these.
      const batch = [...this.#noted.values()].map((noted) => ({ noted, change: changeOf(noted) }));
      this.#noted.clear();
      const pause = pacer();
      try {
        while (batch.length > 0) {
          await this.#save(batch.slice(0, STORED_AT_ONCE));
          batch.splice(0, STORED_AT_ONCE);
          await pause();
        }
      } catch (error) {
        for (const { noted } of batch) this.#noteAgain(noted);
        throw error;
      }
    });
  }

  /** Stores what is left where the store is there: it was counted, not acknowledged, and keeps nothing open. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const { promise: late, resolve: giveUp } = Promise.withResolvers<void>();
    const cancel = this.#parts.clock.after(CLOSE_MS, giveUp);
    await Promise.race([this.flush(), late]).catch(() =>
      this.#parts.log.warn('the last figures were not stored'),
    );
    cancel();
  }

  /** Takes up what `read` finds stored. */
  takeUp(read: () => Promise<readonly ReadActivity[]>): Promise<void> {
    return this.#alone(async () => {
      for (const { connector, activity, isReplaced } of await read()) {
        const noted = this.#noted.get(connector.connectorId);
        // What came of the configuration before says nothing of this one.
        if (isReplaced && noted && isOfUse(connector)) noted.isMoved = false;
        this.#adopt(connector, activity);
        // Stored by this process, it may be, when it had not heard of the new configuration.
        if (isReplaced && connector.status === 'connected') connector.moveTo('disconnected');
      }
    });
  }

  async #save(some: readonly Taken[]): Promise<void> {
    const stored = await this.#parts.store.saveActivity(some.map(({ change }) => change));
    const connectors = new Map(some.map(({ noted: { connector } }) => [connector.connectorId, connector]));
    for (const { connectorId, activity } of stored) {
      const connector = connectors.get(connectorId);
      if (connector) this.#adopt(connector, activity);
    }
  }

  #adopt(connector: BaseConnector, stored: ConnectorActivity): void {
    const noted = this.#noted.get(connector.connectorId);
    const before = connector.status;
    connector.adopt(noted ? together(stored, changeOf(noted)) : stored);
    if (noted) noted.base = stored;
    tellStatus(this.#parts.emit, connector, before);
  }

  #noteAgain(noted: Noted): void {
    const { connectorId } = noted.connector;
    const since = this.#noted.get(connectorId);
    this.#noted.set(connectorId, { ...noted, isMoved: noted.isMoved || (since?.isMoved ?? false) });
    this.#flushLater();
  }

  #flushLater(): void {
    if (this.#isClosed) return;
    this.#cancelTimer ??= this.#parts.clock.inBackground(FLUSH_AFTER_MS, () => {
      this.flush().catch((error: unknown) =>
        this.#parts.log.warn('status and counters were not stored', { error: String(error) }),
      );
    });
  }

  /** One after another. The chain goes on after a failure. */
  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#working.then(work);
    this.#working = done.catch(() => {});
    return done;
  }
}

function changeOf({ connector, base, isMoved }: Noted): ActivityChange {
  const { tenantId, connectorId, activity } = connector;
  const connections = activity.connectionCount - base.connectionCount;
  return {
    tenantId,
    connectorId,
    activity,
    since: { connections, errors: activity.errorCount - base.errorCount, isMoved, from: base.status },
  };
}

function isOfUse({ status }: BaseConnector): boolean {
  return status === 'connected' || status === 'error';
}

function tellStatus(
  emit: Emit,
  { tenantId, connectorId, status: to }: BaseConnector,
  from: ConnectorStatus,
): void {
  if (from !== to) emit('status_changed', { tenantId, connectorId, from, to });
}
