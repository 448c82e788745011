import type { BaseConnector, CallOptions, HealthReport, HealthStage } from '../connectors/base.ts';
import type { SessionCall } from '../connectors/session.ts';
import type { Client, Note } from '../contract/driver.ts';
import type { Call } from '../policies/pipeline.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { asConnectorError } from '../errors/error.ts';
import { driverOptions, unsealCredentials } from './options.ts';
import type { Parts } from './parts.ts';
import { isDriverKind } from './spec.ts';

const FAILURES_UNTIL_ERROR = 3;

/** What a person can do about a failure, by its code. */
const REMEDIES: Readonly<Partial<Record<ErrorCode, string>>> = {
  invalid_argument: 'correct the field that the message names and update the connector',
  invalid_state: 'set what the message names, then test again',
  auth_failed: 'update the connector with credentials that the backend accepts',
  unavailable: 'check that the backend runs and can be reached from here',
  timeout: 'check that the backend answers, or raise timeout_seconds',
  egress_denied: 'name a public address, or have the operator allow this one',
  circuit_open: 'wait until the backend has recovered',
  not_found: 'create what the connector points at, or correct its options',
};

type RunCall = (
  call: SessionCall,
  run: (client: Client, call: Call) => Promise<readonly Note[]>,
) => Promise<readonly Note[]>;

/** The staged check of one connector: configuration, secrets, backend. Remembers how many checks failed in a row. */
export class HealthCheck {
  readonly #connector: BaseConnector;
  readonly #parts: Parts;
  readonly #run: RunCall;
  #failedInARow = 0;

  constructor(connector: BaseConnector, parts: Parts, run: RunCall) {
    this.#connector = connector;
    this.#parts = parts;
    this.#run = run;
  }

  /** Runs the stages in order; after one that failed the others are skipped. */
  async run({ signal }: CallOptions): Promise<HealthReport> {
    const connector = this.#connector;
    const stages: HealthStage[] = [];
    let failure: unknown;
    const stage = async (name: string, task: () => Promise<readonly Note[]>) => {
      if (failure !== undefined) return void stages.push({ name, status: 'skipped', ms: 0 });
      const startMs = this.#parts.clock.monotonicMs();
      const elapsedMs = () => Math.round(this.#parts.clock.monotonicMs() - startMs);
      try {
        stages.push(passed(name, await task(), elapsedMs()));
      } catch (error) {
        failure = error;
        stages.push(failed(name, error, elapsedMs()));
      }
    };

    let credentials: Readonly<Record<string, string>> = {};
    await stage('secrets', async () => {
      credentials = await unsealCredentials(connector, this.#parts);
      return [];
    });
    await stage('configuration', async () => {
      if (!isDriverKind(connector.connectorType)) return [];
      const loaded = await this.#parts.catalog.load(connector.connectorType, connector.provider);
      driverOptions(loaded, connector.config, credentials);
      return [];
    });
    // Not idempotent to the policies, so that a check is one attempt and answers soon.
    await stage('backend', () =>
      this.#run({ operation: 'connector.test', idempotent: false, signal }, (client, call) =>
        client.check(call.signal),
      ),
    );
    this.#conclude(failure);
    return { ok: failure === undefined, stages };
  }

  #conclude(failure: unknown): void {
    const connector = this.#connector;
    if (failure === undefined) {
      this.#failedInARow = 0;
      if (connector.status === 'error' || connector.status === 'disconnected') connector.recordConnection();
      return;
    }
    this.#failedInARow += 1;
    if (this.#failedInARow >= FAILURES_UNTIL_ERROR && connector.status !== 'error')
      connector.recordError(failure);
  }
}

function passed(name: string, notes: readonly Note[], ms: number): HealthStage {
  const warned = notes.some((note) => note.level === 'warn');
  const message = notes.map((note) => note.message).join('; ');
  return { name, status: warned ? 'warn' : 'ok', ms, ...(message !== '' && { message }) };
}

function failed(name: string, error: unknown, ms: number): HealthStage {
  const { code, message } = asConnectorError(error);
  const remedy = REMEDIES[code];
  return { name, status: 'failed', ms, code, message, ...(remedy !== undefined && { remedy }) };
}
