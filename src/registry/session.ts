import type {
  BaseConnector,
  CallOptions,
  ConnectorActivity,
  ConnectorHost,
  ConnectorRecord,
  HealthReport,
} from '../connectors/base.ts';
import type { ClientSession, SessionCall } from '../connectors/session.ts';
import type { VectorOpenContext } from '../connectors/vector/driver.ts';
import type { Client, OpenContext } from '../contract/driver.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { isRefusedHere } from '../policies/circuit-breaker.ts';
import { NEVER, type Call, type Policy, type Run } from '../policies/pipeline.ts';
import { standardPolicies } from '../policies/standard.ts';
import { cancelled } from '../contract/clock.ts';
import { isDriverKind } from './spec.ts';
import { CHECK, checkMs, HealthCheck, type StoredCredentials } from './health.ts';
import { driverOptions, openCredentials } from './options.ts';
import { scopedLog } from './log.ts';
import type { Parts } from './parts.ts';
import { redactError } from './redact-error.ts';

/** Failures that a connector's own figures count; the others say something about the caller's arguments. */
const COUNTED: ReadonlySet<ErrorCode> = new Set([
  'timeout',
  'unavailable',
  'auth_failed',
  'backend_error',
  'egress_denied',
  'internal',
]);

/** The part of a call's time limit that opening may take: it must fail before its callers give up, to be counted once. */
const OPENING_SHARE = 0.95;

/**
 * Failures to open that are counted already, however many callers waited for the same attempt. One set for all sessions:
 * one in each would cost every connector that is merely read more than the rest of it.
 */
const RECORDED = new WeakSet<ConnectorError>();

/** One connector's policies, its way to its client, and what became of its calls. */
export class Session<C extends Client = Client> implements ClientSession<C>, ConnectorHost {
  readonly #parts: Parts;
  readonly #key: string;
  #connector: BaseConnector | undefined;
  #policy: Policy | undefined;
  #health: HealthCheck | undefined;
  /** Set when the backend refused the credentials: they are not tried again until the configuration changes. */
  #rejected: ConnectorError | undefined;
  /** Grows with each configuration that is taken up: what began under an earlier one says nothing about it. */
  #taken = 0;
  #removed = false;
  #secrets: readonly string[] = [];

  constructor(parts: Parts, tenantId: string, connectorId: string) {
    this.#parts = parts;
    this.#key = clientKey({ tenantId, connectorId });
  }

  /** Ties the session to its connector; done once, before the connector is handed out. */
  bind(connector: BaseConnector): void {
    this.#connector = connector;
    connector.attach(this);
  }

  get key(): string {
    return this.#key;
  }

  async run<T>(call: SessionCall, run: (client: C, call: Call) => Promise<T>): Promise<T> {
    return this.policy((attempt: Call) => this.#onClient(attempt, run))({
      operation: call.operation,
      idempotent: call.idempotent,
      attempt: 1,
      signal: call.signal ?? NEVER,
      progress: () => {},
      ...(call.once && { once: true }),
      ...(call.timeoutMs !== undefined && { timeoutMs: call.timeoutMs }),
    });
  }

  /** The connector's policies, its standing and its figures around one run. */
  readonly policy: Policy =
    <T>(next: Run<T>): Run<T> =>
    async (call) => {
      this.#checkStanding();
      this.#policy ??= this.#standardPolicy();
      const taken = this.#taken;
      try {
        return await this.#policy(next)(call);
      } catch (error) {
        throw this.#account(error, call.operation, taken);
      }
    };

  hold(): () => void {
    return this.#parts.clients.hold(this.#key);
  }

  async connect({ signal }: CallOptions): Promise<void> {
    await this.run({ operation: 'connector.connect', idempotent: true, signal }, async () => {});
    if (this.connector.status !== 'connected') this.connector.recordConnection();
  }

  async disconnect(): Promise<void> {
    await this.#parts.clients.close(this.#key);
    const { status } = this.connector;
    if (status === 'connected' || status === 'error') this.connector.moveTo('disconnected');
  }

  async check(options: CallOptions): Promise<HealthReport> {
    if (this.#removed) throw notFound(this.connector.connectorId);
    this.#health ??= new HealthCheck(this.connector, this.#parts, {
      run: (call, run) => this.run(call, run),
      stored: () => this.#stored(),
      probe: (signal, stage) => this.#probe(signal, stage),
    });
    return this.#health.run(options);
  }

  changed(connector: BaseConnector, before: ConnectorActivity): void {
    if (!this.#removed) this.#parts.activity.note(connector, before);
  }

  now(): Date {
    return new Date(this.#parts.clock.now());
  }

  /** Takes up a new configuration: the next call opens a new client, calls in flight end on the old one. */
  async reconfigure(): Promise<void> {
    this.#taken += 1;
    this.#policy = undefined;
    this.#rejected = undefined;
    await this.#parts.clients.close(this.#key);
  }

  /** Says again that the connector is connected, where others have it that it is not. */
  assertConnected(): void {
    if (this.connector.status === 'disconnected' && this.#parts.clients.isOpen(this.#key))
      this.connector.recordConnection();
  }

  /** Ends the connector's life: every later call reads as if it had never existed. */
  async remove(): Promise<void> {
    this.#removed = true;
    this.#parts.activity.forget(this.connector.connectorId);
    await this.#parts.clients.close(this.#key);
  }

  /** The connector that this session serves. */
  get connector(): BaseConnector {
    if (this.#connector) return this.#connector;
    throw new ConnectorError('internal', 'the session has no connector');
  }

  #checkStanding(): void {
    if (this.#removed) throw notFound(this.connector.connectorId);
    if (this.#rejected) throw this.#rejected;
  }

  async #onClient<T>(call: Call, run: (client: C, call: Call) => Promise<T>): Promise<T> {
    const { tenantId } = this.connector;
    const isUse = call.operation !== CHECK;
    const lease = await this.#parts.clients.lease(this.#key, () => this.#open(), { tenantId, isUse });
    try {
      if (call.signal.aborted) throw cancelled(call.signal);
      return await run(lease.client, call);
    } finally {
      lease.release();
    }
  }

  /** Opens a client of its own, through the policies and stage by stage, asks it for its capabilities, and closes it. */
  async #probe(signal: AbortSignal | undefined, recorded: OpenContext['stage']): Promise<void> {
    // What is recorded is shown, so it is the failure as callers see it.
    const stage: OpenContext['stage'] = (name, step) =>
      recorded(name, async () => {
        try {
          return await step();
        } catch (error) {
          throw this.#named(error, CHECK);
        }
      });
    const probe = this.policy(async (call: Call) => {
      const client = await this.#open(stage);
      try {
        await stage('capabilities', () => client.check(call.signal));
      } finally {
        await client.close();
      }
    });
    // One attempt, so that a check answers soon.
    const once = { operation: CHECK, idempotent: false, attempt: 1, progress: () => {} };
    await probe({ ...once, signal: signal ?? NEVER, timeoutMs: checkMs(this.connector.config) });
  }

  /** @param stage for a check, which says by itself what it found. */
  async #open(stage?: OpenContext['stage']): Promise<C> {
    const connector = this.connector;
    const { clock, folders } = this.#parts;
    const { tenantId, connectorId, connectorType, config } = connector;
    await this.#checkHome();
    const taken = this.#taken;
    const ending = new AbortController();
    const limitMs = Math.ceil((stage ? checkMs(config) : config.timeoutSeconds * 1_000) * OPENING_SHARE);
    const cancelTimer = clock.after(limitMs, () =>
      ending.abort(
        new ConnectorError('timeout', `no connection within ${limitMs} ms`, { details: { limitMs } }),
      ),
    );
    try {
      if (!isDriverKind(connectorType))
        throw new ConnectorError('internal', `no driver opens a ${connectorType} connector`);
      const loaded = await this.#parts.catalog.load(connectorType, connector.provider);
      const { record, credentials } = await this.#stored();
      this.#secrets = Object.values(credentials);
      const options = driverOptions(loaded, record, credentials);
      const context = {
        tenantId,
        connectorId,
        authType: record.config.authType,
        trusted: record.trusted,
        folder: folders.connector(tenantId, connectorType, connectorId),
        tenantFolder: folders.shared(tenantId, connectorType),
        clock,
        log: scopedLog(this.#parts.log, { tenantId, connectorId, provider: connector.provider }),
        signal: ending.signal,
        network: this.#parts.network(record.trusted),
        stage: stage ?? ((_name, step) => step()),
        progress: (progress) => this.#parts.emit('progress', { tenantId, connectorId, progress }),
        // Absent settings are the settings of another kind, whose driver does not read them.
        dimension: Number(record.settings['vector_dimension'] ?? 0),
        metric: (record.settings['distance_metric'] ?? 'cosine') as VectorOpenContext['metric'],
      } satisfies VectorOpenContext;
      // The catalogue loads a driver of the connector's kind, so what it opens is the client of that kind.
      const client = (await loaded.driver.open(options, context)) as Client as C;
      if (taken === this.#taken) {
        const { status } = connector;
        if (status === 'registered' || status === 'configuring') connector.moveTo('ready');
        if (!stage) connector.recordConnection();
      }
      return client;
    } catch (error) {
      const failure = this.#named(error, 'connector.connect');
      const isOld = taken !== this.#taken || RECORDED.has(failure);
      // What is connected is not taken for broken because of one check.
      if (isOld || !stage || connector.status !== 'connected') {
        if (!isOld) connector.recordError(failure);
        RECORDED.add(failure);
      }
      throw failure;
    } finally {
      cancelTimer();
    }
  }

  /**
   * The connector as it is stored at this moment and its credentials in clear: what this process has may be older, and no
   * credential may go to where another one belongs.
   *
   * @throws ConnectorError `not_found` where it was removed; `internal` when a credential was altered or its master key is
   *   missing, `invalid_state` when a reference cannot be resolved.
   */
  async #stored(): Promise<StoredCredentials> {
    const { tenantId, connectorId, createdAt } = this.connector;
    const stored = await this.#parts.store.getConnectorWithSecrets(tenantId, connectorId);
    // Another one may have its id by now.
    if (stored?.record.createdAt.getTime() !== createdAt.getTime()) {
      const gone = this.#named(notFound(connectorId), 'connector.connect');
      RECORDED.add(gone);
      throw gone;
    }
    const { record, secrets } = stored;
    return { record, credentials: await openCredentials(secrets, record, this.#parts) };
  }

  /** That another server has what is stored says nothing about the connector, and is no failure of it. */
  async #checkHome(): Promise<void> {
    const { record, connectorType, provider } = this.connector;
    const { catalog, homes } = this.#parts;
    if (isDriverKind(connectorType))
      await homes.check(record, (await catalog.load(connectorType, provider)).driver);
  }

  /** The failure as callers see it, and as the figures count it. */
  #account(error: unknown, operation: string, taken: number): ConnectorError {
    const failure = this.#named(error, operation);
    if (isRefusedHere(failure)) return failure;
    if (failure.code === 'auth_failed') {
      // Credentials that are no longer the connector's may well be refused.
      if (taken !== this.#taken) return failure;
      this.#rejected = failure;
      if (!RECORDED.has(failure)) this.connector.recordError(failure);
    } else if (this.#isCounted(failure.code) && !RECORDED.has(failure)) {
      this.connector.recordFailure(failure);
    }
    return failure;
  }

  #isCounted(code: ErrorCode): boolean {
    // An operation on vectors names nothing that could be missing but the collection itself.
    return COUNTED.has(code) || (code === 'not_found' && this.connector.connectorType === 'vector');
  }

  #named(error: unknown, operation: string): ConnectorError {
    const { connectorId, connectorType, name } = this.connector;
    // A driver's bug may carry anything in its message, so only its class is shown.
    const known = isConnectorError(error)
      ? error
      : new ConnectorError(
          'internal',
          `${operation} failed in the driver (${error instanceof Error ? error.name : typeof error})`,
          {
            cause: error,
          },
        );
    return redactError(known, this.#secrets).onConnector(
      connectorId,
      connectorType,
      `${connectorType} connector "${name}"`,
    );
  }

  #standardPolicy(): Policy {
    const { config } = this.connector;
    return standardPolicies(
      {
        key: this.#key,
        timeoutMs: config.timeoutSeconds * 1_000,
        maxRetries: config.maxRetries,
        retryDelayMs: config.retryDelaySeconds * 1_000,
        ...(config.rateLimitEnabled && {
          rateLimit: { requests: config.rateLimitRequests, windowMs: config.rateLimitWindowSeconds * 1_000 },
        }),
      },
      { clock: this.#parts.clock, random: this.#parts.random, counters: this.#parts.counters },
    );
  }
}

/** The name of a connector's client among those that are open. */
export function clientKey({
  tenantId,
  connectorId,
}: Pick<ConnectorRecord, 'tenantId' | 'connectorId'>): string {
  return JSON.stringify([tenantId, connectorId]);
}

/** The answer for a connector that is not there, is another tenant's, or is gone. */
export function notFound(connectorId: string): ConnectorError {
  return new ConnectorError('not_found', `there is no connector ${connectorId.slice(0, 128)}`);
}

/** Undefined for the error of a connector that is not there. @throws any other error. */
export function absent(error: unknown): undefined {
  if (isConnectorError(error) && error.code === 'not_found') return undefined;
  throw error;
}
