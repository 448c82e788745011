import type { BaseConnector, ConnectorRecord } from '../connectors/base.ts';
import type { Store, StoredConnector } from '../store/store.ts';
import type { AnyDriver } from './catalog.ts';
import { Instances } from './instances.ts';
import { driverOf, makeConnector } from './making.ts';
import type { Parts } from './parts.ts';
import { notFound, Session } from './session.ts';

const KEPT_INSTANCES = 10_000;

/** The connectors that this process has objects of, and the way from what is stored to such an object. */
export class LiveConnectors {
  readonly #parts: Parts;
  /** A session and its connector hold each other, so that either keeps both. */
  readonly #sessions = new Instances<Session>(KEPT_INSTANCES);
  #removals = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The object of an id, where this process has one. */
  held(connectorId: string): BaseConnector | undefined {
    return this.#sessions.get(connectorId)?.connector;
  }

  /** Every object that is still alive. */
  *values(): Iterable<BaseConnector> {
    for (const session of this.#sessions.values()) yield session.connector;
  }

  /** The object of what `find` reads from the store. @throws ConnectorError `not_found` naming `label`. */
  async load(
    label: string,
    find: (store: Store) => Promise<StoredConnector | undefined>,
  ): Promise<BaseConnector> {
    const [connector] = await this.loadAll(async (store) => {
      const stored = await find(store);
      return stored ? [stored] : [];
    });
    if (!connector) throw notFound(label);
    return connector;
  }

  /** The objects of what `find` reads from the store: those that are there, new ones for the others. */
  async loadAll(
    find: (store: Store) => Promise<readonly StoredConnector[]>,
  ): Promise<readonly BaseConnector[]> {
    for (;;) {
      const removals = this.#removals;
      const rows = await find(this.#parts.store);
      const drivers = new Map<string, AnyDriver | undefined>();
      for (const { record } of rows) {
        if (!drivers.has(kindOf(record))) drivers.set(kindOf(record), await driverOf(record, this.#parts));
      }
      // Removed while it was read: the row is old, and an object made from it would outlive its connector.
      if (this.#removals !== removals) continue;
      return rows.map(
        (row) => this.held(row.record.connectorId) ?? this.#make(row, drivers.get(kindOf(row.record))),
      );
    }
  }

  /** Takes up an object of the application's own class. */
  adopt(connector: BaseConnector): void {
    const session = new Session(this.#parts, connector.tenantId, connector.connectorId);
    session.bind(connector);
    this.#sessions.add(connector.connectorId, session);
  }

  /** Lets the next call open a client with the configuration that the connector has now. */
  async reconfigure(connector: BaseConnector): Promise<void> {
    await this.#sessions.get(connector.connectorId)?.reconfigure();
  }

  /** Ends the objects of connectors that are no longer stored: their calls read `not_found` from now on. */
  async forget(connectorIds: readonly string[]): Promise<void> {
    this.#removals += 1;
    for (const id of connectorIds) {
      const session = this.#sessions.get(id);
      this.#sessions.delete(id);
      await session?.remove();
    }
    // Whoever waits for one of their invocations waits for what is gone.
    this.#parts.invocations.worker.wakeAll();
  }

  #make({ record, activity }: StoredConnector, driver: AnyDriver | undefined): BaseConnector {
    const session = new Session(this.#parts, record.tenantId, record.connectorId);
    const connector = makeConnector(record, activity, driver, session, this.#parts);
    session.bind(connector);
    this.#sessions.add(record.connectorId, session);
    return connector;
  }
}

function kindOf({ connectorType, provider }: ConnectorRecord): string {
  return `${connectorType}/${provider}`;
}
