import type { InvokeCommandOutput } from '@aws-sdk/client-lambda';
import {
  ConnectorError,
  failureOf,
  type ClientInvocation,
  type FunctionFailure,
  type InvocationOutcome,
  type JsonValue,
} from '../../../driver.ts';
import type { LambdaApi } from './api.ts';
import { resultTooLarge } from './sdk.ts';
import type { FunctionTarget } from './target.ts';

/** What every call is made with. */
export type Calling = { readonly api: LambdaApi; readonly tenantId: string | undefined };

/** Runs the function and waits for its end; one that is known to be durable bears the invocation's id as its name. */
export async function invoke(
  { api, tenantId }: Calling,
  { name, qualifier, isDurable = false }: FunctionTarget & { readonly isDurable?: boolean },
  payload: JsonValue,
  { requestId }: Pick<ClientInvocation, 'requestId'>,
  signal: AbortSignal,
): Promise<InvocationOutcome> {
  const command = new api.sdk.InvokeCommand({
    FunctionName: name,
    Qualifier: qualifier,
    ...(isDurable && { DurableExecutionName: requestId }),
    InvocationType: 'RequestResponse',
    LogType: 'Tail',
    ClientContext: clientContext(requestId),
    TenantId: tenantId,
    Payload: JSON.stringify(payload),
  });
  return outcomeOf(name, await api.run(command, `function ${name}`, signal));
}

/**
 * What the function finds as `context.clientContext`. The member is called `custom` in every runtime:
 * https://docs.aws.amazon.com/lambda/latest/dg/python-context.html (read 2026-11-28).
 */
export function clientContext(requestId: string): string {
  return Buffer.from(JSON.stringify({ custom: { request_id: requestId } })).toString('base64');
}

function outcomeOf(name: string, answer: InvokeCommandOutput): InvocationOutcome {
  const { FunctionError, LogResult } = answer;
  // The SDK has null for a body that is empty.
  const payload = answer.Payload ?? new Uint8Array();
  const logs = LogResult ? { logs: Buffer.from(LogResult, 'base64').toString('utf8') } : {};
  const value = parsed(payload);
  if (FunctionError) return { status: 'failed', error: failureIn(name, value, FunctionError), ...logs };
  if (value !== undefined) return { status: 'completed', result: value, ...logs };
  const message = `answered ${payload.byteLength} bytes that are not JSON`;
  return { status: 'failed', error: { name: 'ResultError', message }, ...logs };
}

/** The JSON value of a payload, which is null where it is empty; `undefined` where it is no JSON, which a custom runtime may answer. */
export function parsed(payload: Uint8Array | string): JsonValue | undefined {
  try {
    const text =
      typeof payload === 'string' ? payload : new TextDecoder('utf-8', { fatal: true }).decode(payload);
    // It came out of JSON.parse.
    return text === '' ? null : (JSON.parse(text) as JsonValue);
  } catch {
    return undefined;
  }
}

/**
 * What the function threw, or what Lambda says in its place.
 *
 * @throws ConnectorError `timeout` where it ran longer than its own limit, `payload_too_large` where its result is.
 */
function failureIn(name: string, value: JsonValue | undefined, kind: string): FunctionFailure {
  const failure = failureOf(value);
  const type = failure?.name ?? '';
  if (type === 'Sandbox.Timedout' || (type === 'Error' && isBareTimeout(value))) throw ranTooLong(name);
  if (type === 'Function.ResponseSizeTooLarge') throw resultTooLarge();
  if (failure !== undefined) return failure;
  const { errorType } = (value ?? {}) as { readonly errorType?: unknown };
  return {
    name: typeof errorType === 'string' && errorType !== '' ? errorType.slice(0, 200) : 'Error',
    message:
      value === undefined || value === null
        ? `${kind}, without a word`
        : JSON.stringify(value).slice(0, 4000),
  };
}

/**
 * Functions that Lambda ended before it gave them a type say so in words alone:
 * https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html (read 2026-11-28).
 */
function isBareTimeout(value: JsonValue | undefined): boolean {
  const { errorType, errorMessage } = (value ?? {}) as {
    readonly errorType?: unknown;
    readonly errorMessage?: unknown;
  };
  return (
    errorType === undefined &&
    typeof errorMessage === 'string' &&
    /^\S+ [0-9a-f-]{36} Task timed out after [\d.]+ seconds$/.test(errorMessage.trim())
  );
}

function ranTooLong(name: string): ConnectorError {
  return new ConnectorError('timeout', `function ${name} ran longer than its own limit at Lambda`, {
    details: { backend_code: 'Sandbox.Timedout' },
  });
}
