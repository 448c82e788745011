import { ConnectorError, type ErrorCode, isConnectorError, networkFailure, quoted } from '../../../driver.ts';

// The numbers of SFTP's third version, as ssh2 names them in its own table.
export const NO_SUCH_FILE = 2;
export const PERMISSION_DENIED = 3;
const FAILURE = 4;
export const OP_UNSUPPORTED = 8;

/**
 * What each status means. OpenSSH says FAILURE for everything that has no status of its own (`errno_to_portable` in its
 * sftp-server.c, read 2026-11-27): a name that is taken, a full disk, a quota, a folder in the way. Where it matters the
 * caller looks what is there.
 */
const BY_STATUS: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  [NO_SUCH_FILE]: ['not_found', 'there is no such file'],
  [PERMISSION_DENIED]: ['permission_denied', 'the server refused access'],
  [FAILURE]: ['backend_error', 'the server failed, as it does where its disk or a quota is full'],
  // EINVAL and ENAMETOOLONG of OpenSSH.
  5: ['invalid_argument', 'the server does not take the name, as where it is too long'],
  6: ['unavailable', 'the server has lost its own connection'],
  7: ['unavailable', 'the server has lost its own connection'],
  [OP_UNSUPPORTED]: ['unsupported', 'the server does not offer this operation'],
};

/** The error of a status that the server answered; `mask` takes what is secret out of the server's words. */
export function statusFailure(status: number, words: string, mask: (text: string) => string): ConnectorError {
  const [code, message] = BY_STATUS[status] ?? (['backend_error', 'the server failed'] as const);
  const said = status === NO_SUCH_FILE || status === PERMISSION_DENIED ? '' : `: ${quoted(mask(words))}`;
  return new ConnectorError(code, `${message}${said}`, {
    cause: new Error(mask(words)),
    details: { sftp_status: status },
    ...(code === 'invalid_argument' && { issues: [{ path: 'path', message }] }),
  });
}

/** The status that an error came from; undefined where it came from none. */
export function statusOf(error: unknown): number | undefined {
  const status = isConnectorError(error) ? error.details['sftp_status'] : undefined;
  return typeof status === 'number' ? status : undefined;
}

export function isMissing(error: unknown): boolean {
  return statusOf(error) === NO_SUCH_FILE;
}

export function linkRefused(): ConnectorError {
  const message = 'leads through a link, and links are not followed';
  return new ConnectorError('invalid_argument', `path ${message}`, { issues: [{ path: 'path', message }] });
}

export function noSuchFile(): ConnectorError {
  return new ConnectorError('not_found', 'there is no such file');
}

export function folderInTheWay(): ConnectorError {
  return new ConnectorError('already_exists', 'a folder has this name');
}

export function fileInTheWay(): ConnectorError {
  return new ConnectorError('already_exists', 'a file has the name of one of the folders');
}

export function connectionLost(cause?: unknown): ConnectorError {
  return new ConnectorError('unavailable', 'the connection to the server was lost', { cause });
}

export function lackingExtension(
  capability: string,
  extension: string,
  consequence: string,
  cause?: unknown,
): ConnectorError {
  return new ConnectorError('unsupported', `this server does not offer ${extension}, ${consequence}`, {
    cause,
    details: { capability, extension },
  });
}

/** What a failure of ssh2's connection says besides its message. */
type SshError = Error & { readonly level?: string; readonly code?: unknown };

/** The error of a connection that was open: whoever waited may ask again, unless the server talks nonsense. */
export function lossOf(error: SshError | undefined): ConnectorError {
  if (isConnectorError(error)) return error;
  if (error?.level === 'protocol' || error?.level === 'sftp-protocol')
    return new ConnectorError(
      'backend_error',
      'the server broke the protocol, and the connection was closed',
      {
        cause: error,
      },
    );
  return connectionLost(error);
}

// RFC 4253, 11.1, at https://rfcinfo.com/rfc-4253/11-additional-messages (read 2026-11-27). OpenSSH says PROTOCOL_ERROR (2) after
// too many failed logins.
const BY_DISCONNECT: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  2: ['auth_failed', 'the server ended the login'],
  7: ['unavailable', 'the server offers no service now'],
  10: ['unavailable', 'the server lost the connection'],
  11: ['unavailable', 'the server closed the connection'],
  12: ['unavailable', 'the server has too many connections'],
  13: ['auth_failed', 'the server ended the login'],
  14: ['auth_failed', 'the server takes no other way to log in'],
  15: ['auth_failed', 'the server does not know the user'],
};

/** How far a connection had come when it failed. */
export type DialProgress = {
  /** Set where the key that the server showed is none of those required. */
  readonly refusedKey: string | undefined;
  readonly isHandshaken: boolean;
  /** Whether the server has closed the connection: what ssh2 then calls a fault of the protocol is none. */
  readonly isClosed: boolean;
};

/** The error of a connection that did not come about. What the server said is left out: it was sent the password. */
export function dialFailure(error: SshError, progress: DialProgress, signal: AbortSignal): ConnectorError {
  if (signal.aborted || isConnectorError(error)) return networkFailure(error, signal);
  if (progress.refusedKey !== undefined)
    return new ConnectorError(
      'auth_failed',
      `the server did not prove who it is: it showed the key ${progress.refusedKey}, which is not the host_key`,
      { details: { host_key: progress.refusedKey } },
    );
  if (error.level === 'client-authentication')
    return new ConnectorError('auth_failed', 'the server refused the user or the credentials');
  if (error.level === undefined && typeof error.code === 'number') {
    const [code, message] = (progress.isHandshaken ? BY_DISCONNECT[error.code] : undefined) ?? [
      'unavailable',
      'the server ended the connection',
    ];
    return new ConnectorError(code, message, { details: { ssh_disconnect: error.code } });
  }
  if (error.level === 'protocol' && progress.isClosed)
    return new ConnectorError('unavailable', 'the server closed the connection before it spoke SSH');
  return networkFailure(error, signal);
}
