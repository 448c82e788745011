import {
  ConnectorError,
  httpFailure,
  invalidField,
  isConnectorError,
  networkFailure,
  parseRetryAfter,
  quoted,
  type ErrorCode,
} from '../../../driver.ts';

/** What the failures of one client are told with. */
export type FailureContext = {
  readonly bucket: string;
  readonly region: string;
  /** What no message may repeat, whatever the backend says. */
  readonly secrets: readonly string[];
  readonly now: () => number;
};

// By S3's code where its status would mislead, or where a store gives it another one; the rest goes by status. That an
// internal error is to be tried again: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ErrorBestPractices.html (read 2026-11-27).
const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  InvalidAccessKeyId: 'auth_failed',
  SignatureDoesNotMatch: 'auth_failed',
  InvalidToken: 'auth_failed',
  InvalidClientTokenId: 'auth_failed',
  UnrecognizedClientException: 'auth_failed',
  IncompleteSignature: 'auth_failed',
  InvalidSecurity: 'auth_failed',
  ExpiredToken: 'auth_failed',
  ExpiredTokenException: 'auth_failed',
  TokenRefreshRequired: 'auth_failed',
  AuthorizationHeaderMalformed: 'auth_failed',
  NotSignedUp: 'auth_failed',
  SlowDown: 'rate_limited',
  Throttling: 'rate_limited',
  ThrottlingException: 'rate_limited',
  RequestLimitExceeded: 'rate_limited',
  TooManyRequests: 'rate_limited',
  // The SDK has learned the difference by the time of the next attempt.
  RequestTimeTooSkewed: 'unavailable',
  RequestTimeout: 'unavailable',
  InternalError: 'unavailable',
  ServiceUnavailable: 'unavailable',
  OperationAborted: 'unavailable',
  EntityTooLarge: 'payload_too_large',
  KeyTooLongError: 'invalid_argument',
  NotImplemented: 'unsupported',
};

/** What the SDK's error says of an HTTP answer; every field may be missing in a version to come. */
type Answered = {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly Code?: unknown;
  readonly Region?: unknown;
  /** Only on what S3 itself said, as opposed to an answer that could not be read. */
  readonly $fault?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: unknown; readonly requestId?: unknown };
  readonly $response?: { readonly headers?: Readonly<Record<string, unknown>> };
};

/**
 * A failure of the SDK as an error of ours.
 *
 * The SDK's error is not its cause: it holds what was signed, the signature and the whole answer. What stays of it is
 * its name, its code and its words.
 */
export function s3Failure(error: unknown, context: FailureContext, signal?: AbortSignal): ConnectorError {
  if (isConnectorError(error)) return error;
  if (signal?.aborted || typeof error !== 'object' || error === null) return networkFailure(error, signal);
  const said = error as Answered; // each field is looked at below before it is used
  const status = said.$metadata?.httpStatusCode;
  if (typeof status !== 'number') return withoutAnswer(error);
  const isTold = said.$fault !== undefined;
  const code = isTold ? text(said.Code) || text(said.name) : '';
  const message = isTold ? wordsOf(text(said.message), context.secrets) : '';
  const details = {
    backend_status: status,
    ...(code !== '' && { backend_code: quoted(code) }),
    ...(text(said.$metadata?.requestId) !== '' && { request_id: quoted(text(said.$metadata?.requestId)) }),
  };
  const cause = Object.assign(new Error(message), { name: code || 'S3Error' });
  const made = (kind: ErrorCode, words: string, retryAfterMs?: number) =>
    new ConnectorError(kind, words, { cause, details, ...(retryAfterMs !== undefined && { retryAfterMs }) });

  const elsewhere = otherRegion(said, status, context.region);
  if (elsewhere !== undefined)
    return invalidField('options.region', `is ${elsewhere} for the bucket ${context.bucket}`);
  if (status >= 200 && status < 300 && !isTold) return notS3(details);
  if (code === 'NoSuchBucket') return made('not_found', `there is no bucket ${context.bucket}`);
  if (status === 404) return made('not_found', 'there is no such file');
  if (status === 416) return invalidField('range', 'starts before the end of the file');
  const retryAfterMs = parseRetryAfter(text(said.$response?.headers?.['retry-after']), context.now());
  const byCode = BY_CODE[code];
  const words = `the backend answered ${status}${code && ` ${quoted(code)}`}${message && `: ${message}`}`;
  if (byCode !== undefined) return made(byCode, words, retryAfterMs);
  // What S3 calls an internal error is to be tried again, under whichever name a compatible store gives it.
  if (status === 500) return made('unavailable', words, retryAfterMs);
  return made(httpFailure({ status }).code, words, retryAfterMs);
}

/** The status of the answer that an error of ours was made from, and S3's code in it. */
export function answeredWith(error: unknown): { readonly status?: number; readonly code?: string } {
  if (!isConnectorError(error)) return {};
  const { backend_status: status, backend_code: code } = error.details;
  return {
    ...(typeof status === 'number' && { status }),
    ...(typeof code === 'string' && { code }),
  };
}

/** The error of an answer that is a success and yet not what S3 says. */
export function notS3(details: Readonly<Record<string, unknown>> = {}): ConnectorError {
  return new ConnectorError('backend_error', 'the backend does not answer as S3 does', { details });
}

function withoutAnswer(error: object): ConnectorError {
  const { name, code } = error as { readonly name?: unknown; readonly code?: unknown };
  if (name === 'TimeoutError' && typeof code !== 'string')
    return new ConnectorError('timeout', 'the backend did not answer in time', { cause: error });
  return networkFailure(error);
}

/** The region that the bucket is in, where the answer says so and it is not the one that was signed for. */
function otherRegion(said: Answered, status: number, region: string): string | undefined {
  if (![301, 307, 400].includes(status)) return undefined;
  const named = text(said.$response?.headers?.['x-amz-bucket-region']) || text(said.Region);
  return named !== region && /^[a-z0-9-]{1,64}$/.test(named) ? named : undefined;
}

function wordsOf(message: string, secrets: readonly string[]): string {
  // The SDK's word for an answer without any.
  if (message === 'UnknownError') return '';
  return quoted(secrets.reduce((words, secret) => words.replaceAll(secret, '***'), message));
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
