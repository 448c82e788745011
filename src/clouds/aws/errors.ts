import {
  connectionFailure,
  ConnectorError,
  httpFailure,
  isConnectorError,
  networkFailure,
  parseRetryAfter,
  quoted,
  type ErrorCode,
} from '../../driver.ts';

/** What the failures of one client are told with. */
export type AwsFailureContext = {
  /** What no message may repeat, whatever the backend says. */
  readonly secrets: readonly string[];
  readonly now: () => number;
};

// What any service of AWS may answer, by its code where the status would mislead; the rest goes by status.
// https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html (read 2026-11-28)
const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  InvalidAccessKeyId: 'auth_failed',
  SignatureDoesNotMatch: 'auth_failed',
  InvalidSignatureException: 'auth_failed',
  InvalidToken: 'auth_failed',
  InvalidClientTokenId: 'auth_failed',
  UnrecognizedClientException: 'auth_failed',
  MissingAuthenticationToken: 'auth_failed',
  MissingAuthenticationTokenException: 'auth_failed',
  IncompleteSignature: 'auth_failed',
  IncompleteSignatureException: 'auth_failed',
  ExpiredToken: 'auth_failed',
  ExpiredTokenException: 'auth_failed',
  OptInRequired: 'auth_failed',
  Throttling: 'rate_limited',
  ThrottlingException: 'rate_limited',
  RequestLimitExceeded: 'rate_limited',
  TooManyRequests: 'rate_limited',
  // The SDK has learned the difference by the time of the next attempt.
  RequestTimeTooSkewed: 'unavailable',
  RequestExpired: 'unavailable',
  RequestTimeout: 'unavailable',
  ServiceUnavailable: 'unavailable',
};

/** What the SDK's error says of an HTTP answer; every field may be missing in a version to come. */
type Said = {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly Code?: unknown;
  /** Only on what the service itself said, as opposed to an answer that could not be read. */
  readonly $fault?: unknown;
  readonly $metadata?: {
    readonly httpStatusCode?: unknown;
    readonly requestId?: unknown;
    readonly clockSkewCorrected?: unknown;
  };
  readonly $response?: { readonly headers?: Readonly<Record<string, unknown>> };
};

/** What an answer of AWS says that is none of those that were hoped for. */
export type AwsAnswer = {
  readonly status: number;
  /** Whether the service itself said it, as opposed to an answer that could not be read. */
  readonly isTold: boolean;
  /** The service's own code, empty where it said none. */
  readonly code: string;
  /** The status, the code and the service's words. */
  readonly words: string;
  /** That the host's clock is what it refused; the SDK goes by the service's from now on. */
  readonly isSkewed: boolean;
  readonly retryAfterMs: number | undefined;
  readonly header: (name: string) => string;
  /** For an error that is made some other way. */
  readonly details: Readonly<Record<string, unknown>>;
  /** The error that it is. */
  readonly as: (code: ErrorCode, words?: string, more?: Readonly<Record<string, unknown>>) => ConnectorError;
};

/**
 * The answer that a failure of the SDK was made from, or the error of ours where there was no answer.
 *
 * The SDK's error is not its cause: it holds what was signed, the signature and the whole answer. What stays of it is
 * its name, its code and its words.
 */
export function answerIn(
  error: unknown,
  { secrets, now }: AwsFailureContext,
  signal?: AbortSignal,
): AwsAnswer | ConnectorError {
  if (signal?.aborted || typeof error !== 'object' || error === null) return networkFailure(error, signal);
  const said = error as Said; // each field is looked at below before it is used
  const bare = bareOf(error);
  if (isConnectorError(bare)) return bare;
  const status = said.$metadata?.httpStatusCode;
  if (typeof status !== 'number') return withoutAnswer(bare);
  const isTold = said.$fault !== undefined;
  // The connection broke within an answer that had begun.
  const broken = isTold ? undefined : connectionFailure(bare);
  if (broken !== undefined) return broken;
  const named = isTold ? text(said.Code) || text(said.name) : '';
  // The SDK's own word for none.
  const code = named === 'Unknown' ? '' : named;
  const message = isTold ? wordsOf(text(said.message), secrets) : '';
  const requestId = text(said.$metadata?.requestId);
  const details = {
    backend_status: status,
    ...(code !== '' && { backend_code: quoted(code) }),
    ...(requestId !== '' && { request_id: quoted(requestId) }),
  };
  const cause = Object.assign(new Error(message), { name: code || 'AwsError' });
  const header = (name: string) => text(said.$response?.headers?.[name]);
  const all = `the backend answered ${status}${code && ` ${quoted(code)}`}${message && `: ${message}`}`;
  const retryAfterMs = parseRetryAfter(header('retry-after'), now());
  return {
    ...{ status, isTold, code, words: all, retryAfterMs, header, details },
    isSkewed: said.$metadata?.clockSkewCorrected === true,
    as: (kind, words = all, more = {}) =>
      new ConnectorError(kind, words, {
        cause,
        details: { ...details, ...more },
        ...(retryAfterMs !== undefined && { retryAfterMs }),
      }),
  };
}

/** What an answer means by its code, the service's own table first, and otherwise by its status. */
export function codeOf(answer: AwsAnswer, own: Readonly<Record<string, ErrorCode>> = {}): ErrorCode {
  const { code, status, isSkewed } = answer;
  const byCode = (Object.hasOwn(own, code) && own[code]) || (Object.hasOwn(BY_CODE, code) && BY_CODE[code]);
  if (byCode) return byCode === 'auth_failed' && isSkewed ? 'unavailable' : byCode;
  // An internal error is to be tried again, under whichever name a compatible service gives it.
  return status === 500 ? 'unavailable' : httpFailure({ status }).code;
}

/** A failure of a service that has no codes of its own here. */
export function awsFailure(error: unknown, context: AwsFailureContext, signal?: AbortSignal): ConnectorError {
  const answer = answerIn(error, context, signal);
  return isConnectorError(answer) ? answer : answer.as(codeOf(answer));
}

/** The error without the answer that the SDK hangs onto it, by which the request and its signature can be reached. */
function bareOf(error: object): object {
  if (!('$response' in error)) return error;
  const { name, code, cause, message } = error as Readonly<Record<string, unknown>>;
  // The SDK adds a line about itself.
  const words = text(message).replace(/\n {2}Deserialization error: [^\n]*$/, '');
  if (!isConnectorError(error)) return Object.assign(new Error(words, { cause }), { name, code });
  const { details, issues, retryAfterMs } = error;
  const kept = { details, issues, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  return new ConnectorError(error.code, words, { cause, ...kept });
}

function withoutAnswer(error: object): ConnectorError {
  const { name, code } = error as { readonly name?: unknown; readonly code?: unknown };
  if (name === 'TimeoutError' && typeof code !== 'string')
    return new ConnectorError('timeout', 'the backend did not answer in time', { cause: error });
  return networkFailure(error);
}

function wordsOf(message: string, secrets: readonly string[]): string {
  // The SDK's word for an answer without any.
  if (message === 'UnknownError') return '';
  return quoted(secrets.reduce((words, secret) => words.replaceAll(secret, '***'), message));
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
