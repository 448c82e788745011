import {
  connectionFailure,
  ConnectorError,
  networkFailure,
  quoted,
  type ErrorCode,
} from '../../../driver.ts';

/** What the server itself said, as `pg` throws it. */
export type DatabaseError = Error & { readonly severity: string; readonly code: string };

export function isDatabaseError(error: unknown): error is DatabaseError {
  const { severity, code } = (error ?? {}) as { readonly severity?: unknown; readonly code?: unknown };
  return error instanceof Error && typeof severity === 'string' && typeof code === 'string';
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html (read 2026-11-25); the first prefix that fits decides.
const BY_STATE: readonly (readonly [string, ErrorCode])[] = [
  ['28', 'auth_failed'],
  ['3D000', 'not_found'],
  ['3F000', 'not_found'],
  ['42P01', 'not_found'],
  ['42501', 'permission_denied'],
  // The table or the extension is not what it was when the connector was opened.
  ['42703', 'invalid_state'],
  ['42704', 'invalid_state'],
  ['42883', 'invalid_state'],
  ['57014', 'timeout'],
  ['57P', 'unavailable'],
  ['55P03', 'unavailable'],
  ['53', 'unavailable'],
  ['08', 'unavailable'],
  // A deadlock, or a conflict of transactions: nothing was done, and it may be repeated.
  ['40', 'unavailable'],
  // Read-only: a standby that takes over soon, or a server that has run out of space.
  ['25006', 'unavailable'],
  ['22', 'invalid_argument'],
  ['23', 'invalid_argument'],
  ['54', 'invalid_argument'],
];

// Failures that `pg` itself notices have no code, so there is nothing but words to go by.
const BY_WORDS: readonly (readonly [RegExp, ErrorCode, string])[] = [
  [/SSL connection/, 'unavailable', 'the server did not agree on TLS; ssl says what is asked of it'],
  [/^SASL:|password must be/i, 'auth_failed', 'the password was not accepted, or is missing'],
  [/time-?out/i, 'timeout', 'the server did not answer in time'],
  [/terminated|connection error|not queryable|was closed/i, 'unavailable', 'the connection was lost'],
];

/** Whatever a statement or a connection failed with, as an error of ours; an aborted signal comes first. */
export function failure(error: unknown, signal?: AbortSignal): ConnectorError {
  if (signal?.aborted) return networkFailure(error, signal);
  if (isDatabaseError(error)) {
    const [, code] = BY_STATE.find(([prefix]) => error.code.startsWith(prefix)) ?? ['', 'backend_error'];
    return new ConnectorError(code, `the database answered ${error.code}: ${quoted(error.message)}`, {
      cause: error,
      details: { backend_code: error.code },
    });
  }
  const known = connectionFailure(error);
  if (known) return known;
  const words = error instanceof Error ? error.message : '';
  const match = BY_WORDS.find(([pattern]) => pattern.test(words));
  if (match) return new ConnectorError(match[1], `${match[2]}: ${quoted(words)}`, { cause: error });
  return networkFailure(error);
}
