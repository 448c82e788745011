import { ConnectorError, type ErrorCode, invalidField, isConnectorError } from '../../../driver.ts';

/**
 * What each failure of the file system means. A full disk is `backend_error`, not `unavailable`: the breaker must not
 * open over it, because reads and deletes go on, and writes resume the moment there is room.
 */
const BY_ERRNO: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ['not_found', 'there is no such file'],
  ENOTDIR: ['not_found', 'there is no such file'],
  EISDIR: ['not_found', 'there is no such file'],
  ENXIO: ['not_found', 'there is no such file'],
  EEXIST: ['already_exists', 'there is a file'],
  ENOSPC: ['backend_error', 'the disk is full'],
  EDQUOT: ['backend_error', 'the disk quota is used up'],
  EFBIG: ['payload_too_large', 'the file is larger than the file system allows'],
  EROFS: ['permission_denied', 'the file system is read-only'],
  EACCES: ['permission_denied', 'the file system refused access'],
  EPERM: ['permission_denied', 'the file system refused access'],
  EMFILE: ['unavailable', 'too many files are open'],
  ENFILE: ['unavailable', 'too many files are open'],
  EIO: ['unavailable', 'the disk reported an error'],
  ESTALE: ['unavailable', 'the file system went away'],
  EXDEV: ['unsupported', 'the two folders lie on different file systems'],
};

/** The error in our terms; one of ours is left as it is. Names no path: the host's folders are nobody's business. */
export function fileError(error: unknown): ConnectorError {
  if (isConnectorError(error)) return error;
  const errno = errnoOf(error);
  if (errno === 'ELOOP') return linkRefused(error);
  if (errno === 'ENAMETOOLONG')
    return invalidField('path', 'has a name that is too long for the file system');
  const [code, message] = BY_ERRNO[errno] ?? ['backend_error', 'the file system failed'];
  return new ConnectorError(code, message, { cause: error, details: { errno } });
}

/** The same for a write, where a folder or file in the way is what is wrong. */
export function writeError(error: unknown): ConnectorError {
  if (isConnectorError(error)) return error;
  const errno = errnoOf(error);
  if (errno === 'EISDIR' || errno === 'ENOTEMPTY') return inTheWay('a folder has this name', error);
  if (errno === 'ENOTDIR') return inTheWay('a file has the name of one of the folders', error);
  return fileError(error);
}

/** The system's name of the failure, such as `ENOENT`; empty for what is none. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** True where the failure says that there is no file, whatever stands in its place. */
export function isMissing(error: unknown): boolean {
  return isConnectorError(error)
    ? error.code === 'not_found'
    : ['ENOENT', 'ENOTDIR', 'EISDIR', 'ENXIO'].includes(errnoOf(error));
}

export function linkRefused(cause?: unknown): ConnectorError {
  const message = 'leads through a link, and links are not followed';
  return new ConnectorError('invalid_argument', `path ${message}`, {
    cause,
    issues: [{ path: 'path', message }],
  });
}

export function noSuchFile(): ConnectorError {
  return new ConnectorError('not_found', 'there is no such file');
}

/** Ends work whose caller has gone. @throws ConnectorError `cancelled`. */
export function stopIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new ConnectorError('cancelled', 'the caller ended the call', { cause: signal.reason });
}

function inTheWay(message: string, cause: unknown): ConnectorError {
  return new ConnectorError('already_exists', message, { cause });
}
