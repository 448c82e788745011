import { ConnectorError, isConnectorError } from '../../../driver.ts';

export const DATABASE_FILE = 'vectors.db';

// Primary result codes: https://www.sqlite.org/rescode.html, read 2026-11-22.
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IO_ERROR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

/** A failure of SQLite or of the file system as one of ours; `owner` names the process that has the file open. */
export function databaseError(error: unknown, owner: () => string = () => 'unknown'): ConnectorError {
  if (isConnectorError(error)) return error;
  switch (resultCode(error)) {
    case BUSY:
    case LOCKED:
      return new ConnectorError(
        'invalid_state',
        `${DATABASE_FILE} is open already, in the process ${owner()}; stop that one or use another data directory`,
        { cause: error },
      );
    case CORRUPT:
    case NOT_A_DATABASE:
      return damaged(error);
    case FULL:
      return new ConnectorError('unavailable', 'the disk is full; nothing was written, free some space', {
        cause: error,
      });
    case READONLY:
    case IO_ERROR:
    case CANNOT_OPEN:
      return new ConnectorError(
        'unavailable',
        `${DATABASE_FILE} cannot be read or written; check the disk and its permissions`,
        {
          cause: error,
        },
      );
    default:
      return new ConnectorError('internal', `${DATABASE_FILE} refused a statement`, { cause: error });
  }
}

/** The error of content that is not what was written. */
export function damaged(cause?: unknown): ConnectorError {
  return new ConnectorError(
    'internal',
    `${DATABASE_FILE} is damaged; restore it from a backup, or delete the connector and write its vectors anew`,
    { cause },
  );
}

function resultCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('errcode' in error && typeof error.errcode === 'number') return error.errcode & 0xff;
  if (!('code' in error)) return undefined;
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') return FULL;
  return typeof error.code === 'string' && /^E[A-Z]+$/.test(error.code) ? IO_ERROR : undefined;
}
