import { randomUUID } from 'node:crypto';
import { cancelled, type Clock } from '../../contract/clock.ts';
import { parseWith } from '../../contract/validate.ts';
import { ConnectorError, invalidField } from '../../errors/error.ts';
import type { CallOptions, ConnectorActivity, ConnectorRecord } from '../base.ts';
import { DriverConnector, type ClientSession } from '../session.ts';
import { ATTEMPT_SLACK_MS, FunctionCalls } from './calls.ts';
import type {
  FunctionCallback,
  FunctionInfo,
  FunctionLog,
  FunctionSource,
  ServerlessCapabilities,
  ServerlessClient,
  ServerlessDriver,
} from './driver.ts';
import {
  cursorOf,
  cursorPlace,
  invocationOf,
  payloadHash,
  type ClaimedInvocation,
  type Invocation,
  type InvocationLog,
  type InvocationPage,
  type InvocationRecord,
  type ListInvocationsOptions,
} from './invocations.ts';
import { checkedPayload } from './json.ts';
import { serverlessSettings, type ServerlessSettings } from './schema.ts';
import { StoredInvocations } from './stored-invocations.ts';
import { endedNow, endOf, takeTurn } from './turns.ts';
import { LEASE_MS, type InvocationRunner, type InvocationWorker, type Turn } from './worker.ts';

/** What every platform's names fit in; each refuses more. Nothing that a path or a query would be made of. */
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,139}$/;
const MAX_WAIT_SECONDS = 900;

export type InvokeOptions = CallOptions & {
  /** Answers `queued` as soon as the invocation is stored; ask `getResult` or `waitForResult` later. */
  readonly async?: boolean | undefined;
  /** 1 to 256 characters. For 24 hours the same key on this function answers the first call's result and does not call again. */
  readonly idempotencyKey?: string | undefined;
  /** The function's own limit, in seconds; the connector's `timeout_seconds` unless given. */
  readonly timeoutSeconds?: number | undefined;
};

export type ServerlessParts = {
  readonly record: ConnectorRecord;
  readonly activity?: ConnectorActivity;
  readonly session: ClientSession<ServerlessClient>;
  readonly capabilities: ServerlessCapabilities;
  /** The driver's. */
  readonly outcomeOf?: ServerlessDriver['outcomeOf'];
  readonly invocations: InvocationLog;
  /** Runs what is stored; one for all connectors of a process. */
  readonly worker: InvocationWorker;
  readonly clock: Clock;
  /** In 0 to 1, for the jitter of delays. */
  readonly random: () => number;
  /** Where a platform reports the end of an invocation; `undefined` where the registry has no address. */
  readonly callbackUrl: (requestId: string) => string | undefined;
};

/** One tenant's functions on one platform. */
export class ServerlessConnector extends DriverConnector<ServerlessClient> implements InvocationRunner {
  readonly #platform: ServerlessCapabilities;
  readonly #invocations: InvocationLog;
  readonly #worker: InvocationWorker;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #calls: FunctionCalls;
  readonly #stored: StoredInvocations;
  #parsed: { readonly of: unknown; readonly settings: ServerlessSettings } | undefined;

  constructor(parts: ServerlessParts) {
    super(parts.record, parts.session, parts.activity);
    this.#platform = parts.capabilities;
    this.#invocations = parts.invocations;
    this.#worker = parts.worker;
    this.#clock = parts.clock;
    this.#random = parts.random;
    const named = (error: ConnectorError) => this.#named(error);
    this.#calls = new FunctionCalls({ ...parts, named });
    this.#stored = new StoredInvocations({ ...parts, connectorId: parts.record.connectorId, named });
  }

  /** The provider. */
  get platform(): string {
    return this.provider;
  }

  get region(): string | undefined {
    return this.#settings.region;
  }

  get maxConcurrency(): number {
    return this.#settings.max_concurrency;
  }

  /**
   * How one call of a function ended; with `async`, that it is stored and queued.
   *
   * A function that throws has `status: 'failed'` and its error as data.
   *
   * - Synchronous, without a key: called at most once after it may have reached the platform, and not stored.
   * - With a key: stored, and run at most once unless the connector declares the function idempotent. Callers of the
   *   same key, also at the same time, share one call and its answer. Where a crash or a lost connection leaves open
   *   whether it ran, it is `lost`, and the key does not run it again.
   * - Asynchronous, without a key: run at least once. It is repeated when the platform fails, twice at most, or when
   *   this process ends before its end is stored. Each attempt carries the same request id.
   *
   * @throws ConnectorError `invalid_argument`, `payload_too_large`, `not_found`, `timeout` when a synchronous call ran
   *   longer than its limit, `conflict` when the key belongs to another payload.
   */
  async invoke(name: string, payload: unknown, options: InvokeOptions = {}): Promise<Invocation> {
    checkName(name);
    const { json, text } = checkedPayload(payload, this.#platform.limits.payloadBytes);
    const { async: background = false, idempotencyKey, signal } = options;
    const timeoutMs = this.#timeoutMs(options.timeoutSeconds);
    checkKey(idempotencyKey);
    if (signal?.aborted) throw this.#named(cancelled(signal));
    const now = this.#clock.now();
    const wanted: InvocationRecord = {
      requestId: randomUUID(),
      tenantId: this.tenantId,
      connectorId: this.connectorId,
      functionName: name,
      status: background ? 'queued' : 'running',
      payload: json,
      payloadHash: payloadHash(text),
      idempotencyKey: idempotencyKey ?? null,
      repeatable: background && idempotencyKey === undefined ? true : this.#isIdempotent(name),
      timeoutMs,
      failures: 0,
      takeovers: 0,
      // A synchronous call is run by whoever stored it.
      fence: background ? 0 : 1,
      dueAt: new Date(this.#worker.now() + (background ? 0 : LEASE_MS)),
      ...NOT_ENDED,
      createdAt: new Date(now),
    };
    if (!background && idempotencyKey === undefined) return this.#callOnce(wanted, signal);
    const { record, isNew } = await this.#invocations.add(wanted);
    if (record.payloadHash !== wanted.payloadHash) {
      throw this.#named(
        new ConnectorError('conflict', 'the idempotency key belongs to a call with another payload'),
      );
    }
    if (background) {
      if (isNew) this.#worker.offer(this);
      return invocationOf(record);
    }
    if (isNew) {
      const running = this.#worker.run(this.#foreground, { ...record, interrupted: false });
      const turn = await unlessAborted(running, signal);
      if (turn && 'end' in turn && turn.thrown) throw turn.thrown;
    }
    return invocationOf(await this.#stored.answered(record.requestId, timeoutMs + ATTEMPT_SLACK_MS, signal));
  }

  /**
   * The stored invocation: every asynchronous one, and synchronous ones with a key, until `result_ttl_seconds` after its end.
   *
   * @throws ConnectorError `not_found`.
   */
  async getResult(requestId: string, { signal }: CallOptions = {}): Promise<Invocation> {
    return invocationOf(await this.#stored.get(requestId, signal));
  }

  /**
   * The same once it has ended, or as it is when `timeoutSeconds` are over: 0 to 900, 30 by default.
   *
   * @throws ConnectorError `not_found`, `cancelled`.
   */
  async waitForResult(
    requestId: string,
    { timeoutSeconds = 30, signal }: CallOptions & { readonly timeoutSeconds?: number | undefined } = {},
  ): Promise<Invocation> {
    if (!(timeoutSeconds >= 0 && timeoutSeconds <= MAX_WAIT_SECONDS))
      throw invalidField('timeoutSeconds', `is 0 to ${MAX_WAIT_SECONDS}`);
    return invocationOf(await this.#stored.ended(requestId, timeoutSeconds * 1_000, signal));
  }

  /**
   * Ends an invocation that has not ended: one that is queued is never run, one that runs is given up, and its platform
   * is told where it takes that. One that has ended is answered as it ended.
   *
   * @throws ConnectorError `not_found`.
   */
  async cancel(requestId: string, { signal }: CallOptions = {}): Promise<Invocation> {
    const known = await this.#stored.get(requestId, signal);
    const end = endedNow('cancelled', {}, known, this.#turnHost);
    const ended = await this.#invocations.cancel(requestId, end);
    if (!ended) return this.getResult(requestId);
    const { record, before } = ended;
    this.#worker.stop(requestId);
    // A best effort: it is cancelled, whatever the platform makes of it.
    if (before.endedAt === null && before.native)
      await this.#calls.stop(record, before.native).catch((error: unknown) => this.recordFailure(error));
    return invocationOf(record);
  }

  /** Invocations that are stored, newest first. @throws ConnectorError `invalid_argument`. */
  async listInvocations({
    function: functionName,
    limit = 100,
    cursor,
    signal,
    ...filter
  }: ListInvocationsOptions = {}): Promise<InvocationPage> {
    if (functionName !== undefined) checkName(functionName, 'function');
    if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) throw invalidField('limit', 'is 1 to 1000');
    if (signal?.aborted) throw this.#named(cancelled(signal));
    const after = cursor === undefined ? undefined : cursorPlace(cursor);
    const found = await this.#invocations.list({ ...filter, functionName, limit, after });
    const last = found.length === limit ? found.at(-1) : undefined;
    return { invocations: found.map(invocationOf), ...(last && { nextCursor: cursorOf(last) }) };
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

  /** What a function wrote, newest last; 100 entries by default. @throws ConnectorError `unsupported` before any I/O. */
  async functionLogs(
    name: string,
    { limit = 100, signal }: CallOptions & { readonly limit?: number | undefined } = {},
  ): Promise<readonly FunctionLog[]> {
    if (!this.#platform.logs) throw this.#named(lacks('logs', 'this platform keeps no logs of functions'));
    checkName(name);
    if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) throw invalidField('limit', 'is 1 to 1000');
    const call = { operation: 'serverless.logs', idempotent: true, signal };
    return this.session.run(call, (client, { signal }) => {
      if (!client.logs) throw lacks('logs', 'this platform keeps no logs of functions');
      return client.logs(name, limit, signal);
    });
  }

  /** For the worker alone. */
  turn(invocation: ClaimedInvocation, signal: AbortSignal): Promise<Turn> {
    return takeTurn(invocation, this.#turnHost, signal);
  }

  /** This connector for a call whose caller waits. */
  get #foreground(): InvocationRunner {
    const { tenantId, connectorId, maxConcurrency } = this;
    const host = { ...this.#turnHost, foreground: true };
    const turn = (invocation: ClaimedInvocation, signal: AbortSignal) => takeTurn(invocation, host, signal);
    return { tenantId, connectorId, maxConcurrency, turn };
  }

  /**
   * For the registry alone: what the platform says of an invocation that it carried on.
   *
   * @returns false where that has ended, or is not known.
   */
  async completed(requestId: string, callback: FunctionCallback): Promise<boolean> {
    // The platform says it once: where a worker takes the invocation up meanwhile, it counts all the same.
    for (;;) {
      const record = await this.#invocations.get(requestId);
      if (!record || record.endedAt !== null) return false;
      if (await this.#worker.end(record, endOf(this.#calls.outcomeOf(callback), record, this.#turnHost)))
        return true;
    }
  }

  /** Parsed once for each configuration: the worker asks at every turn. */
  get #settings(): ServerlessSettings {
    const { settings } = this;
    if (this.#parsed?.of !== settings)
      this.#parsed = { of: settings, settings: parseWith(serverlessSettings, settings) };
    return this.#parsed.settings;
  }

  #timeoutMs(timeoutSeconds = this.config.timeoutSeconds): number {
    const longest = this.#platform.limits.timeoutSeconds;
    if (!(timeoutSeconds > 0 && timeoutSeconds <= longest)) {
      throw invalidField('timeoutSeconds', `is more than 0 and at most ${longest}`);
    }
    return timeoutSeconds * 1000;
  }

  get #turnHost() {
    const { result_ttl_seconds: ttlSeconds } = this.#settings;
    return {
      foreground: false,
      clock: this.#clock,
      random: this.#random,
      retryDelayMs: this.config.retryDelaySeconds * 1_000,
      resultTtlMs: ttlSeconds * 1_000,
      native: this.#platform.native,
      calls: this.#calls,
    };
  }

  /** A synchronous call that nobody can ask about later. */
  async #callOnce(wanted: InvocationRecord, signal: AbortSignal | undefined): Promise<Invocation> {
    const end = await this.#calls.call(wanted, { signal });
    if ('timedOut' in end) throw end.timedOut;
    if ('failure' in end) throw end.failure;
    return { function: wanted.functionName, requestId: wanted.requestId, ...end.outcome };
  }

  #isIdempotent(name: string): boolean {
    return this.#settings.idempotent_functions.some((one) => one === name || one === '*');
  }

  #checkDeploys(): void {
    if (!this.#platform.deploy) throw this.#named(noDeploy());
  }

  #named(error: ConnectorError): ConnectorError {
    return error.onConnector(this.connectorId, this.connectorType, this.name);
  }
}

const NOT_ENDED = {
  native: null,
  result: null,
  resultFile: null,
  error: null,
  logs: null,
  durationMs: null,
  endedAt: null,
  expiresAt: null,
} as const;

/** The answer of work that goes on, or `cancelled` for a caller who gives up. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(cancelled(signal));
    // It may have come while the invocation was being stored.
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function lacks(capability: string, message: string): ConnectorError {
  return new ConnectorError('unsupported', message, { details: { capability } });
}

function noDeploy(): ConnectorError {
  return lacks('deploy', 'this platform does not take functions');
}

function checkName(name: string, field = 'name'): void {
  if (!NAME.test(name)) throw invalidField(field, 'is 1 to 140 letters, digits, _ - . or :');
}

function checkKey(key: string | undefined): void {
  // PostgreSQL stores no NUL.
  if (key !== undefined && (key.length < 1 || key.length > 256 || key.includes('\0'))) {
    throw invalidField('idempotencyKey', 'is 1 to 256 characters, without NUL');
  }
}
