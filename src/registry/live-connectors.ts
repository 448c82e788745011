import type { BaseConnector, ConnectorRecord } from '../connectors/base.ts';
import { DriverConnector } from '../connectors/session.ts';
import { ConnectorError } from '../errors/error.ts';
import type { ConnectorState, NewConnector, Store, StoredConnector } from '../store/store.ts';
import type { AnyDriver } from './catalog.ts';
import { Instances } from './instances.ts';
import { driverOf, makeConnector } from './making.ts';
import type { Parts } from './parts.ts';
import { notFound, Session } from './session.ts';
import { isDriverKind } from './spec.ts';

const KEPT_INSTANCES = 10_000;
/** How often is read again what changed while it was read. */
const READINGS = 20;

/** What changed while something is read; `all` where anything may have. */
type Reading = { readonly ids: Set<string>; all: boolean };

/** The connectors that this process has objects of, and the way from what is stored to such an object. */
export class LiveConnectors {
  readonly #parts: Parts;
  /** A session and its connector hold each other, so that either keeps both. */
  readonly #sessions = new Instances<Session>(KEPT_INSTANCES);
  readonly #reading = new Set<Reading>();

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
    for (let reading = 1; reading <= READINGS; reading++) {
      const changed: Reading = { ids: new Set(), all: false };
      this.#reading.add(changed);
      try {
        const rows = await find(this.#parts.store);
        const drivers = new Map<string, AnyDriver | undefined>();
        for (const { record } of rows) {
          if (!drivers.has(kindOf(record))) drivers.set(kindOf(record), await driverOf(record, this.#parts));
        }
        // Removed or changed since it was read: the row is old, and an object made from it would stay so. One that is there does not.
        const fresh = rows.filter(
          ({ record: { connectorId: id } }) => this.held(id) || !(changed.all || changed.ids.has(id)),
        );
        const objects = fresh.map((row) => this.#objectOf(row, drivers.get(kindOf(row.record))));
        if (objects.length === rows.length) return objects;
      } finally {
        this.#reading.delete(changed);
      }
    }
    throw new ConnectorError('unavailable', 'connectors change faster than they are read', {
      retryAfterMs: 1_000,
    });
  }

  /** Stores a new connector and answers its object. @throws ConnectorError `already_exists`; `not_found` where it is gone already. */
  create(made: NewConnector): Promise<BaseConnector> {
    const { tenantId, connectorId } = made.record;
    let isStored = false;
    return this.load(connectorId, async (store) => {
      // Others see it before this process has its answer, and may have changed it by then.
      if (isStored) return store.getConnector(tenantId, connectorId);
      await store.insertConnectors([made]);
      isStored = true;
      return made;
    });
  }

  /**
   * Takes up what other processes changed.
   *
   * @param changed ids of connectors; `all` compares every object of this process with what is stored.
   */
  async refresh(changed: readonly string[] | 'all'): Promise<void> {
    const { store, activity } = this.#parts;
    this.#noteChanged(changed);
    const ids = changed === 'all' ? [...this.values()].map(({ connectorId }) => connectorId) : changed;
    const held = ids.filter((id) => this.held(id));
    if (held.length === 0) return;
    await activity.takeUp(async () => {
      const states = new Map(
        (await store.getConnectorStates(held)).map((state) => [state.connectorId, state]),
      );
      // Calls in flight may take a while to end.
      void this.#forgetRemoved(held.filter((id) => !states.has(id)));
      const others = held.filter((id) => isOther(this.held(id), states.get(id)));
      const found = others.length > 0 ? await store.getConnectors(others) : [];
      return found.flatMap((stored) => {
        const session = this.#sessions.get(stored.record.connectorId);
        if (!session) return [];
        if (isAnother(session.connector, stored.record)) {
          void this.#forgetRemoved([stored.record.connectorId]);
          return [];
        }
        this.#replace(session, stored.record);
        return [{ connector: session.connector, activity: stored.activity }];
      });
    });
    // What was taken for gone, and disconnected for it, is still at it.
    for (const id of held) this.#sessions.get(id)?.assertConnected();
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
    this.#noteChanged(connectorIds);
    await Promise.all(
      connectorIds.map(async (id) => {
        const session = this.#sessions.get(id);
        this.#sessions.delete(id);
        this.#parts.homes.forget(id);
        await session?.remove();
      }),
    );
    // Whoever waits for one of their invocations waits for what is gone.
    this.#parts.invocations.worker.wakeAll();
  }

  async #forgetRemoved(connectorIds: readonly string[]): Promise<void> {
    const { emit, folders, log } = this.#parts;
    const gone = connectorIds.flatMap((id) => this.held(id) ?? []);
    try {
      await this.forget(connectorIds);
      for (const { tenantId, connectorId, connectorType } of gone) {
        emit('removed', { tenantId, connectorId });
        if (isDriverKind(connectorType)) await folders.removeConnector(tenantId, connectorType, connectorId);
      }
    } catch (error) {
      log.warn('what is left of removed connectors was not removed', { error: String(error) });
    }
  }

  #noteChanged(connectorIds: readonly string[] | 'all'): void {
    for (const changed of this.#reading) {
      if (connectorIds === 'all') changed.all = true;
      else for (const id of connectorIds) changed.ids.add(id);
    }
  }

  #objectOf(row: StoredConnector, driver: AnyDriver | undefined): BaseConnector {
    const { connectorId } = row.record;
    const session = this.#sessions.get(connectorId);
    if (session && !isAnother(session.connector, row.record)) {
      this.#replace(session, row.record);
      return session.connector;
    }
    if (session) void this.#forgetRemoved([connectorId]);
    return this.#make(row, driver);
  }

  /** Takes up a record that another process stored: calls in flight end on the client that they have. */
  #replace(session: Session, record: ConnectorRecord): void {
    const { connector } = session;
    if (record.version <= connector.version) return;
    connector.replace(record);
    const { tenantId, connectorId } = connector;
    session
      .reconfigure()
      .catch((error: unknown) =>
        this.#parts.log.warn('a client was not closed', { connectorId, error: String(error) }),
      );
    this.#parts.emit('updated', { tenantId, connectorId, connector });
  }

  #make({ record, activity }: StoredConnector, driver: AnyDriver | undefined): BaseConnector {
    const session = new Session(this.#parts, record.tenantId, record.connectorId);
    const connector = makeConnector(record, activity, driver, session, this.#parts);
    session.bind(connector);
    this.#sessions.add(record.connectorId, session);
    return connector;
  }
}

/** Whether what is stored is not what the object says; what it has yet to store does not matter for that. */
function isOther(connector: BaseConnector | undefined, state: ConnectorState | undefined): boolean {
  if (!connector || !state) return false;
  const { version, status, connectionCount, errorCount } = connector;
  return (
    state.version !== version ||
    state.status !== status ||
    state.connectionCount !== connectionCount ||
    state.errorCount !== errorCount
  );
}

/** Whether what is stored was made after the object's connector was removed, under the same id. */
function isAnother(connector: BaseConnector, { tenantId, createdAt }: ConnectorRecord): boolean {
  if (tenantId !== connector.tenantId) return true;
  // Objects of the application's own class are made anew in each process.
  return connector instanceof DriverConnector && createdAt.getTime() !== connector.createdAt.getTime();
}

function kindOf({ connectorType, provider }: ConnectorRecord): string {
  return `${connectorType}/${provider}`;
}
