import { answerIn, codeOf, type AwsFailureContext } from '../../../clouds/aws/errors.ts';
import { ConnectorError, isConnectorError, quoted, type ErrorCode } from '../../../driver.ts';

// Codes of `InvokeCommand` and its neighbours in the reference of @aws-sdk/client-lambda 3.1164 (read 2026-11-28); the rest
// goes by status. What ends by itself is `unavailable`. What somebody has to mend at this one function is `backend_error`,
// which neither is retried nor speaks against the other functions.
const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  ResourceNotFoundException: 'not_found',
  TooManyRequestsException: 'rate_limited',
  RequestTooLargeException: 'payload_too_large',
  RequestEntityTooLargeException: 'payload_too_large',
  SerializedRequestEntityTooLargeException: 'payload_too_large',
  InvalidParameterValueException: 'invalid_argument',
  InvalidRequestContentException: 'invalid_argument',
  UnsupportedMediaTypeException: 'invalid_argument',
  ValidationException: 'invalid_argument',
  DurableExecutionAlreadyStartedException: 'conflict',
  AccessDeniedException: 'permission_denied',
  ServiceException: 'unavailable',
  // The function, its network or its snapshot is being made.
  ResourceConflictException: 'unavailable',
  ResourceNotReadyException: 'unavailable',
  ENINotReadyException: 'unavailable',
  SnapStartNotReadyException: 'unavailable',
  SnapStartTimeoutException: 'unavailable',
  CodeArtifactUserPendingException: 'unavailable',
  EC2ThrottledException: 'unavailable',
  EC2UnexpectedException: 'unavailable',
  EFSMountTimeoutException: 'unavailable',
  EFSMountConnectivityException: 'unavailable',
  S3FilesMountTimeoutException: 'unavailable',
  S3FilesMountConnectivityException: 'unavailable',
  // The function cannot run as it is set up.
  EC2AccessDeniedException: 'backend_error',
  EFSIOException: 'backend_error',
  EFSMountFailureException: 'backend_error',
  S3FilesMountFailureException: 'backend_error',
  ENILimitReachedException: 'backend_error',
  SubnetIPAddressLimitReachedException: 'backend_error',
  InvalidRuntimeException: 'backend_error',
  InvalidSecurityGroupIDException: 'backend_error',
  InvalidSubnetIDException: 'backend_error',
  InvalidZipFileException: 'backend_error',
  KMSAccessDeniedException: 'backend_error',
  KMSDisabledException: 'backend_error',
  KMSInvalidStateException: 'backend_error',
  KMSNotFoundException: 'backend_error',
  CodeArtifactUserDeletedException: 'backend_error',
  CodeArtifactUserFailedException: 'backend_error',
  SnapStartException: 'backend_error',
  SnapStartRegenerationFailureException: 'backend_error',
  ModeNotSupportedException: 'backend_error',
  NoPublishedVersionException: 'backend_error',
  RecursiveInvocationException: 'backend_error',
  ServiceQuotaExceededException: 'backend_error',
};

/**
 * "Error codes are reserved for errors that prevent your function from executing":
 * https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (read 2026-11-28). These may all the same come when it has
 * begun: a fault within Lambda, its disk, and its own code that runs when a snapshot is restored.
 */
const MAY_HAVE_RUN: ReadonlySet<string> = new Set([
  'ServiceException',
  'EFSIOException',
  'SnapStartException',
]);

/** A failure of the SDK as an error of ours. `what` is what is not there where Lambda says so. */
export function lambdaFailure(
  error: unknown,
  what: string,
  context: AwsFailureContext,
  signal?: AbortSignal,
): ConnectorError {
  const answer = answerIn(error, context, signal);
  if (isConnectorError(answer)) return answer;
  const { status, code, isTold, isSkewed } = answer;
  if (status >= 200 && status < 300 && !isTold) return notLambda(answer.details);
  const isKnown = Object.hasOwn(BY_CODE, code);
  // Lambda itself has every operation, and says what it does not find.
  if (status === 404 && !isKnown)
    return answer.as('unsupported', 'the endpoint does not know this operation of Lambda');
  const kind = codeOf(answer, BY_CODE);
  const isUnsent = isKnown ? !MAY_HAVE_RUN.has(code) : kind === 'auth_failed' || isSkewed;
  const reason = reasonIn(error);
  const more = { ...(isUnsent && { sent: false }), ...(reason !== undefined && { reason }) };
  return answer.as(kind, kind === 'not_found' ? `there is no ${what}` : undefined, more);
}

/** The error of an answer that is a success and yet not what Lambda says. */
export function notLambda(details: Readonly<Record<string, unknown>> = {}): ConnectorError {
  return new ConnectorError('backend_error', 'the backend does not answer as Lambda does', { details });
}

/** Which of the limits was reached, such as `ReservedFunctionConcurrentInvocationLimitExceeded`. */
function reasonIn(error: unknown): string | undefined {
  // An object, as an answer was made from it.
  const { Reason: reason } = error as { readonly Reason?: unknown };
  return typeof reason === 'string' ? quoted(reason) : undefined;
}
