import { z } from 'zod';
import {
  ConnectorError,
  httpFailure,
  isConnectorError,
  networkFailure,
  parseRetryAfter,
  type Clock,
  type Fetcher,
} from '../../../driver.ts';
import type { QdrantOptions } from './options.ts';

/** One request. */
export type Call<Answer> = {
  readonly method: 'GET' | 'PUT' | 'POST';
  /** Below the endpoint; each part is encoded. */
  readonly path: readonly string[];
  readonly query?: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly body?: string;
  /** The shape of `result` in the answer, or of the whole answer where there is none. */
  readonly answer: z.ZodType<Answer>;
};

/** The REST API: an answer of the expected shape, or an error of ours. */
export type Api = <Answer>(call: Call<Answer>, signal: AbortSignal) => Promise<Answer>;

/**
 * The REST API over the guarded network.
 *
 * @throws ConnectorError `auth_failed` for 401 and 403, `not_found`, `rate_limited` with the time of its `Retry-After`,
 *   `unavailable`, `timeout`, and `backend_error` for every other failure and for answers that are not Qdrant's.
 */
export function restApi(
  { endpoint, api_key }: Pick<QdrantOptions, 'endpoint' | 'api_key'>,
  fetcher: Fetcher,
  clock: Clock,
): Api {
  const base = endpoint.replace(/\/+$/, '');
  const headers = {
    accept: 'application/json',
    ...(api_key !== undefined && { 'api-key': api_key }),
  };
  return async ({ method, path, query, body, answer }, signal) => {
    const parameters = query ? `?${new URLSearchParams(query).toString()}` : '';
    const url = `${base}/${path.map(encodeURIComponent).join('/')}${parameters}`;
    try {
      const response = await fetcher.fetch(url, {
        method,
        signal,
        headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
        ...(body !== undefined && { body }),
      });
      const text = await response.text();
      if (!response.ok) throw refused(response, text, clock);
      return understood(text, answer);
    } catch (error) {
      throw isConnectorError(error) ? error : networkFailure(error, signal);
    }
  };
}

function refused({ status, headers }: Response, text: string, clock: Clock): ConnectorError {
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), clock.now());
  const failure = httpFailure({ status, message: said(text), retryAfterMs });
  // 403 is a key that may do less than what was asked: to read only, or another collection.
  if (status !== 403) return failure;
  return new ConnectorError('auth_failed', failure.message, { details: { backend_status: status } });
}

/** Failures are `{ status: { error } }`; those of authentication are plain text. */
function said(text: string): string | undefined {
  const failure = failed.safeParse(json(text));
  if (failure.success) return failure.data.status.error;
  return text.trimStart().startsWith('<') ? undefined : text;
}
const failed = z.object({ status: z.object({ error: z.string() }) });

function understood<Answer>(text: string, answer: z.ZodType<Answer>): Answer {
  const value = json(text);
  const parsed = answer.safeParse(
    typeof value === 'object' && value !== null && 'result' in value ? value.result : value,
  );
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ConnectorError(
    'backend_error',
    `the backend's answer is not one of Qdrant: ${issue?.path.join('.') || 'all of it'} ${issue?.message ?? ''}`,
    { cause: parsed.error },
  );
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
