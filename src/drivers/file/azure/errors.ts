import { plainError, transportError } from '../../../clouds/azure/transport.ts';
import {
  ConnectorError,
  httpFailure,
  invalidField,
  isConnectorError,
  networkFailure,
  parseRetryAfter,
  type ErrorCode,
} from '../../../driver.ts';

/** What a request was about, for the words of its failure. */
export type Subject = {
  readonly account: string;
  readonly container: string;
  readonly path?: string | undefined;
  readonly condition?: 'ifNoneMatch' | 'ifMatch' | undefined;
};

const WRONG_CREDENTIALS = 'the backend refused the credentials';
const NO_RIGHT = 'the credentials do not allow this';

// https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes and
// https://learn.microsoft.com/en-ie/dotnet/api/azure.storage.blobs.models.bloberrorcode (read 2026-11-27).
const BY_CODE: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  NoAuthenticationInformation: ['auth_failed', WRONG_CREDENTIALS],
  InvalidAuthenticationInfo: ['auth_failed', WRONG_CREDENTIALS],
  AuthenticationFailed: ['auth_failed', WRONG_CREDENTIALS],
  KeyBasedAuthenticationNotPermitted: ['auth_failed', 'the account takes no account keys'],
  AccountIsDisabled: ['auth_failed', 'the storage account is disabled'],
  AuthorizationFailure: [
    'permission_denied',
    'the account lets nobody in with these credentials, or not from our address',
  ],
  AuthorizationPermissionMismatch: ['permission_denied', NO_RIGHT],
  AuthorizationProtocolMismatch: ['permission_denied', 'the shared access signature is for https alone'],
  AuthorizationResourceTypeMismatch: ['permission_denied', NO_RIGHT],
  AuthorizationServiceMismatch: ['permission_denied', NO_RIGHT],
  AuthorizationSourceIPMismatch: ['permission_denied', 'the credentials are for other addresses than ours'],
  InsufficientAccountPermissions: ['permission_denied', NO_RIGHT],
  BlobImmutableDueToPolicy: ['permission_denied', 'a policy of the container keeps the file as it is'],
  ContainerBeingDeleted: ['unavailable', 'the container is being deleted'],
  BlobArchived: ['invalid_state', 'the file is archived and has to be rehydrated first'],
  BlobBeingRehydrated: ['invalid_state', 'the file is being brought back from the archive'],
  InvalidBlobType: ['conflict', 'there is a blob of another type, which cannot be replaced so'],
  LeaseIdMissing: ['conflict', 'somebody holds a lease on the file'],
  LeaseAlreadyPresent: ['conflict', 'somebody holds a lease on the file'],
  SourceConditionNotMet: ['conflict', 'the file was replaced while it was copied'],
  // A write of the same file that ends earlier takes the blocks of this one away.
  InvalidBlockList: ['conflict', 'another write of the same file ended while this one was under way'],
  RequestBodyTooLarge: ['payload_too_large', 'the file is larger than the backend takes'],
  ServerBusy: ['rate_limited', 'the backend is busy'],
  OperationTimedOut: ['timeout', 'the backend did not finish in time'],
  // The documentation says of it: retry the request.
  InternalError: ['unavailable', 'the backend had an internal error'],
};

/** What the client's own errors have, as far as it is used here. */
type RestFailure = {
  readonly code?: unknown;
  readonly statusCode?: unknown;
  readonly response?: { readonly headers?: { get?: (name: string) => string | undefined } };
};

/**
 * A failure of the client as an error of ours. Azure's own words are left out: those for a wrong signature repeat it,
 * and what the server computed from the request.
 */
export function azureError(
  error: unknown,
  subject: Subject,
  { signal, nowMs }: { readonly signal: AbortSignal; readonly nowMs: number },
): ConnectorError {
  if (signal.aborted) return networkFailure(error, signal);
  if (isConnectorError(error)) return error;
  const { statusCode, code: said, response } = error as RestFailure;
  if (typeof statusCode !== 'number') return transportError(error, notAzure);
  if (statusCode < 300) return notAzure();
  const header = (name: string): string | undefined => response?.headers?.get?.(name);
  const named = header('x-ms-error-code') ?? said;
  const code = codeOf(named, header('server'));
  const meant = conditionError(code, statusCode, subject) ?? missingError(code, statusCode, subject);
  if (meant !== undefined) return meant;
  if (statusCode === 416) return outOfRange();
  if (NAME_REFUSED.has(code)) return invalidField('path', `is a name that Azure refuses (${code})`);
  const retryAfterMs = parseRetryAfter(header('retry-after'), nowMs);
  const [known, words] = BY_CODE[code] ?? [];
  if (known === undefined)
    return httpFailure({ status: statusCode, message: code, retryAfterMs, cause: plainError(error, code) });
  return new ConnectorError(known, `${words} (${code})`, {
    cause: plainError(error, code),
    details: { backend_status: statusCode, backend_code: code },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** Azure's word for what went wrong. Azurite has another one for a wrong signature, which in Azure means its firewall. */
function codeOf(named: unknown, server = ''): string {
  if (typeof named !== 'string' || !/^[A-Za-z]{1,80}$/.test(named)) return '';
  return named === 'AuthorizationFailure' && server.startsWith('Azurite-') ? 'AuthenticationFailed' : named;
}

const NAME_REFUSED = new Set(['InvalidResourceName', 'InvalidUri', 'RequestUrlFailedToParse']);

function conditionError(
  code: string,
  status: number,
  { condition, path }: Subject,
): ConnectorError | undefined {
  const isUnmet =
    code === 'ConditionNotMet' || code === 'TargetConditionNotMet' || code === 'BlobAlreadyExists';
  if (condition === 'ifNoneMatch' && isUnmet)
    return new ConnectorError('already_exists', 'there is a file already', { details: { path } });
  if (condition === 'ifMatch' && (isUnmet || code === 'BlobNotFound'))
    return new ConnectorError('conflict', 'the file is not the one that has the etag', { details: { path } });
  return isUnmet && status === 412
    ? new ConnectorError('conflict', 'the file was replaced meanwhile', { details: { path } })
    : undefined;
}

function missingError(
  code: string,
  status: number,
  { account, container, path }: Subject,
): ConnectorError | undefined {
  if (code === 'ContainerNotFound')
    return new ConnectorError(
      'not_found',
      `there is no container ${container} in the account ${account}; create it, or name another`,
      { details: { container } },
    );
  // A failed HEAD has no body, and a service in between may leave out the header.
  if (
    path !== undefined &&
    (code === 'BlobNotFound' || code === 'ResourceNotFound' || (code === '' && status === 404))
  )
    return noSuchFile(path);
  return undefined;
}

export function notAzure(): ConnectorError {
  return new ConnectorError('backend_error', 'the backend answered what Azure Blob Storage would not');
}

export function noSuchFile(path: string): ConnectorError {
  return new ConnectorError('not_found', 'there is no such file', { details: { path } });
}

export function outOfRange(): ConnectorError {
  return invalidField('range', 'starts at or after the end of the file');
}
