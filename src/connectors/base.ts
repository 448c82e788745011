import { asConnectorError, isConnectorError } from '../errors/error.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { NEVER, type Call, type Policy } from '../policies/pipeline.ts';
import { ConnectorConfig } from './config.ts';
import { newConnectorId } from './connector-id.ts';
import type { ConnectorCapability, ConnectorStatus, ConnectorType } from './kinds.ts';
import { checkStatusMove } from './status.ts';

/** The last failure of a connector, as it is stored and shown. */
export type LastError = { readonly code: ErrorCode; readonly message: string; readonly at: Date };

/** What a connector is, as the store keeps it. Credential values are never part of it. */
export type ConnectorRecord = {
  readonly connectorId: string;
  readonly tenantId: string;
  readonly name: string;
  readonly connectorType: ConnectorType;
  readonly provider: string;
  readonly config: ConnectorConfig;
  /** What only this kind of connector has, in wire names: `vector_dimension`, `distance_metric`, `region` … */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly capabilities: readonly ConnectorCapability[];
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Whether an administrator said where it leads: only then it may reach private addresses. */
  readonly trusted: boolean;
  /** Grows by one with each update; what open clients are checked against. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
};

/** What happens to a connector while it is used, as the store keeps it. */
export type ConnectorActivity = {
  readonly status: ConnectorStatus;
  readonly lastConnected: Date | null;
  readonly lastError: LastError | null;
  readonly connectionCount: number;
  readonly errorCount: number;
};

/** What a new connector is made from; what is absent gets the usual value, the id a random one. */
export type ConnectorInit = Pick<ConnectorRecord, 'tenantId' | 'name' | 'connectorType' | 'provider'> &
  Partial<ConnectorRecord>;

export const NO_ACTIVITY: ConnectorActivity = {
  status: 'registered',
  lastConnected: null,
  lastError: null,
  connectionCount: 0,
  errorCount: 0,
};

/** One stage of a health check; `remedy` says what a person can do. */
export type HealthStage = {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'failed' | 'skipped';
  readonly ms: number;
  readonly code?: ErrorCode;
  readonly message?: string;
  readonly remedy?: string;
};
/** The stages of a health check in the order they ran; `ok` when none failed. */
export type HealthReport = { readonly ok: boolean; readonly stages: readonly HealthStage[] };

/** What every call to a backend takes. */
export type CallOptions = {
  /** Ends the wait at once. */
  readonly signal?: AbortSignal | undefined;
};

/** What the registry lends to a connector that it holds. */
export interface ConnectorHost {
  readonly policy: Policy;
  /** Called after every change of status or counters, with what was before. */
  changed(connector: BaseConnector, before: ConnectorActivity): void;
  now(): Date;
}

const ALONE: ConnectorHost = { policy: (next) => next, changed: () => {}, now: () => new Date() };

/**
 * A named, configured way for one tenant to reach one backend.
 *
 * Extend it for backends of your own and hand the object to `ConnectorRegistry.register`; wrap each call to the
 * backend in {@link BaseConnector.call}, and timeouts, retries, limits and counters are the registry's work.
 */
export abstract class BaseConnector {
  #record: ConnectorRecord;
  #activity: ConnectorActivity;
  #host: ConnectorHost = ALONE;

  constructor(init: ConnectorInit, activity: ConnectorActivity = NO_ACTIVITY) {
    const createdAt = init.createdAt ?? new Date();
    this.#record = Object.freeze({
      connectorId: init.connectorId ?? newConnectorId(createdAt.getTime()),
      tenantId: init.tenantId,
      name: init.name,
      connectorType: init.connectorType,
      provider: init.provider,
      config: init.config ?? new ConnectorConfig(),
      settings: init.settings ?? {},
      capabilities: init.capabilities ?? [],
      metadata: init.metadata ?? {},
      trusted: init.trusted ?? false,
      version: init.version ?? 1,
      createdAt,
      updatedAt: init.updatedAt ?? createdAt,
    });
    this.#activity = activity;
  }

  get connectorId(): string {
    return this.#record.connectorId;
  }
  get tenantId(): string {
    return this.#record.tenantId;
  }
  get name(): string {
    return this.#record.name;
  }
  get connectorType(): ConnectorType {
    return this.#record.connectorType;
  }
  get provider(): string {
    return this.#record.provider;
  }
  get config(): ConnectorConfig {
    return this.#record.config;
  }
  get settings(): Readonly<Record<string, unknown>> {
    return this.#record.settings;
  }
  get capabilities(): readonly ConnectorCapability[] {
    return this.#record.capabilities;
  }
  get metadata(): Readonly<Record<string, unknown>> {
    return this.#record.metadata;
  }
  get version(): number {
    return this.#record.version;
  }
  get createdAt(): Date {
    return this.#record.createdAt;
  }
  get updatedAt(): Date {
    return this.#record.updatedAt;
  }
  get status(): ConnectorStatus {
    return this.#activity.status;
  }
  get lastConnected(): Date | null {
    return this.#activity.lastConnected;
  }
  get lastError(): LastError | null {
    return this.#activity.lastError;
  }
  get connectionCount(): number {
    return this.#activity.connectionCount;
  }
  get errorCount(): number {
    return this.#activity.errorCount;
  }
  /** The figures and the status together, as the store keeps them. */
  get activity(): ConnectorActivity {
    return this.#activity;
  }
  /** What the store keeps of this connector, without its figures. */
  get record(): ConnectorRecord {
    return this.#record;
  }

  /** Opens the connection now instead of at first use. */
  abstract connect(options?: CallOptions): Promise<void>;
  /** Closes the connection; the next use opens it again. */
  abstract disconnect(): Promise<void>;
  /** Finds out whether the backend answers. A failing backend is a report, not an error. */
  abstract healthCheck(options?: CallOptions): Promise<HealthReport>;

  /** Counts a connection that was made and moves to `connected`; a deprecated connector stays so. */
  recordConnection(): void {
    const status = this.status === 'deprecated' ? 'deprecated' : 'connected';
    this.#change({
      status,
      lastConnected: this.#host.now(),
      connectionCount: this.connectionCount + 1,
    });
  }

  /** Counts a failure of the backend and moves to `error`; a deprecated connector stays so. */
  recordError(error: unknown): void {
    this.#change({ ...this.#failure(error), status: this.status === 'deprecated' ? 'deprecated' : 'error' });
  }

  /** Counts a failed call that says nothing final about the connection; the status stays. */
  recordFailure(error: unknown): void {
    this.#change(this.#failure(error));
  }

  /**
   * Moves to another status.
   *
   * @throws ConnectorError `invalid_state` that lists the legal moves.
   */
  moveTo(status: Exclude<ConnectorStatus, 'connected' | 'error'>): void {
    checkStatusMove(this.status, status);
    this.#change({ status });
  }

  /** The record and the live figures in wire names, credentials masked. */
  toDict(): Record<string, unknown> {
    const { lastError } = this;
    return {
      connector_id: this.connectorId,
      tenant_id: this.tenantId,
      name: this.name,
      connector_type: this.connectorType,
      provider: this.provider,
      status: this.status,
      capabilities: [...this.capabilities],
      config: this.config.toDict(),
      ...this.settings,
      metadata: this.metadata,
      version: this.version,
      last_connected: this.lastConnected?.toISOString() ?? null,
      last_error: lastError && {
        code: lastError.code,
        message: lastError.message,
        at: lastError.at.toISOString(),
      },
      connection_count: this.connectionCount,
      error_count: this.errorCount,
      created_at: this.createdAt.toISOString(),
      updated_at: this.updatedAt.toISOString(),
    };
  }

  toJSON(): Record<string, unknown> {
    return this.toDict();
  }

  [Symbol.for('nodejs.util.inspect.custom')](): Record<string, unknown> {
    return this.toDict();
  }

  /** For the registry alone: lends the connector its policies and listens to its changes. */
  attach(host: ConnectorHost): void {
    this.#host = host;
  }

  /** For the registry alone: takes up what is stored. */
  replace(record: ConnectorRecord): void {
    this.#record = record;
  }

  /** For the registry alone: takes up what happened to the connector in all processes. */
  adopt(activity: ConnectorActivity): void {
    this.#activity = activity;
  }

  /** Runs one call to the backend through the registry's policies. */
  protected call<T>(
    operation: string,
    {
      idempotent,
      signal = NEVER,
    }: { readonly idempotent: boolean; readonly signal?: AbortSignal | undefined },
    run: (call: Call) => Promise<T>,
  ): Promise<T> {
    return this.#host.policy(run)({ operation, idempotent, attempt: 1, signal, progress: () => {} });
  }

  #failure(error: unknown): Pick<ConnectorActivity, 'lastError' | 'errorCount'> {
    const { code, message } = isConnectorError(error) ? error : asConnectorError(error, 'backend_error');
    return { lastError: { code, message, at: this.#host.now() }, errorCount: this.errorCount + 1 };
  }

  #change(patch: Partial<ConnectorActivity>): void {
    const before = this.#activity;
    this.#activity = { ...this.#activity, ...patch };
    this.#host.changed(this, before);
  }
}
