import {
  ConnectorError,
  grpcFailure,
  isConnectorError,
  networkFailure,
  quoted,
  type ErrorCode,
} from '../../../driver.ts';

// Milvus' own codes: pkg/util/merr/errors.go of https://github.com/milvus-io/milvus (read 2026-11-25). Those without a
// row are `backend_error`.
const BY_CODE: Readonly<Record<number, ErrorCode>> = {
  1: 'unavailable', // service not ready
  2: 'unavailable', // service unavailable
  4: 'rate_limited', // request limit exceeded
  8: 'rate_limited', // rate limit exceeded
  100: 'not_found', // collection not found
  101: 'invalid_state', // collection not loaded
  103: 'unavailable', // collection not fully loaded
  106: 'unavailable', // collection on recovering
  202: 'unavailable', // partition not fully loaded
  401: 'unavailable', // replica not available
  503: 'unavailable', // channel not available
  601: 'unavailable', // segment not loaded
  800: 'not_found', // database not found
  902: 'unavailable', // node offline
  905: 'unavailable', // node not available
  1400: 'auth_failed', // not authenticated
  1401: 'permission_denied', // privilege not permitted
  1800: 'auth_failed', // user hasn't authenticated
  10001: 'timeout',
};
/** The bit that older servers set in the code of an error that may be retried. */
const RETRIABLE = 1 << 16;

const REMEDIES: Readonly<Record<number, string>> = {
  100: 'the collection is gone; test the connector to make it anew',
  101: 'the collection was released; load it, or connect again',
  800: 'the database is not there; create it, or name another',
};

/**
 * Checks the status in an answer.
 *
 * @throws ConnectorError of Milvus' own code; `backend_error` where there is no status.
 */
export function checkStatus(status: unknown): void {
  const { error_code: legacy, code: raw, reason } = fieldsOf(status);
  if (typeof raw !== 'number' || typeof legacy !== 'string') throw nonsense(status);
  if (raw === 0 && legacy === 'Success') return;
  throw statusFailure(raw & ~RETRIABLE, typeof reason === 'string' ? reason : legacy);
}

/** Milvus' own code in the status of an answer; 0 is success, `undefined` no status. */
export function codeOf(status: unknown): number | undefined {
  const { code } = fieldsOf(status);
  return typeof code === 'number' ? code & ~RETRIABLE : undefined;
}

function statusFailure(code: number, reason: string): ConnectorError {
  const remedy = REMEDIES[code];
  const words = remedy ? `${remedy}: ${quoted(reason)}` : `the backend answered: ${quoted(reason)}`;
  return new ConnectorError(BY_CODE[code] ?? 'backend_error', words, { details: { backend_code: code } });
}

/** Whatever the SDK threw, as an error of ours. */
export function milvusFailure(error: unknown, signal: AbortSignal): ConnectorError {
  if (signal.aborted) return networkFailure(error, signal);
  if (isConnectorError(error)) return error;
  const { code, details, status } = fieldsOf(error);
  if (error instanceof Error && typeof code === 'number' && typeof details === 'string')
    return callFailure(code, details, error);
  // The SDK throws a whole answer where an inner request failed.
  if (codeOf(status) !== undefined) {
    try {
      checkStatus(status);
    } catch (failure) {
      return milvusFailure(failure, signal);
    }
  }
  return error instanceof TypeError ? nonsense(error) : networkFailure(error, signal);
}

function callFailure(code: number, details: string, cause: unknown): ConnectorError {
  // The call was not given up here, so somebody on the way ended it.
  if (code === 1)
    return new ConnectorError('unavailable', 'the backend ended the call', {
      cause,
      details: { backend_status: code },
    });
  // gRPC has no code for a peer that speaks another protocol: to it, that is a connection which failed. The words are
  // those of the HTTP/2 library in Node.
  if (code === 14 && /Protocol error|NGHTTP2_PROTOCOL_ERROR/.test(details))
    return new ConnectorError('backend_error', 'the backend does not speak gRPC', {
      cause,
      details: { backend_status: code },
    });
  return grpcFailure(code, details, cause);
}

/** An answer without the shape that the contract promises. */
export function nonsense(cause: unknown): ConnectorError {
  return new ConnectorError('backend_error', 'the backend gave an answer that is not of Milvus', { cause });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
