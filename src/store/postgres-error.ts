import { ConnectorError, isConnectorError } from '../errors/error.ts';

/** PostgreSQL needs one to three seconds to be back after a crash. */
const RETRY_AFTER_MS = 1_000;

/** What PostgreSQL or its client threw, as an error of ours; it never holds the address, which may hold a password. */
export function postgresError(cause: unknown): ConnectorError {
  if (isConnectorError(cause)) return cause;
  const code = codeOf(cause);
  const options = { cause, details: { postgresCode: code ?? null } };
  const unavailable = (message: string) =>
    new ConnectorError('unavailable', message, { ...options, retryAfterMs: RETRY_AFTER_MS });
  // https://www.postgresql.org/docs/14/errcodes-appendix.html, read 2026-11-28
  switch (code) {
    case '23505':
      return new ConnectorError('already_exists', 'an id or a name is taken', options);
    case '23503':
      return new ConnectorError('not_found', 'the connector does not exist', options);
    case '22021':
    case '22P05':
      return new ConnectorError('invalid_argument', 'PostgreSQL stores no text with a NUL', options);
    case '28000':
    case '28P01':
      return unavailable('the database refused the user or the password of the store');
    case '3D000':
      return unavailable('the database of the store does not exist');
    case '42501':
      return unavailable('the user of the store lacks a privilege in the database');
    case '57014':
    case '55P03':
      return unavailable('the database took too long, or another transaction held what the statement needs');
    case '40001':
    case '40P01':
      return unavailable('the database gave up a transaction in favour of another');
    case '0A000':
    case '26000':
      return unavailable('the tables of the store were changed by another version of this program');
    case '53100':
      return unavailable('the disk of the database is full');
    case '53300':
      return unavailable('the database has no connection left');
  }
  // The pool's own error has no code.
  if (cause instanceof Error && cause.message === 'timeout exceeded when trying to connect')
    return unavailable('all connections of the store to its database are in use');
  if (isLost(cause)) return unavailable('the database of the store cannot be reached');
  return new ConnectorError('internal', 'the store failed on its database', options);
}

/** True where the connection is of no use any more. */
export function isLost(error: unknown): boolean {
  const code = codeOf(error);
  // Of the server: it has a code of five characters. All else is the client's, about the connection.
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return true;
  return code.startsWith('08') || code.startsWith('57P') || code.startsWith('XX') || code.startsWith('25P03');
}

/** True where a statement was compiled for tables that have changed since, or is compiled no more, and was not run. */
export function isOutdated(error: unknown): boolean {
  const code = codeOf(error);
  return code === '0A000' || code === '26000';
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
