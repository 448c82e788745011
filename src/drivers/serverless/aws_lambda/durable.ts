import type { ErrorObject, GetDurableExecutionCommandOutput } from '@aws-sdk/client-lambda';
import {
  ConnectorError,
  failureOf,
  isConnectorError,
  unsent,
  type ClientInvocation,
  type Clock,
  type JsonValue,
  type NativeOutcome,
  type NativeRun,
} from '../../../driver.ts';
import type { LambdaApi } from './api.ts';
import { notLambda } from './errors.ts';
import { parsed, type Calling } from './invoke.ts';
import { EVENT_BYTES } from './sdk.ts';
import { UNPUBLISHED, type FunctionTarget } from './target.ts';

/** How long a function's kind is believed. It is settled when a function is created, so that only another one in its place differs. */
const KIND_FOR_MS = 300_000;
const MAX_KINDS = 1000;
const KIND = 'durable execution';

type Kind = { readonly isDurable: boolean; readonly untilMs: number };

/** Which functions are durable, as their configuration says. */
export class FunctionKinds {
  readonly #api: LambdaApi;
  readonly #clock: Clock;
  readonly #known = new Map<string, Kind>();
  #isDenied = false;

  constructor(api: LambdaApi, clock: Clock) {
    this.#api = api;
    this.#clock = clock;
  }

  /** Whether a configuration could not be read for want of rights, so that durable functions pass for ordinary ones. */
  get isDenied(): boolean {
    return this.#isDenied;
  }

  async isDurable({ name, qualifier }: FunctionTarget, signal: AbortSignal): Promise<boolean> {
    const key = `${name}:${qualifier ?? ''}`;
    const nowMs = this.#clock.monotonicMs();
    const known = this.#known.get(key);
    if (known !== undefined && known.untilMs > nowMs) return known.isDurable;
    const isDurable = await this.#ask({ name, qualifier }, signal);
    this.#known.delete(key);
    // The oldest goes.
    const [oldest] = this.#known.size >= MAX_KINDS ? this.#known.keys() : [];
    if (oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(key, { isDurable, untilMs: nowMs + KIND_FOR_MS });
    return isDurable;
  }

  async #ask({ name, qualifier }: FunctionTarget, signal: AbortSignal): Promise<boolean> {
    const { GetFunctionConfigurationCommand } = this.#api.sdk;
    const command = new GetFunctionConfigurationCommand({ FunctionName: name, Qualifier: qualifier });
    try {
      const { DurableConfig } = await this.#api.ask(command, `function ${name}`, signal);
      this.#isDenied = false;
      return DurableConfig !== undefined && DurableConfig !== null;
    } catch (error) {
      if (!isConnectorError(error)) throw error;
      if (error.code === 'permission_denied') this.#isDenied = true;
      // Emulators know no configurations.
      else if (error.code !== 'unsupported') throw unsent(error);
      return false;
    }
  }
}

/**
 * Starts a durable execution. Its name is the invocation's id, by which Lambda starts one alone however often it is told:
 * https://docs.aws.amazon.com/lambda/latest/dg/durable-execution-idempotency.html (read 2026-11-28).
 */
export async function startExecution(
  { api, tenantId }: Calling,
  { name, qualifier }: FunctionTarget,
  payload: JsonValue,
  { requestId }: Pick<ClientInvocation, 'requestId'>,
  signal: AbortSignal,
): Promise<NativeRun> {
  const text = JSON.stringify(payload);
  if (Buffer.byteLength(text) > EVENT_BYTES)
    throw new ConnectorError(
      'payload_too_large',
      `the payload of a durable function is at most ${EVENT_BYTES} bytes of JSON`,
      { details: { limitBytes: EVENT_BYTES } },
    );
  const command = new api.sdk.InvokeCommand({
    FunctionName: name,
    // https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html (read 2026-11-28)
    Qualifier: qualifier ?? UNPUBLISHED,
    InvocationType: 'Event',
    DurableExecutionName: requestId,
    TenantId: tenantId,
    Payload: text,
  });
  const { DurableExecutionArn } = await api.run(command, `function ${name}`, signal);
  if (!DurableExecutionArn) throw notLambda();
  return { kind: KIND, id: DurableExecutionArn };
}

/** How an execution ended; `undefined` while it runs. */
export async function followExecution(
  api: LambdaApi,
  run: NativeRun,
  signal: AbortSignal,
): Promise<NativeOutcome | undefined> {
  // While it runs, its payload would come with every answer.
  if (!(await hasEnded(api, run, signal))) return undefined;
  const answer = await execution(api, run, true, signal);
  const { Status, Error: error, Result, StartTimestamp, EndTimestamp } = answer;
  const durationMs = EndTimestamp && StartTimestamp && EndTimestamp.getTime() - StartTimestamp.getTime();
  const ended = { ...(durationMs !== undefined && durationMs >= 0 && { durationMs }) };
  if (Status === 'SUCCEEDED') return { ...completed(Result ?? ''), ...ended };
  const failure = error && failureOf(asFailure(error));
  const told = { ...ended, ...(failure && { error: failure }) };
  if (Status === 'TIMED_OUT') return { status: 'timed_out', ...told };
  if (Status === 'STOPPED') return { status: 'cancelled', ...told };
  return { status: 'failed', error: { name: 'Error', message: 'failed without a word' }, ...told };
}

/** Asks Lambda to stop an execution that runs. */
export async function stopExecution(api: LambdaApi, run: NativeRun, signal: AbortSignal): Promise<void> {
  const command = new api.sdk.StopDurableExecutionCommand({
    DurableExecutionArn: run.id,
    // For whoever looks at its history.
    Error: { ErrorType: 'Cancelled', ErrorMessage: 'cancelled through its connector' },
  });
  try {
    await api.ask(command, KIND, signal);
  } catch (error) {
    if (!isConnectorError(error)) throw error;
    if (error.code === 'not_found') return;
    // What Lambda says of one that has ended is written nowhere: whether this is it shows itself.
    const mayHaveEnded = error.code === 'invalid_argument' || error.code === 'conflict';
    if (!mayHaveEnded || !(await hasEnded(api, run, signal))) throw error;
  }
}

async function hasEnded(api: LambdaApi, run: NativeRun, signal: AbortSignal): Promise<boolean> {
  const { Status } = await execution(api, run, false, signal);
  return Status === 'SUCCEEDED' || Status === 'FAILED' || Status === 'TIMED_OUT' || Status === 'STOPPED';
}

async function execution(
  api: LambdaApi,
  run: NativeRun,
  withData: boolean,
  signal: AbortSignal,
): Promise<GetDurableExecutionCommandOutput> {
  const command = new api.sdk.GetDurableExecutionCommand({
    DurableExecutionArn: run.id,
    IncludeExecutionData: withData,
  });
  const answer = await api.ask(command, KIND, signal);
  if (typeof answer.Status !== 'string') throw notLambda();
  return answer;
}

function completed(result: string): NativeOutcome {
  const value = parsed(result);
  if (value !== undefined) return { status: 'completed', result: value };
  const message = `answered ${Buffer.byteLength(result)} bytes that are not JSON`;
  return { status: 'failed', error: { name: 'ResultError', message } };
}

function asFailure({ ErrorType, ErrorMessage, StackTrace }: ErrorObject) {
  return { errorType: ErrorType, errorMessage: ErrorMessage ?? '', stackTrace: StackTrace };
}
