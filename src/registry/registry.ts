import { EventEmitter } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BaseConnector } from '../connectors/base.ts';
import { FileConnector } from '../connectors/file/connector.ts';
import type { ConnectorStatus, ConnectorType } from '../connectors/kinds.ts';
import type { ServerlessConnector } from '../connectors/serverless/connector.ts';
import type { FunctionCallback } from '../connectors/serverless/driver.ts';
import { DriverConnector } from '../connectors/session.ts';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import { parseWith } from '../contract/validate.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import type { Change } from '../store/peers.ts';
import type { NewConnector } from '../store/store.ts';
import type { ProviderDescription } from './catalog.ts';
import { changeConnector } from './changing.ts';
import { LiveConnectors } from './live-connectors.ts';
import { type MakeOptions, prepareConnector } from './making.ts';
import { assemble, type Assembly, type RegistryOptions } from './opening.ts';
import type { RegistryEvents } from './parts.ts';
import { absent, notFound } from './session.ts';
import { invalidAddress, type SignedUse } from './signed-addresses.ts';
import {
  checkConnectorId,
  type ConnectorPatch,
  type ConnectorSpec,
  type FileConnectorSpec,
  isDriverKind,
  patchDict,
  checkKeys,
  type ServerlessConnectorSpec,
  specDict,
  tenantId as tenantIdSchema,
  type VectorConnectorSpec,
} from './spec.ts';
import { ConnectorStats } from './stats.ts';
import { functionsOf, takeUpWork } from './taking-up.ts';
import { TenantView } from './tenant.ts';

const SPECS_BEFORE_YIELD = 500;

/** Whose things a call is about. Absent: any tenant's, for code that has checked the caller itself. */
export type Scope = { readonly tenantId?: string | undefined };

/** Who makes or changes something; only an administrator may set references and options that leave the tenant's ground. */
export type Actor = { readonly admin?: boolean };

/** Which connectors to list, and which part of that list. */
export type ListOptions = Scope & {
  /** Only connectors of exactly this name; over all tenants there may be several. */
  readonly name?: string | undefined;
  readonly connectorType?: ConnectorType | undefined;
  readonly status?: ConnectorStatus | undefined;
  /** 100 by default, at most 1,000. */
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
};

/** What the holder of a signed address may do, and whose file it is. */
export type SignedFile = SignedUse & { readonly tenantId: string };

type TakeCallback = (callback: FunctionCallback) => Promise<boolean>;
type Listener<Event> = (event: Event) => void;

/**
 * Keeps the connectors of every tenant: durable, their credentials sealed, each opened when it is used.
 *
 * Code that acts for one tenant takes {@link ConnectorRegistry.forTenant}, which cannot name another's. Every method
 * rejects with a `ConnectorError`; `invalid_state` once the registry is closed.
 */
export class ConnectorRegistry implements AsyncDisposable {
  readonly #assembly: Assembly;
  readonly #live: LiveConnectors;
  readonly #events: EventEmitter;
  #stopSweeping = async (): Promise<void> => {};
  #closing: Promise<void> | undefined;

  private constructor(assembly: Assembly, events: EventEmitter) {
    this.#assembly = assembly;
    this.#live = new LiveConnectors(assembly.parts);
    this.#events = events;
  }

  /**
   * Opens the registry of a data directory, or one in memory that goes when it is closed.
   *
   * @throws ConnectorError `invalid_state` when another process has the directory, when a newer version wrote it, or
   *   when its master key is not at hand; `internal` when its database is damaged.
   */
  static async open(options: RegistryOptions = {}): Promise<ConnectorRegistry> {
    const events = new EventEmitter();
    const assembly = await assemble(options, (name, event) => events.emit(name, event));
    const registry = new ConnectorRegistry(assembly, events);
    const { resumeInvocations: resume = true, resultsConnector } = options;
    try {
      await assembly.parts.store.peers?.watch((change) => registry.#heed(change));
      const get = (connectorId: string) => registry.get(connectorId);
      const taken = await takeUpWork(assembly.parts, { get, resume, resultsConnector });
      registry.#stopSweeping = taken.stopSweeping;
    } catch (error) {
      await assembly.close();
      throw error;
    }
    return registry;
  }

  /** Stores a connector and answers it, ready to use. @throws ConnectorError `already_exists`, `invalid_argument`, `permission_denied`. */
  async create(spec: ConnectorSpec, { admin = true }: Actor = {}): Promise<BaseConnector> {
    return this.createFromDict(spec.tenantId, specDict(spec), { admin, connectorId: spec.connectorId });
  }

  /** The same from wire names, without tenant and id. */
  async createFromDict(
    tenantId: string,
    dict: unknown,
    { admin = false, connectorId }: Actor & { readonly connectorId?: string | undefined } = {},
  ): Promise<BaseConnector> {
    const made = await this.#prepare(dict, { tenantId, connectorId, admin });
    const connector = await this.#live.create(made);
    this.#announce('registered', connector);
    return connector;
  }

  /** Stores many connectors in one transaction, all or none, and answers their ids in order. Does not emit `registered`. */
  async createMany(
    specs: readonly ConnectorSpec[],
    { admin = true }: Actor = {},
  ): Promise<readonly string[]> {
    const made: NewConnector[] = [];
    for (const spec of specs) {
      const options = { tenantId: spec.tenantId, connectorId: spec.connectorId, admin };
      made.push(await this.#prepare(specDict(spec), options));
      if (made.length % SPECS_BEFORE_YIELD === 0) await nextTurn();
    }
    await this.#parts.store.insertConnectors(made);
    return made.map(({ record }) => record.connectorId);
  }

  createVectorConnector(spec: VectorConnectorSpec, actor?: Actor): Promise<VectorConnector> {
    return this.create({ ...spec, connectorType: 'vector' }, actor) as Promise<VectorConnector>;
  }
  createFileConnector(spec: FileConnectorSpec, actor?: Actor): Promise<FileConnector> {
    return this.create({ ...spec, connectorType: 'file' }, actor) as Promise<FileConnector>;
  }
  createServerlessConnector(spec: ServerlessConnectorSpec, actor?: Actor): Promise<ServerlessConnector> {
    return this.create({ ...spec, connectorType: 'serverless' }, actor) as Promise<ServerlessConnector>;
  }

  /**
   * Takes up a connector of the application's own class. Its record is stored; the object serves in this process, and
   * must be registered again, with the same id, in the next one.
   *
   * @throws ConnectorError `already_exists` when the tenant has another connector of that name.
   */
  async register(connector: BaseConnector): Promise<void> {
    if (connector instanceof DriverConnector)
      throw invalidField('connector', 'is of a class of your own; use create() for built-in kinds');
    checkConnectorId(connector.connectorId);
    parseWith(tenantIdSchema, connector.tenantId, 'tenant_id');
    await this.#live.adopt(connector);
    this.#announce('registered', connector);
  }

  /** The connector, one object per process however often it is asked for. @throws ConnectorError `not_found`. */
  async get(connectorId: string, { tenantId }: Scope = {}): Promise<BaseConnector> {
    const held = this.#live.held(connectorId);
    // What may have been changed by others is read again.
    if (held && (this.#assembly.parts.store.peers?.isCurrent() ?? true)) {
      if (tenantId !== undefined && held.tenantId !== tenantId) throw notFound(connectorId);
      return held;
    }
    return this.#live.load(connectorId, (store) => store.getConnector(tenantId ?? null, connectorId));
  }

  /** @throws ConnectorError `not_found`. */
  async getByName(tenantId: string, name: string): Promise<BaseConnector> {
    return this.#live.load(name, (store) => store.getConnectorByName(tenantId, name));
  }

  /** Connectors sorted by name, then id. Fewer than `limit` means that there are no more. */
  async list({ tenantId, name, connectorType, status, limit = 100, offset = 0 }: ListOptions = {}): Promise<
    readonly BaseConnector[]
  > {
    if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) throw invalidField('limit', 'is 1 to 1000');
    if (!Number.isInteger(offset) || offset < 0) throw invalidField('offset', 'is 0 or more');
    if (status !== undefined) await this.#parts.activity.flush();
    const filter = { tenantId, name, connectorType, status, limit, offset };
    return this.#live.loadAll((store) => store.listConnectors(filter));
  }

  /** Changes a connector; open clients are replaced when their calls have ended. @throws ConnectorError `not_found`, `conflict`. */
  async update(
    connectorId: string,
    patch: ConnectorPatch,
    options: Scope & Actor = {},
  ): Promise<BaseConnector> {
    return this.updateFromDict(connectorId, patchDict(patch), { admin: true, ...options });
  }

  /** The same from wire names. */
  async updateFromDict(
    connectorId: string,
    dict: unknown,
    { tenantId, admin = false }: Scope & Actor = {},
  ): Promise<BaseConnector> {
    const find = () => this.get(connectorId, { tenantId });
    const refresh = () => this.#live.refresh([connectorId]);
    const changed = await changeConnector(dict, { admin, find, refresh }, this.#parts);
    const { connector, prepared, status } = changed;
    if (prepared) await this.#reconfigure(connector, prepared.ready);
    if (status) {
      connector.moveTo(status);
      await this.#parts.activity.flush();
    }
    this.#announce('updated', connector);
    return connector;
  }

  /** Removes a connector, and what an embedded engine stored for it; false where there was none. */
  async delete(connectorId: string, { tenantId }: Scope = {}): Promise<boolean> {
    const connector = await this.get(connectorId, { tenantId }).catch(absent);
    if (connector) this.#parts.resultsGuard.checkRemoval(connector);
    if (!connector || !(await this.#parts.store.deleteConnector(connector.tenantId, connectorId)))
      return false;
    await this.#live.forget([connectorId]);
    this.#emit('removed', { tenantId: connector.tenantId, connectorId });
    if (isDriverKind(connector.connectorType)) {
      await this.#parts.folders.removeConnector(connector.tenantId, connector.connectorType, connectorId);
      if (connector.connectorType === 'serverless') this.#parts.invocations.forget(connector);
    }
    return true;
  }

  /** Finds out, stage by stage, whether the connector works. A failing backend is a report, not an error. */
  async test(
    connectorId: string,
    { tenantId, signal }: Scope & { readonly signal?: AbortSignal | undefined } = {},
  ) {
    const connector = await this.get(connectorId, { tenantId });
    return connector.healthCheck({ signal });
  }

  async getStatistics({ tenantId }: Scope = {}): Promise<ConnectorStats> {
    await this.#parts.activity.flush();
    return new ConnectorStats(await this.#parts.store.statistics(tenantId ?? null));
  }

  /** Removes every connector of a tenant and all that embedded engines stored for it; the number removed. */
  async clearTenant(tenantId: string): Promise<number> {
    parseWith(tenantIdSchema, tenantId, 'tenant_id');
    this.#parts.resultsGuard.checkRemoval({ tenantId });
    const ids = await this.#parts.store.clearTenant(tenantId);
    await this.#live.forget(ids);
    for (const connectorId of ids) this.#emit('removed', { tenantId, connectorId });
    await this.#parts.folders.removeTenant(tenantId);
    this.#parts.invocations.forget({ tenantId });
    return ids.length;
  }

  /** Removes every connector of every tenant; for tests and for starting anew. API keys stay. */
  async reset(): Promise<void> {
    for (const tenantId of await this.#parts.store.listTenants()) await this.clearTenant(tenantId);
  }

  /** The registry as one tenant sees it: nothing it offers can name another tenant's things. */
  forTenant(tenantId: string, { admin = false }: Actor = {}): TenantView {
    return new TenantView(this, parseWith(tenantIdSchema, tenantId, 'tenant_id'), admin);
  }

  /** Every driver this registry knows: capabilities, limits, options as JSON Schema. */
  providers(): Promise<readonly ProviderDescription[]> {
    return this.#parts.catalog.describe();
  }

  /**
   * The file that a signed address of this registry's server is for.
   *
   * @throws ConnectorError `permission_denied` alike for an address that is not valid, too old, or of a connector that
   *   is gone.
   */
  async signedFile(connectorId: string, sealed: string, method: 'GET' | 'PUT'): Promise<SignedFile> {
    const connector = await this.get(connectorId).catch(absent);
    if (!(connector instanceof FileConnector)) throw invalidAddress();
    const use = this.#parts.addresses.redeem(connector, sealed, method);
    return { ...use, tenantId: connector.tenantId };
  }

  /**
   * What takes the word of a platform on an invocation that it carried on; false where that has ended.
   *
   * @throws ConnectorError `permission_denied` alike for an invalid address and for a connector that is gone.
   */
  async functionCallback(connectorId: string, sealed: string): Promise<TakeCallback> {
    const connector = await functionsOf(connectorId, (id) => this.get(id));
    if (!connector) throw invalidAddress();
    const requestId = this.#parts.addresses.redeemCallback(connector, sealed);
    return (callback) => connector.completed(requestId, callback);
  }

  /** Proves that the store answers. */
  async ping(): Promise<void> {
    await this.#parts.store.ping();
  }

  /** Tells other processes that find the data directory in use where this registry is served. */
  async announce(url: string): Promise<void> {
    await this.#assembly.announce(url);
  }

  /** What this process is like at this moment, in numbers that name no tenant. */
  gauges() {
    return this.#assembly.gauges();
  }

  /** The API keys of this registry, for a server. */
  get keys() {
    return this.#assembly.keys;
  }

  /** The master keys of this registry, for its administrators. */
  get keyring() {
    return this.#assembly.keyring;
  }

  on<Name extends keyof RegistryEvents>(name: Name, listener: Listener<RegistryEvents[Name]>): this {
    this.#events.on(name, listener);
    return this;
  }
  off<Name extends keyof RegistryEvents>(name: Name, listener: Listener<RegistryEvents[Name]>): this {
    this.#events.off(name, listener);
    return this;
  }

  /** Answers those who wait for an invocation, as it is by now, for a server that stops; everything else goes on until `close`. */
  leave(): void {
    this.#assembly.parts.invocations.leave();
  }

  /** Finishes accepted work, closes every client and the store. Calling it again waits for the same end. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #parts() {
    if (this.#closing) throw new ConnectorError('invalid_state', 'the registry is closed');
    return this.#assembly.parts;
  }

  /** What other processes changed is in force here from now on. */
  async #heed({ connectorIds, removed, keys }: Change): Promise<void> {
    if (keys) this.#assembly.keys.forget();
    await this.#live.refresh(connectorIds, removed);
  }

  #prepare(dict: unknown, options: MakeOptions): Promise<NewConnector> {
    checkKeys(dict);
    parseWith(tenantIdSchema, options.tenantId, 'tenant_id');
    if (options.connectorId !== undefined) checkConnectorId(options.connectorId);
    return prepareConnector(dict, options, this.#parts);
  }

  async #reconfigure(connector: BaseConnector, ready: boolean): Promise<void> {
    await this.#live.reconfigure(connector);
    if (connector.status === 'deprecated') return;
    connector.moveTo('configuring');
    connector.moveTo(ready ? 'ready' : 'registered');
  }

  #announce(name: 'registered' | 'updated', connector: BaseConnector): void {
    this.#emit(name, { tenantId: connector.tenantId, connectorId: connector.connectorId, connector });
  }

  #emit<Name extends keyof RegistryEvents>(name: Name, event: RegistryEvents[Name]): void {
    this.#assembly.parts.emit(name, event);
  }

  async #close(): Promise<void> {
    const { parts, graceMs } = this.#assembly;
    const { clients, activity, invocations } = parts;
    await Promise.all([invocations.close(graceMs), parts.prober.close(parts, graceMs)]);
    await this.#stopSweeping();
    await clients.closeAll();
    await activity.close();
    await this.#assembly.close();
  }
}
