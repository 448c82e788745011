import { answerIn, codeOf, type AwsAnswer, type AwsFailureContext } from '../../../clouds/aws/errors.ts';
import { ConnectorError, invalidField, isConnectorError, type ErrorCode } from '../../../driver.ts';

/** What the failures of one client are told with. */
export type FailureContext = AwsFailureContext & {
  readonly bucket: string;
  readonly region: string;
};

// By S3's code where its status would mislead, or where a store gives it another one; the rest goes by status. That an
// internal error is to be tried again: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ErrorBestPractices.html (read 2026-11-27).
const BY_CODE: Readonly<Record<string, ErrorCode>> = {
  InvalidSecurity: 'auth_failed',
  TokenRefreshRequired: 'auth_failed',
  AuthorizationHeaderMalformed: 'auth_failed',
  NotSignedUp: 'auth_failed',
  SlowDown: 'rate_limited',
  InternalError: 'unavailable',
  OperationAborted: 'unavailable',
  EntityTooLarge: 'payload_too_large',
  KeyTooLongError: 'invalid_argument',
  NotImplemented: 'unsupported',
};

/** A failure of the SDK as an error of ours. */
export function s3Failure(error: unknown, context: FailureContext, signal?: AbortSignal): ConnectorError {
  const answer = answerIn(error, context, signal);
  if (isConnectorError(answer)) return answer;
  const { status, code, isTold } = answer;
  const elsewhere = otherRegion(error, answer, context.region);
  if (elsewhere !== undefined)
    return invalidField('options.region', `is ${elsewhere} for the bucket ${context.bucket}`);
  if (status >= 200 && status < 300 && !isTold) return notS3(answer.details);
  if (code === 'NoSuchBucket') return answer.as('not_found', `there is no bucket ${context.bucket}`);
  if (status === 404) return answer.as('not_found', 'there is no such file');
  if (status === 416) return invalidField('range', 'starts before the end of the file');
  return answer.as(codeOf(answer, BY_CODE));
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

/** The region that the bucket is in, where the answer says so and it is not the one that was signed for. */
function otherRegion(error: unknown, { status, header }: AwsAnswer, region: string): string | undefined {
  if (![301, 307, 400].includes(status)) return undefined;
  // An object, as an answer was made from it; what it says is looked at below.
  const { Region: said } = error as { readonly Region?: unknown };
  const named = header('x-amz-bucket-region') || (typeof said === 'string' ? said : '');
  return named !== region && /^[a-z0-9-]{1,64}$/.test(named) ? named : undefined;
}
