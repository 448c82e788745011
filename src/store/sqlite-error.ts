import { ConnectorError, isConnectorError } from '../errors/error.ts';

// https://www.sqlite.org/rescode.html, read 2026-11-23
const ERROR = 1;
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;
const CONSTRAINT_FOREIGNKEY = 787;
const CONSTRAINT_PRIMARYKEY = 1555;
const CONSTRAINT_UNIQUE = 2067;

/** What SQLite threw, as an error of ours that names the file and never the statement's values. */
export function sqliteError(cause: unknown, file: string): ConnectorError {
  if (isConnectorError(cause)) return cause;
  const thrown = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (thrown === 'ERR_INVALID_STATE')
    return new ConnectorError('invalid_state', 'the store is closed', { cause });
  // An integer that JavaScript cannot hold; the store writes none.
  if (thrown === 'ERR_OUT_OF_RANGE') return damagedFile(file, cause);
  const code = extendedCode(cause);
  const options = { cause, details: { sqliteCode: code ?? null } };
  switch (code) {
    case CONSTRAINT_PRIMARYKEY:
    case CONSTRAINT_UNIQUE:
      return new ConnectorError('already_exists', 'an id or a name is taken', options);
    case CONSTRAINT_FOREIGNKEY:
      return new ConnectorError('not_found', 'the connector does not exist', options);
  }
  switch (primaryCode(cause)) {
    // The store's statements are constant and tested: one that does not compile meets a schema that is not ours.
    case ERROR:
    case CORRUPT:
    case NOTADB:
      return damagedFile(file, cause);
    case FULL:
      return new ConnectorError('unavailable', `the disk is full: ${file} cannot grow`, options);
    case IOERR:
    case CANTOPEN:
      return new ConnectorError('unavailable', `the disk failed to read or write ${file}`, options);
    case READONLY:
      return new ConnectorError('unavailable', `${file} may not be written by this process`, options);
    case BUSY:
    case LOCKED:
      return new ConnectorError('unavailable', `${file} is locked by another process`, options);
    default:
      return new ConnectorError('internal', `the store failed on ${file}`, options);
  }
}

/** The error of a database file that cannot be trusted. */
export function damagedFile(file: string, cause?: unknown): ConnectorError {
  return new ConnectorError('internal', `the database file ${file} is damaged; restore it from a backup`, {
    cause,
  });
}

/** True where SQLite could not take a lock that another connection holds. */
export function isBusy(error: unknown): boolean {
  const code = primaryCode(error);
  return code === BUSY || code === LOCKED;
}

/** True where the disk, or the database, has no room left. */
export function isFull(error: unknown): boolean {
  return primaryCode(error) === FULL;
}

function primaryCode(error: unknown): number | undefined {
  const code = extendedCode(error);
  return code === undefined ? undefined : code & 0xff;
}

function extendedCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode : undefined;
}
