import type { BaseConnector, ConnectorRecord } from '../connectors/base.ts';
import { DriverConnector } from '../connectors/session.ts';
import { ConnectorError } from '../errors/error.ts';
import { recordCheck } from '../store/connector-rows.ts';
import { pacer } from '../store/pacer.ts';
import type { Removed } from '../store/peers.ts';
import type { ConnectorState, NewConnector, Store, StoredConnector } from '../store/store.ts';
import type { AnyDriver } from './catalog.ts';
import { Instances } from './instances.ts';
import { driverOf, makeConnector, masked } from './making.ts';
import { sealCredentials } from './options.ts';
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
        // What is held is behind what was read, or they are two connectors that had the id one after the other.
        const doubtful = rows.flatMap(({ record }) => {
          const held = this.held(record.connectorId);
          const is = held && (record.version > held.version || isAnother(held, record));
          return is ? [record.connectorId] : [];
        });
        // Removed or changed since it was read: the row is old, and an object made from it would stay so. One that is there does not.
        const isFresh = ({ record: { connectorId: id } }: StoredConnector) =>
          this.held(id) !== undefined || !(changed.all || changed.ids.has(id));
        if (doubtful.length === 0 && rows.every(isFresh))
          return rows.map(
            (row) => this.held(row.record.connectorId) ?? this.#make(row, drivers.get(kindOf(row.record))),
          );
        await this.refresh(doubtful);
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
   * @param removed those that the database said were removed: only of them is removed at once what an embedded engine
   *   stored here. Where others are missing, the database may be one that is being restored.
   */
  async refresh(changed: readonly string[] | 'all', removed: readonly Removed[] = []): Promise<void> {
    const { store, activity, homes } = this.#parts;
    this.#noteChanged(changed);
    if (changed === 'all') homes.forgetAllBut((id) => this.held(id) !== undefined);
    const told = new Set(removed.map(({ connectorId }) => connectorId));
    void this.#removeContent(removed);
    const ids = changed === 'all' ? [...this.values()].map(({ connectorId }) => connectorId) : changed;
    const held = ids.filter((id) => this.held(id));
    if (held.length === 0) return;
    await activity.takeUp(async () => {
      const before = held.flatMap((id) => {
        const session = this.#sessions.get(id);
        return session ? [{ id, session, record: session.connector.record }] : [];
      });
      const states = new Map(
        (await store.getConnectorStates(held)).map((state) => [state.connectorId, state]),
      );
      const gone = before.filter(({ id }) => !states.has(id));
      const others: string[] = [];
      const pause = pacer();
      for (const { id, session } of before) {
        if (isOther(session.connector, states.get(id))) others.push(id);
        await pause();
      }
      const found = others.length > 0 ? await store.getConnectors(others) : [];
      const stored = new Map(found.map((one) => [one.record.connectorId, one]));
      const replaced = before.filter(({ id, session }) => {
        const now = stored.get(id);
        return now && isAnother(session.connector, now.record);
      });
      // Calls in flight may take a while to end.
      for (const { session } of replaced) void this.#end(session);
      for (const { id, session } of gone) void this.#end(session, { keepsContent: !told.has(id) });
      return before.flatMap(({ id, session, record }) => {
        const now = stored.get(id);
        if (!now || this.#sessions.get(id) !== session) return [];
        const isReplaced = this.#replace(session, now.record, record);
        return [{ connector: session.connector, activity: now.activity, isReplaced }];
      });
    });
    // What was taken for gone, and disconnected for it, is still at it.
    for (const id of held) this.#sessions.get(id)?.assertConnected();
  }

  /** Takes up an object of the application's own class, and stores its record where there is none yet. */
  async adopt(connector: BaseConnector): Promise<void> {
    const { record, config, activity } = connector;
    const stored = await this.#parts.store.getConnector(record.tenantId, record.connectorId);
    if (stored) {
      // The object is made anew in each process, what it stands for is not.
      const { createdAt, version } = stored.record;
      connector.replace({ ...record, createdAt, version });
    } else {
      const secrets = sealCredentials(config.credentials, record, this.#parts);
      const made = { ...record, config: masked(config) };
      await this.#parts.store.insertConnectors([
        { record: made, activity: { ...activity, status: 'ready' }, secrets },
      ]);
    }
    const session = new Session(this.#parts, connector.tenantId, connector.connectorId);
    session.bind(connector);
    this.#sessions.add(connector.connectorId, session);
    if (connector.status === 'registered') connector.moveTo('ready');
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

  /** Ends the session of a connector that is gone, where it still is that of its id. */
  async #end(session: Session, { keepsContent = false } = {}): Promise<void> {
    const { tenantId, connectorId, connectorType } = session.connector;
    if (this.#sessions.get(connectorId) !== session) return;
    try {
      await this.forget([connectorId]);
      this.#parts.emit('removed', { tenantId, connectorId });
      // At once: what has the id by now is opened when the clients of this one are closed, and not before.
      if (!keepsContent && isDriverKind(connectorType))
        await this.#parts.folders.removeConnector(tenantId, connectorType, connectorId);
    } catch (error) {
      this.#isLeft(error);
    }
  }

  /** What this process has no object of may still be at home here. */
  async #removeContent(removed: readonly Removed[]): Promise<void> {
    const { folders, homes } = this.#parts;
    const gone = removed.filter(({ connectorId }) => !this.held(connectorId));
    for (const { connectorId } of gone) homes.forget(connectorId);
    for (const { tenantId, connectorId, connectorType } of gone) {
      // What has the id by now may have been opened meanwhile.
      if (!isDriverKind(connectorType) || this.held(connectorId)) continue;
      await folders.removeConnector(tenantId, connectorType, connectorId).catch(this.#isLeft);
    }
  }

  readonly #isLeft = (error: unknown): void =>
    this.#parts.log.warn('what is left of removed connectors was not removed', { error: String(error) });

  #noteChanged(connectorIds: readonly string[] | 'all'): void {
    for (const changed of this.#reading) {
      if (connectorIds === 'all') changed.all = true;
      else for (const id of connectorIds) changed.ids.add(id);
    }
  }

  /**
   * Takes up a record that another process stored: calls in flight end on the client that they have.
   *
   * @param before what the object had when the reading began.
   * @returns whether it is another one.
   */
  #replace(session: Session, record: ConnectorRecord, before: ConnectorRecord): boolean {
    const { connector } = session;
    // What is read after something was stored is that or later, unless the store lost it, as where a standby took over.
    const isLost = before === connector.record && isRewritten(connector, record);
    if (record.version <= connector.version && !isLost) return false;
    connector.replace(record);
    const { tenantId, connectorId } = connector;
    session
      .reconfigure()
      .catch((error: unknown) =>
        this.#parts.log.warn('a client was not closed', { connectorId, error: String(error) }),
      );
    this.#parts.emit('updated', { tenantId, connectorId, connector });
    return true;
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
function isOther(connector: BaseConnector, state: ConnectorState | undefined): boolean {
  if (!state) return false;
  const { status, connectionCount, errorCount, record } = connector;
  return (
    state.recordCheck !== recordCheck(record) ||
    state.status !== status ||
    state.connectionCount !== connectionCount ||
    state.errorCount !== errorCount
  );
}

/** Whether what is stored was made after the object's connector was removed, under the same id. */
function isAnother(connector: BaseConnector, { tenantId, createdAt }: ConnectorRecord): boolean {
  return tenantId !== connector.tenantId || createdAt.getTime() !== connector.createdAt.getTime();
}

/** Whether what is stored is not what the object has, of the same version or an earlier one. */
function isRewritten(connector: BaseConnector, record: ConnectorRecord): boolean {
  if (record.version < connector.version) return true;
  // Objects of the application's own class say by themselves what they are.
  return connector instanceof DriverConnector && recordCheck(record) !== recordCheck(connector.record);
}

function kindOf({ connectorType, provider }: ConnectorRecord): string {
  return `${connectorType}/${provider}`;
}
