import type { ErrorCode } from '../errors/codes.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { cancelled } from './clock.ts';

/** The most of a backend's own words that a message repeats, in characters. */
const MAX_QUOTED = 300;

const UNAVAILABLE = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'ENODATA'],
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EADDRNOTAVAIL', 'ENOENT'],
  ...['UND_ERR_SOCKET', 'UND_ERR_CLOSED', 'UND_ERR_DESTROYED', 'ERR_SOCKET_CLOSED'],
]);
/** Of those, the ones that say that no connection was made, so that nothing can have been sent. */
const UNSENT = new Set([
  ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ENODATA', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN'],
  ...['ENETDOWN', 'EADDRNOTAVAIL', 'UND_ERR_CONNECT_TIMEOUT'],
]);
const TIMED_OUT = new Set([
  ...['ETIMEDOUT', 'ESOCKETTIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT'],
  ...['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'],
]);
// The names of OpenSSL's verification errors, Node's own for TLS, and what a port without TLS looks like to it.
const TLS =
  /^(?:CERT_|ERR_TLS_|ERR_SSL_|EPROTO$|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|CRL_)/;

/** Of those, the ones that come before anything is sent; the others may come in the middle of an answer. */
const CERTIFICATE =
  /^(?:CERT_|ERR_TLS_CERT_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|CRL_)/;

/**
 * A failure of the connection as an error of ours, whatever client it came through; `undefined` when it is none.
 *
 * Looks along `cause`, because clients wrap what the socket said. `details.sent` is false where no connection was made.
 */
export function connectionFailure(error: unknown): ConnectorError | undefined {
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 8; depth += 1) {
    if (isConnectorError(at)) return at;
    const { code, cause, errors } = at as { code?: unknown; cause?: unknown; errors?: unknown };
    if (typeof code === 'string') {
      if (TLS.test(code))
        return new ConnectorError(
          'unavailable',
          `the TLS connection was refused (${code})${tlsWords(at, code)}`,
          {
            cause: error,
            details: { backend_code: code, ...(CERTIFICATE.test(code) && { sent: false }) },
          },
        );
      if (TIMED_OUT.has(code))
        return new ConnectorError('timeout', `the backend did not answer in time (${code})`, {
          cause: error,
          ...(UNSENT.has(code) && { details: { sent: false } }),
        });
      if (UNAVAILABLE.has(code))
        return new ConnectorError('unavailable', `the backend cannot be reached (${code})`, {
          cause: error,
          details: { backend_code: code, ...(UNSENT.has(code) && { sent: false }) },
        });
    }
    // Several addresses were tried: the first one's failure speaks for all.
    at = cause ?? (Array.isArray(errors) ? (errors[0] as unknown) : undefined);
  }
  return undefined;
}

/**
 * The same for a call in progress: an aborted signal first, then the connection, and anything else is `backend_error`.
 */
export function networkFailure(error: unknown, signal?: AbortSignal): ConnectorError {
  if (signal?.aborted) return isConnectorError(signal.reason) ? signal.reason : cancelled(signal);
  return (
    connectionFailure(error) ??
    new ConnectorError('backend_error', `the backend failed: ${said(rootOf(error))}`, { cause: error })
  );
}

/** The same failure, of which it is certain that what was asked for was not sent. */
export function unsent(error: ConnectorError): ConnectorError {
  const { code, message, details, issues, cause, retryAfterMs } = error;
  return new ConnectorError(code, message, {
    ...{ issues, details: { ...details, sent: false } },
    ...(cause !== undefined && { cause }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** What an HTTP answer other than a success means. */
export type HttpFailure = {
  readonly status: number;
  /** The backend's own words; cut to 300 characters. */
  readonly message?: string | undefined;
  /** From its `Retry-After`, see `parseRetryAfter`. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
};

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: 'auth_failed',
  403: 'permission_denied',
  404: 'not_found',
  408: 'timeout',
  412: 'conflict',
  413: 'payload_too_large',
  429: 'rate_limited',
  502: 'unavailable',
  503: 'unavailable',
  504: 'timeout',
};

/** The error of an HTTP status: 401 `auth_failed`, 404 `not_found`, 429 `rate_limited`, 503 `unavailable` …, others `backend_error`. */
export function httpFailure({ status, message, retryAfterMs, cause }: HttpFailure): ConnectorError {
  const words = message?.trim() ? `: ${quoted(message)}` : '';
  return new ConnectorError(BY_STATUS[status] ?? 'backend_error', `the backend answered ${status}${words}`, {
    details: { backend_status: status },
    ...(cause !== undefined && { cause }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

// https://grpc.io/docs/guides/status-codes/ (read 2026-11-25)
const BY_GRPC: Readonly<Record<number, ErrorCode>> = {
  1: 'cancelled',
  4: 'timeout',
  5: 'not_found',
  6: 'already_exists',
  7: 'permission_denied',
  8: 'rate_limited',
  14: 'unavailable',
  16: 'auth_failed',
};

/** The error of a gRPC status code: 5 `not_found`, 14 `unavailable`, 16 `auth_failed` …, others `backend_error`. */
export function grpcFailure(code: number, message: string, cause?: unknown): ConnectorError {
  return new ConnectorError(BY_GRPC[code] ?? 'backend_error', `the backend answered: ${quoted(message)}`, {
    details: { backend_status: code },
    ...(cause !== undefined && { cause }),
  });
}

/** A backend's words on one line, cut to 300 characters. */
export function quoted(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > MAX_QUOTED ? `${line.slice(0, MAX_QUOTED - 1)}…` : line;
}

/** The innermost cause: what clients wrap around it is as little as `fetch failed`. */
function rootOf(error: unknown): unknown {
  let at = error;
  for (let depth = 0; depth < 8 && at instanceof Error && at.cause instanceof Error; depth += 1)
    at = at.cause;
  return at;
}

/** What the check of a certificate says is for people; what OpenSSL's own failures say is its source files. */
function tlsWords(error: unknown, code: string): string {
  return /^(?:ERR_SSL_|EPROTO$)/.test(code) ? '' : `: ${said(error)}`;
}

function said(error: unknown): string {
  return quoted(error instanceof Error ? error.message : String(error));
}
