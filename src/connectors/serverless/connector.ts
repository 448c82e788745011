import { randomUUID } from 'node:crypto';
import { cancelled, type Clock } from '../../contract/clock.ts';
import type { Log } from '../../contract/driver.ts';
import { parseWith } from '../../contract/validate.ts';
import { ConnectorError, invalidField, isConnectorError } from '../../errors/error.ts';
import type { CallOptions, ConnectorActivity, ConnectorRecord } from '../base.ts';
import { DriverConnector, type ClientSession } from '../session.ts';
import type { FunctionInfo, FunctionSource, ServerlessCapabilities, ServerlessClient } from './driver.ts';
import {
  hasRun,
  invocationOf,
  payloadHash,
  type Invocation,
  type InvocationLog,
  type InvocationRecord,
} from './invocations.ts';
import { checkedOutcome, checkedPayload } from './json.ts';
import { InvocationRuns, type RunResult } from './runs.ts';
import { serverlessSettings } from './schema.ts';

/**
 * Time that an attempt has beyond the function's own limit, in milliseconds: for a cold start, and so that the
 * platform's precise answer about a function that ran too long comes before the pipeline gives up on the platform.
 */
const ATTEMPT_SLACK_MS = 5_000;
/** What every platform's names fit in; each refuses more. Nothing that a path or a query would be made of. */
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,139}$/;

export type InvokeOptions = CallOptions & {
  /** Answers `queued` as soon as the invocation is stored; ask `getResult` later. */
  readonly async?: boolean | undefined;
  /** 1 to 256 characters. The same key on this connector answers the first call's result and does not call again. */
  readonly idempotencyKey?: string | undefined;
  /** The function's own limit, in seconds; the connector's `timeout_seconds` unless given. */
  readonly timeoutSeconds?: number | undefined;
};

export type ServerlessParts = {
  readonly record: ConnectorRecord;
  readonly activity?: ConnectorActivity;
  readonly session: ClientSession<ServerlessClient>;
  readonly capabilities: ServerlessCapabilities;
  readonly invocations: InvocationLog;
  readonly clock: Clock;
  /** Where a background run whose end cannot be stored is reported. */
  readonly log?: Log;
};

/** One tenant's functions on one platform. */
export class ServerlessConnector extends DriverConnector<ServerlessClient> {
  readonly #platform: ServerlessCapabilities;
  readonly #invocations: InvocationLog;
  readonly #clock: Clock;
  readonly #runs: InvocationRuns;

  constructor({ record, activity, session, capabilities, invocations, clock, log }: ServerlessParts) {
    super(record, session, activity);
    this.#platform = capabilities;
    this.#invocations = invocations;
    this.#clock = clock;
    this.#runs = new InvocationRuns({
      invocations,
      clock,
      run: (invocation) => this.#run(invocation, { idempotent: true }),
      ttlMs: () => this.#settings.result_ttl_seconds * 1000,
      failed: (requestId, error) => {
        this.recordFailure(error);
        log?.error('the end of an invocation could not be stored; the next start runs it again', {
          requestId,
          error: error instanceof Error ? error.message : String(error),
        });
      },
    });
  }

  /** The provider. */
  get platform(): string {
    return this.provider;
  }

  get region(): string | undefined {
    return this.#settings.region;
  }

  /** True while accepted work has not ended. */
  get busy(): boolean {
    return this.#runs.busy;
  }

  /**
   * How one call of a function ended; with `async`, that it is stored and queued.
   *
   * A function that throws has `status: 'failed'` and its error as data. Without a key a synchronous call is made at
   * most once after it reached the platform, and is not stored. With a key it is stored: callers of the same key, also
   * at the same time, share one call and its answer. An asynchronous call is made at least once: it is repeated when
   * the platform fails or this process ends before its end is stored.
   *
   * @throws ConnectorError `invalid_argument`, `payload_too_large`, `not_found`, `timeout` when a synchronous call ran
   *   longer than its limit, `conflict` when the key belongs to another function or payload.
   */
  async invoke(name: string, payload: unknown, options: InvokeOptions = {}): Promise<Invocation> {
    checkName(name);
    const { json, text } = checkedPayload(payload, this.#platform.limits.payloadBytes);
    const { async: background = false, idempotencyKey, signal } = options;
    const timeoutMs = this.#timeoutMs(options.timeoutSeconds);
    const requestId = randomUUID();
    if (!background && idempotencyKey === undefined) {
      const invocation = { requestId, functionName: name, payload: json, timeoutMs, signal };
      return answer(name, requestId, await this.#run(invocation, { idempotent: false }));
    }
    checkKey(idempotencyKey);
    const wanted: InvocationRecord = {
      requestId,
      tenantId: this.tenantId,
      connectorId: this.connectorId,
      functionName: name,
      status: 'queued',
      payload: json,
      payloadHash: payloadHash(text),
      idempotencyKey: idempotencyKey ?? null,
      timeoutMs,
      result: null,
      error: null,
      logs: null,
      durationMs: null,
      createdAt: new Date(this.#clock.now()),
      endedAt: null,
      expiresAt: null,
    };
    if (signal?.aborted) throw this.#named(cancelled(signal));
    const stored = await this.#invocations.add(wanted);
    if (stored.functionName !== name || stored.payloadHash !== wanted.payloadHash) {
      throw this.#named(
        new ConnectorError(
          'conflict',
          'the idempotency key belongs to a call with another payload or function',
        ),
      );
    }
    const isNew = stored.requestId === requestId;
    if (background) {
      this.#runs.enqueue(stored, isNew);
      const again = stored.endedAt !== null && !hasRun(stored);
      return invocationOf(again ? { ...wanted, requestId: stored.requestId } : stored);
    }
    const ended = await this.#runs.share(stored, isNew, signal);
    if ('thrown' in ended) throw this.#named(ended.thrown);
    if (ended.record.status === 'timed_out') throw this.#named(timedOut(name, ended.record.timeoutMs));
    return invocationOf(ended.record);
  }

  /**
   * The stored invocation: every asynchronous one, and synchronous ones with a key, until `result_ttl_seconds` after its end.
   *
   * @throws ConnectorError `not_found`.
   */
  async getResult(requestId: string, { signal }: CallOptions = {}): Promise<Invocation> {
    if (signal?.aborted) throw this.#named(cancelled(signal));
    const record = await this.#invocations.get(requestId);
    const expired = record?.expiresAt && record.expiresAt.getTime() <= this.#clock.now();
    if (record === undefined || expired || record.connectorId !== this.connectorId) {
      throw this.#named(new ConnectorError('not_found', 'no such invocation'));
    }
    return invocationOf(record);
  }

  /** The functions of the platform, by name. */
  async listFunctions({ signal }: CallOptions = {}): Promise<readonly FunctionInfo[]> {
    const call = { operation: 'serverless.list', idempotent: true, signal };
    const found = await this.session.run(call, (client, { signal }) => client.listFunctions(signal));
    return found.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  /**
   * The function as it now runs; it replaces one of the same name as a whole, or leaves it.
   *
   * @throws ConnectorError `unsupported` before any I/O; `invalid_argument` with the compiler's message when the source does not build.
   */
  async deployFunction(
    name: string,
    source: FunctionSource,
    { signal }: CallOptions = {},
  ): Promise<FunctionInfo> {
    this.#checkDeploys();
    checkName(name);
    const call = { operation: 'serverless.deploy', idempotent: true, signal };
    return this.session.run(call, (client, { signal }) => {
      if (!client.deploy) throw noDeploy();
      return client.deploy(name, source, signal);
    });
  }

  /** False where there was none. @throws ConnectorError `unsupported` before any I/O. */
  async removeFunction(name: string, { signal }: CallOptions = {}): Promise<boolean> {
    this.#checkDeploys();
    checkName(name);
    const call = { operation: 'serverless.remove', idempotent: true, signal };
    return this.session.run(call, (client, { signal }) => {
      if (!client.remove) throw noDeploy();
      return client.remove(name, signal);
    });
  }

  /** For the registry alone: takes up invocations that an earlier process accepted and did not end. */
  resume(records: readonly InvocationRecord[]): void {
    for (const record of records) this.#runs.enqueue(record, false);
  }

  /** Resolves when all accepted work has ended. @throws ConnectorError `cancelled` as soon as the signal is aborted. */
  drain(signal?: AbortSignal): Promise<void> {
    return this.#runs.drain(signal);
  }

  get #settings() {
    return parseWith(serverlessSettings, this.settings);
  }

  #timeoutMs(timeoutSeconds = this.config.timeoutSeconds): number {
    const longest = this.#platform.limits.timeoutSeconds;
    if (!(timeoutSeconds > 0 && timeoutSeconds <= longest)) {
      throw invalidField('timeoutSeconds', `is more than 0 and at most ${longest}`);
    }
    return timeoutSeconds * 1000;
  }

  /**
   * The platform's `timeout` for a function that ran too long is taken out of the pipeline as an answer: it says
   * nothing about the platform's health, so it must neither open the breaker for the other functions nor be retried.
   */
  async #run(
    { requestId, functionName, payload, timeoutMs, signal }: RunnableInvocation,
    { idempotent }: { readonly idempotent: boolean },
  ): Promise<RunResult> {
    const call = {
      operation: 'serverless.invoke',
      idempotent,
      signal,
      timeoutMs: timeoutMs + ATTEMPT_SLACK_MS,
    };
    const startedMs = this.#clock.monotonicMs();
    const outcome = await this.session.run(call, async (client, { signal }) => {
      try {
        return await client.invoke(functionName, payload, { requestId, timeoutMs }, signal);
      } catch (error) {
        if (isConnectorError(error) && error.code === 'timeout') return error;
        throw error;
      }
    });
    if (isConnectorError(outcome)) return { timedOut: this.#named(outcome) };
    const durationMs = outcome.durationMs ?? this.#clock.monotonicMs() - startedMs;
    const { payloadBytes, resultBytes = payloadBytes } = this.#platform.limits;
    return { outcome: checkedOutcome({ ...outcome, durationMs }, resultBytes) };
  }

  #checkDeploys(): void {
    if (!this.#platform.deploy) throw this.#named(noDeploy());
  }

  #named(error: ConnectorError): ConnectorError {
    return error.onConnector(this.connectorId, this.connectorType, this.name);
  }
}

type RunnableInvocation = Pick<InvocationRecord, 'requestId' | 'functionName' | 'payload' | 'timeoutMs'> &
  CallOptions;

function answer(name: string, requestId: string, run: RunResult): Invocation {
  if ('timedOut' in run) throw run.timedOut;
  return { function: name, requestId, ...run.outcome };
}

function timedOut(name: string, timeoutMs: number): ConnectorError {
  return new ConnectorError('timeout', `function ${name} ran longer than ${timeoutMs / 1000} s`, {
    details: { timeoutMs },
  });
}

function noDeploy(): ConnectorError {
  return new ConnectorError('unsupported', 'this platform does not take functions', {
    details: { capability: 'deploy' },
  });
}

function checkName(name: string): void {
  if (!NAME.test(name)) throw invalidField('name', 'is 1 to 140 letters, digits, _ - . or :');
}

function checkKey(key: string | undefined): void {
  if (key !== undefined && (key.length < 1 || key.length > 256)) {
    throw invalidField('idempotencyKey', 'is 1 to 256 characters');
  }
}
