import type {
  BaseConnector,
  CallOptions,
  ConnectorRecord,
  HealthReport,
  HealthStage,
} from '../connectors/base.ts';
import type { ConnectorConfig } from '../connectors/config.ts';
import type { SessionCall } from '../connectors/session.ts';
import type { Client, Note, OpenContext } from '../contract/driver.ts';
import type { DriverKind } from './catalog.ts';
import { isRefusedHere } from '../policies/circuit-breaker.ts';
import type { Call } from '../policies/pipeline.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { asConnectorError, type ConnectorError, isConnectorError } from '../errors/error.ts';
import { CHECKS_UNTIL_ERROR } from '../store/activity.ts';
import { isElsewhere } from './homes.ts';
import { driverOptions } from './options.ts';
import type { Parts } from './parts.ts';
import { isDriverKind } from './spec.ts';

/** What a check is called among a connector's calls. */
export const CHECK = 'connector.test';

/** How long a check waits for the backend, at most: those of one tenant must not keep others from being checked. */
const CHECK_MS = 30_000;

/** Failures that say nothing about the backend: it is busy, or nobody waited for its answer. */
const SAYS_NOTHING: ReadonlySet<ErrorCode> = new Set(['cancelled', 'rate_limited']);

/** What a person can do about a failure, by its code. */
const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  invalid_argument: 'correct the field that the message names and update the connector',
  invalid_state: 'set what the message names, then test again',
  auth_failed: 'update the connector with credentials that the backend accepts',
  unavailable: 'check that the backend runs and can be reached from here',
  timeout: 'check that the backend answers, or raise timeout_seconds, of which a check takes 30 at most',
  egress_denied: 'name a public address, or have the operator allow this one',
  circuit_open: 'wait until the backend has recovered',
  not_found: 'create what the connector points at, or correct its options',
};

/** How long a check of a connector waits for its backend. */
export function checkMs({ timeoutSeconds }: ConnectorConfig): number {
  return Math.min(timeoutSeconds * 1_000, CHECK_MS);
}

/** A connector and its credentials in clear, both of one moment. */
export type StoredCredentials = {
  readonly record: ConnectorRecord;
  readonly credentials: Readonly<Record<string, string>>;
};

/** How a check reaches the backend. */
export type Backend = {
  /** What a client would be opened with. */
  stored(): Promise<StoredCredentials>;
  /** Runs one call on the connector's own client. */
  run(
    call: SessionCall,
    run: (client: Client, call: Call) => Promise<readonly Note[]>,
  ): Promise<readonly Note[]>;
  /** Opens another client, stage by stage. */
  probe(signal: AbortSignal | undefined, stage: OpenContext['stage']): Promise<void>;
};

/** What opening a client of a remote backend goes through, by kind. */
const REMOTE_STAGES: Readonly<Record<DriverKind, readonly string[]>> = {
  vector: ['address', 'connect', 'credentials', 'collection', 'capabilities'],
  file: ['address', 'connect', 'credentials', 'bucket', 'capabilities'],
  serverless: ['address', 'connect', 'credentials', 'function', 'capabilities'],
};

/**
 * The staged check of one connector: secrets, configuration, backend; a remote backend's own stages in place of the last.
 * The store counts how many failed in a row, whichever process made them.
 */
export class HealthCheck {
  readonly #connector: BaseConnector;
  readonly #parts: Parts;
  readonly #backend: Backend;

  constructor(connector: BaseConnector, parts: Parts, backend: Backend) {
    this.#connector = connector;
    this.#parts = parts;
    this.#backend = backend;
  }

  /** Runs the stages in order; after one that failed the others are skipped. */
  async run({ signal }: CallOptions): Promise<HealthReport> {
    const { record } = this.#connector;
    const stages: HealthStage[] = [];
    const expected = ['secrets', 'configuration', 'backend'];
    let failure: unknown;
    try {
      await this.#runStages(this.#recorder(stages), expected, signal);
    } catch (error) {
      failure = error;
      if (!stages.some(({ status }) => status === 'failed')) {
        const next = expected.find((name) => !stages.some((stage) => stage.name === name)) ?? 'backend';
        stages.push(failed(next, error, 0));
      }
      for (const name of expected)
        if (!stages.some((stage) => stage.name === name)) stages.push({ name, status: 'skipped', ms: 0 });
    }
    // What was checked may be what the connector no longer is.
    if (this.#connector.record === record) await this.#conclude(failure);
    return { ok: failure === undefined, stages };
  }

  /** Runs a stage and keeps what became of it. */
  #recorder(stages: HealthStage[]): OpenContext['stage'] {
    const { clock } = this.#parts;
    return async (name, step) => {
      const startMs = clock.monotonicMs();
      const elapsedMs = () => Math.round(clock.monotonicMs() - startMs);
      try {
        const result = await step();
        stages.push(passed(name, isNotes(result) ? result : [], elapsedMs()));
        return result;
      } catch (error) {
        stages.push(failed(name, error, elapsedMs()));
        throw error;
      }
    };
  }

  async #runStages(
    stage: OpenContext['stage'],
    expected: string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const connector = this.#connector;
    const { record, credentials } = await stage('secrets', () => this.#backend.stored());
    const driver = await stage('configuration', async () => {
      if (!isDriverKind(connector.connectorType)) return undefined;
      const loaded = await this.#parts.catalog.load(connector.connectorType, connector.provider);
      driverOptions(loaded, record, credentials);
      return loaded.driver;
    });
    if (driver?.remote) {
      expected.splice(expected.indexOf('backend'), 1, ...REMOTE_STAGES[driver.kind]);
      return this.#backend.probe(signal, stage);
    }
    // Not idempotent to the policies, so that a check is one attempt and answers soon.
    const timeoutMs = checkMs(connector.config);
    await stage('backend', () =>
      this.#backend.run({ operation: CHECK, idempotent: false, signal, timeoutMs }, (client, call) =>
        client.check(call.signal),
      ),
    );
  }

  async #conclude(failure: unknown): Promise<void> {
    const connector = this.#connector;
    if (failure === undefined) {
      await this.#count(0);
      if (connector.status !== 'connected' && connector.status !== 'deprecated') connector.recordConnection();
      return;
    }
    if (isConnectorError(failure) && saysNothing(failure)) return;
    const isRejected = isConnectorError(failure) && failure.code === 'auth_failed';
    const failedInARow = await this.#count(isRejected ? CHECKS_UNTIL_ERROR : 1);
    if (failedInARow >= CHECKS_UNTIL_ERROR && connector.status !== 'error') connector.recordError(failure);
  }

  /** Adds to the checks that failed in a row; a check whose outcome cannot be stored is none. */
  async #count(failed: number): Promise<number> {
    const { tenantId, connectorId } = this.#connector;
    try {
      return await this.#parts.store.countFailedChecks({ tenantId, connectorId, failed });
    } catch (error) {
      this.#parts.log.warn('the outcome of a health check was not stored', {
        connectorId,
        error: String(error),
      });
      return 0;
    }
  }
}

function saysNothing(failure: ConnectorError): boolean {
  return SAYS_NOTHING.has(failure.code) || isElsewhere(failure) || isRefusedHere(failure);
}

function isNotes(value: unknown): value is readonly Note[] {
  const isNote = (one: unknown) => typeof one === 'object' && one !== null && 'level' in one;
  return Array.isArray(value) && value.every(isNote);
}

function passed(name: string, notes: readonly Note[], ms: number): HealthStage {
  const warned = notes.some((note) => note.level === 'warn');
  const message = notes.map((note) => note.message).join('; ');
  return { name, status: warned ? 'warn' : 'ok', ms, ...(message !== '' && { message }) };
}

function failed(name: string, error: unknown, ms: number): HealthStage {
  const failure = asConnectorError(error);
  const { code, message } = failure;
  // What is refused here says itself what to do.
  const remedy = isRefusedHere(failure) ? undefined : REMEDIES[code];
  return { name, status: 'failed', ms, code, message, ...(remedy !== undefined && { remedy }) };
}
