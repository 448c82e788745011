import {
  ConnectorError,
  failureOf,
  httpFailure,
  httpOutcome,
  parseRetryAfter,
  quoted,
  type FunctionFailure,
  type InvocationOutcome,
} from '../../../driver.ts';

/** What the gateway answered to a call, with the body as text where it is of a failure. */
export type CallAnswer = {
  readonly status: number;
  readonly headers: Pick<Headers, 'get'>;
  readonly body: Uint8Array;
};

const TEXT = new TextDecoder();
/** What a proxy, the gateway or the watchdog says in the function's place, where nothing tells that it was the function. */
const OF_THE_PLATFORM: ReadonlySet<number> = new Set([401, 403, 404, 408, 413, 429, 502, 503, 504]);
/**
 * Of these, the ones that mean the same whoever says them: older watchdogs mark their own in no way (executor/http_runner.go of
 * https://github.com/openfaas/of-watchdog, read 2026-11-28), and a function that is too busy says 429 to be called again later
 * (https://docs.openfaas.com/openfaas-pro/retries/, read 2026-11-28).
 */
const FOR_LATER: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

/**
 * The header with which a part of OpenFaaS marks an error that is not the function's: `proxy`, `of-watchdog`,
 * `faas-middleware`.
 *
 * "Whenever a Core Component of OpenFaaS emits a HTTP error status code along with a X-OpenFaaS-Internal header",
 * https://docs.openfaas.com/openfaas-pro/retries/; `proxyRequest` in
 * https://github.com/openfaas/faas-provider/blob/master/proxy/proxy.go (both read 2026-11-28)
 */
const INTERNAL = 'x-openfaas-internal';
/** Set by the watchdog inside the function, https://github.com/openfaas/of-watchdog/blob/master/executor/http_runner.go (read 2026-11-28). */
const DURATION = 'x-duration-seconds';
/**
 * Set by the gateway on what it passes on to a function, and not on what it says before, such as that there is no such
 * function: `MakeCallIDMiddleware` is inside of `MakeScalingHandler`,
 * https://github.com/openfaas/faas/blob/master/gateway/main.go and gateway/handlers/callid_middleware.go (read 2026-11-28).
 */
const START = 'x-start-time';
const CALL_ID = 'x-call-id';

/** Whether the function itself answered, by its watchdog's word. */
export function isOfTheFunction(headers: Pick<Headers, 'get'>): boolean {
  return headers.get(DURATION) !== null && headers.get(INTERNAL) === null;
}

/** Whether the provider found no replica to send the call to, which means that no function has seen it. */
export function hasNoEndpoint({ status, headers }: CallAnswer): boolean {
  return status === 503 && headers.get(INTERNAL) === 'proxy';
}

/**
 * How a call ended.
 *
 * @throws ConnectorError `auth_failed`, `not_found`, `rate_limited`, `unavailable`, `timeout` for what OpenFaaS says in the
 *   function's place; `backend_error` for a redirect, and for what is no answer of a gateway.
 */
export function outcomeOfAnswer(name: string, answer: CallAnswer, nowMs: number): InvocationOutcome {
  const { status, headers, body } = answer;
  const durationMs = millisecondsOf(headers.get(DURATION));
  const timed = durationMs === undefined ? {} : { durationMs };
  if (status < 400) {
    if (status === 200 && body.byteLength === 0 && !wasPassedOn(headers)) throw notStarted(name);
    return { ...successOf(name, answer, nowMs), ...timed };
  }
  const text = TEXT.decode(body);
  if (isFailureOfTheFunction(status, headers))
    return { status: 'failed', error: failureIn(status, text), ...timed };
  if (OF_THE_PLATFORM.has(status)) return httpOutcome(name, answer, nowMs);
  throw refusalOf({ status, headers }, text, nowMs);
}

/**
 * A success. JSON that cannot be read is text: an answer without a type is given that of the request, which is JSON
 * (`getContentType` in https://github.com/openfaas/faas-provider/blob/master/proxy/proxy.go, read 2026-11-28).
 */
export function successOf(name: string, answer: CallAnswer, nowMs: number): InvocationOutcome {
  const outcome = httpOutcome(name, answer, nowMs);
  if (outcome.status === 'completed') return outcome;
  return httpOutcome(name, { ...answer, headers: { get: () => null } }, nowMs);
}

/** What a function's failure says of itself. */
export function failureIn(status: number, text: string): FunctionFailure {
  return (
    toldIn(text) ?? { name: 'HttpError', message: `answered ${status}${text ? `: ${quoted(text)}` : ''}` }
  );
}

/** The error of an answer that is the gateway's own, or of what stands before it. */
export function refusalOf(
  { status, headers }: Pick<CallAnswer, 'status' | 'headers'>,
  message: string,
  nowMs: number,
): ConnectorError {
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), nowMs);
  const waiting = retryAfterMs === undefined ? {} : { retryAfterMs };
  const failure = httpFailure({ status, message, ...waiting });
  // 500 is how the gateway passes on that its provider, its queue or the cluster behind it failed.
  if (failure.code !== 'backend_error' || status < 500) return failure;
  const details = { backend_status: status };
  return new ConnectorError('unavailable', failure.message, { details, ...waiting });
}

/** Seconds with a fraction, as OpenFaaS writes them; the first of several, where each part added its own. */
export function millisecondsOf(seconds: string | null | undefined): number | undefined {
  const [first = ''] = seconds?.split(',') ?? [];
  const ms = first.trim() === '' ? Number.NaN : Number(first) * 1000;
  return ms >= 0 && Number.isFinite(ms) ? ms : undefined;
}

function isFailureOfTheFunction(status: number, headers: Pick<Headers, 'get'>): boolean {
  const internal = headers.get(INTERNAL);
  // The watchdog says 500 when the function's process broke off: a crash is the function's.
  if (internal !== null) return status === 500 && internal.includes('watchdog');
  if (!wasPassedOn(headers)) return false;
  if (FOR_LATER.has(status)) return false;
  return isOfTheFunction(headers) || !OF_THE_PLATFORM.has(status);
}

function wasPassedOn(headers: Pick<Headers, 'get'>): boolean {
  return [START, DURATION, CALL_ID].some((name) => headers.get(name) !== null);
}

/**
 * A gateway that waited in vain for a replica writes nothing, which is a success without a body (the end of
 * `MakeScalingHandler`, https://github.com/openfaas/faas/blob/master/gateway/handlers/scaling.go, read 2026-11-28).
 */
function notStarted(name: string): ConnectorError {
  return new ConnectorError('timeout', `function ${name} was not started in time`, {
    details: { sent: false },
  });
}

function toldIn(text: string): FunctionFailure | undefined {
  try {
    const value = JSON.parse(text) as { readonly error?: unknown } | null;
    return failureOf(value) ?? failureOf(value?.error);
  } catch {
    return undefined;
  }
}
