import { httpFailure, quoted } from '../../contract/backend-error.ts';
import { beginningOf, bodyWithin } from '../../contract/body-within.ts';
import { parseRetryAfter } from '../../contract/retry-after.ts';
import { ConnectorError } from '../../errors/error.ts';
import type { ClientInvocation, FunctionFailure, InvocationOutcome, JsonValue } from './driver.ts';

/** Statuses that are not the function's own word: who is asked refuses, is not there, or is too busy. */
const OF_THE_PLATFORM: ReadonlySet<number> = new Set([401, 403, 404, 408, 413, 429, 502, 503, 504]);

/** What a function behind HTTP answered, read whole. */
export type HttpAnswer = {
  readonly status: number;
  readonly headers: Pick<Headers, 'get'>;
  readonly body: Uint8Array;
};

/** Of what tells of a failure: more is not read. */
export const MAX_FAILURE_BYTES = 262_144;

/** The answer with its body; of a failure, which is none of the function's results, only the beginning. */
export async function httpAnswer(response: Response, maxBytes: number): Promise<HttpAnswer> {
  const { ok, status, headers } = response;
  const body = ok ? bodyWithin(response, maxBytes) : beginningOf(response, MAX_FAILURE_BYTES);
  return { status, headers, body: await body };
}

/**
 * The headers that tell a function behind HTTP which invocation this is, the same for each attempt.
 *
 * `Idempotency-Key` is that of draft-ietf-httpapi-idempotency-key-header-07, a string in the structured syntax.
 */
export function invocationHeaders({
  requestId,
}: Pick<ClientInvocation, 'requestId'>): Record<string, string> {
  return { 'x-request-id': requestId, 'idempotency-key': `"${requestId}"` };
}

/**
 * How a function behind HTTP ended: a success is its result, and any failure that is its own is `failed` with the
 * error that its answer tells.
 *
 * @throws ConnectorError as `httpFailure` for what the platform says in the function's place: `auth_failed` for 401 and
 *   403, `not_found`, `rate_limited`, `unavailable`, `timeout`; `backend_error` for a redirect.
 */
export function httpOutcome(
  name: string,
  { status, headers, body }: HttpAnswer,
  nowMs: number,
): InvocationOutcome {
  const type = headers.get('content-type') ?? '';
  if (status >= 200 && status < 300) return resultOf(type, body);
  if (status < 400)
    throw new ConnectorError('backend_error', `function ${name} answered a redirect (${status})`);
  const text = new TextDecoder().decode(body);
  if (!OF_THE_PLATFORM.has(status)) return { status: 'failed', error: failureIn(status, type, text) };
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), nowMs);
  const failure = httpFailure({ status, message: text, retryAfterMs });
  if (status !== 403) throw failure;
  throw new ConnectorError('auth_failed', failure.message, { details: failure.details });
}

/** JSON as it is, any other text as a string, nothing as null; bytes are no result. */
function resultOf(type: string, body: Uint8Array): InvocationOutcome {
  if (body.byteLength === 0) return { status: 'completed', result: null };
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    // It came out of JSON.parse.
    return { status: 'completed', result: isJson(type) ? (JSON.parse(text) as JsonValue) : text };
  } catch {
    const message = `answered ${body.byteLength} bytes that are not ${isJson(type) ? 'JSON' : 'text'}`;
    return { status: 'failed', error: { name: 'ResultError', message } };
  }
}

/** What the answer tells of the error: as an object in one of the shapes in use, or as text. */
function failureIn(status: number, type: string, text: string): FunctionFailure {
  const told = isJson(type) ? toldIn(text) : undefined;
  return told ?? { name: 'HttpError', message: `answered ${status}${text ? `: ${quoted(text)}` : ''}` };
}

function toldIn(text: string): FunctionFailure | undefined {
  try {
    const value = JSON.parse(text) as { readonly error?: unknown } | null;
    return failureOf(value) ?? failureOf(value?.error);
  } catch {
    return undefined;
  }
}

/**
 * An error in the shape of JavaScript (`name`, `message`, `stack`) or of AWS Lambda (`errorType`, `errorMessage`, and
 * `trace` from Node or `stackTrace` from its other runtimes); `undefined` for anything else.
 *
 * https://docs.aws.amazon.com/lambda/latest/dg/nodejs-exceptions.html,
 * https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html (both read 2026-11-28)
 */
export function failureOf(value: unknown): FunctionFailure | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, message, stack, errorType, errorMessage, stackTrace, trace } = value as Record<
    string,
    unknown
  >;
  const said = message ?? errorMessage;
  if (typeof said !== 'string') return undefined;
  const type = name ?? errorType;
  const lines = stackTrace ?? trace;
  const where = stack ?? (Array.isArray(lines) ? lines.map(frameOf).join('\n') : lines);
  return {
    name: typeof type === 'string' && type !== '' ? type.slice(0, 200) : 'Error',
    message: said.slice(0, 4_000),
    ...(typeof where === 'string' && where !== '' && { stack: where.slice(0, 16_000) }),
  };
}

/** A line of a stack; Go has objects of it: https://docs.aws.amazon.com/lambda/latest/dg/golang-exceptions.html (read 2026-11-28). */
function frameOf(frame: unknown): string {
  if (typeof frame !== 'object' || frame === null) return String(frame);
  const { label, path, line } = frame as Record<string, unknown>;
  return `    at ${String(label)} (${String(path)}:${String(line)})`;
}

function isJson(type: string): boolean {
  return /^[\w.-]+\/(?:[\w.-]+\+)?json(?:$|[; ])/i.test(type.trim());
}
