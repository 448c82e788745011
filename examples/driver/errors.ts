import { ConnectorError, type ErrorCode, isConnectorError } from '../../src/driver.ts';

/** SQLite's primary result codes, https://sqlite.org/rescode.html, read 2026-11-23. */
const BY_RESULT: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  5: ['unavailable', 'another process has locked the database'],
  8: ['permission_denied', 'the database may not be written'],
  10: ['unavailable', 'the disk reported an error'],
  11: ['backend_error', 'the database is damaged; restore it from a backup'],
  13: ['backend_error', 'the disk is full'],
  14: ['unavailable', 'the database cannot be opened'],
  26: ['backend_error', 'the file is no database; restore it from a backup'],
};

/** The failure in the registry's terms. SQLite's own message stays on `cause`, because it may quote values. */
export function sqliteError(error: unknown): ConnectorError {
  if (isConnectorError(error)) return error;
  // The low byte of an extended result code is the primary one.
  const result = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined;
  const [code, message] = BY_RESULT[result ?? -1] ?? ['backend_error', 'SQLite failed'];
  return new ConnectorError(code, message, { cause: error, details: { backendCode: result ?? null } });
}
