import { z } from 'zod';
import {
  type Clock,
  ConnectorError,
  type ErrorCode,
  httpFailure,
  isConnectorError,
  parseRetryAfter,
} from '../../../driver.ts';

/** What a request is about, which says what its refusal means. */
export type Subject = {
  readonly bucket: string;
  /** What is missing where the backend says 404. */
  readonly names: 'bucket' | 'file';
  readonly condition?: 'ifNoneMatch' | 'ifMatch' | undefined;
};

// https://developers.google.com/storage/docs/json_api/v1/status-codes (read 2026-11-27)
const failure = z.object({
  error: z.object({
    message: z.string().optional(),
    errors: z.array(z.object({ reason: z.string() })).optional(),
  }),
});
const TOO_MANY = new Set(['rateLimitExceeded', 'userRateLimitExceeded']);

/**
 * The error of an answer that is no success; its body is read to the end. A backend may repeat what it was sent, so that
 * the token is taken out of its words.
 */
export async function failureOf(
  response: Response,
  subject: Subject,
  { clock, token }: { readonly clock: Clock; readonly token: string | undefined },
): Promise<ConnectorError> {
  const { status } = response;
  const text = await response.text();
  const { message, reason } = said(token === undefined ? text : text.replaceAll(token, '***'));
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), clock.now());
  if (status === 404) return missing(subject, message);
  if (status === 412) return unmet(subject);
  const known = httpFailure({ status, message, retryAfterMs });
  return new ConnectorError(codeOf(status, reason) ?? known.code, known.message, {
    details: { backend_status: status, ...(reason !== undefined && { backend_code: reason }) },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** What Google means by some answers, where that is more than the status says in general. */
function codeOf(status: number, reason: string | undefined): ErrorCode | undefined {
  if (reason !== undefined && TOO_MANY.has(reason)) return 'rate_limited';
  // Google's own clients try every 5xx again; 410 is an upload whose session is lost, and begins from the start.
  return status === 410 || status === 500 ? 'unavailable' : undefined;
}

function missing({ bucket, names }: Subject, message: string | undefined): ConnectorError {
  // The reason is `notFound` for both, so that only the words tell them apart; a download's 404 has nothing else.
  const isBucket = names === 'bucket' || /\bbucket does not exist\b/i.test(message ?? '');
  return isBucket
    ? new ConnectorError('not_found', `there is no bucket ${bucket}`, { details: { bucket } })
    : new ConnectorError('not_found', 'there is no such file', { details: { backend_status: 404 } });
}

function unmet({ condition }: Subject): ConnectorError {
  return condition === 'ifNoneMatch'
    ? new ConnectorError('already_exists', 'there is a file already')
    : changed();
}

/** The error of an etag that the file does not have. */
export function changed(): ConnectorError {
  return new ConnectorError('conflict', 'the file is not the one with this etag');
}

/** Whether the bucket answered, and has no such file. */
export function isMissingFile(error: unknown): boolean {
  return isConnectorError(error) && error.code === 'not_found' && error.details['bucket'] === undefined;
}

/** An answer that no Google Cloud Storage would give. */
export function notGoogle(what: string): ConnectorError {
  return new ConnectorError('backend_error', `the backend's answer is not one of Cloud Storage: ${what}`);
}

/** Failures are JSON, and plain text where content was asked for. */
function said(text: string): { readonly message?: string | undefined; readonly reason?: string | undefined } {
  const parsed = failure.safeParse(json(text));
  if (!parsed.success) return /^[^<{]{1,500}$/.test(text) ? { message: text } : {};
  const { message, errors } = parsed.data.error;
  return { message, reason: errors?.[0]?.reason };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
