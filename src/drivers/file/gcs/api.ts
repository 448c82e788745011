import type { z } from 'zod';
import { type Clock, type Fetcher, isConnectorError, networkFailure } from '../../../driver.ts';
import { failureOf, notGoogle, type Subject } from './errors.ts';
import type { GcsOptions } from './options.ts';
import type { Tokens } from '../../../clouds/gcp/tokens.ts';

const PIECE_BYTES = 256 * 1024;

/** One request to the JSON API. */
export type ApiRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** From the root of the endpoint, with its parts encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly subject: Subject;
  /** Statuses other than the successes that are an answer. */
  readonly alsoFine?: readonly number[];
};

/** The JSON API of one bucket: answers of the expected shape, or errors of ours. */
export interface Api {
  readonly bucket: string;
  /** An answer whose body is not read yet: read it, or cancel it. */
  send(request: ApiRequest, signal: AbortSignal): Promise<Response>;
  json<Answer>(request: ApiRequest, answer: z.ZodType<Answer>, signal: AbortSignal): Promise<Answer>;
}

/**
 * The JSON API over the guarded network, each request once: only where a token is refused that worked before is the
 * request sent again, with a new one.
 *
 * @throws ConnectorError `auth_failed`, `permission_denied`, `not_found`, `already_exists` and `conflict` by the
 *   request's {@link Subject}, `rate_limited` and `unavailable` with the time of `Retry-After`, `timeout`,
 *   `backend_error`.
 */
export function jsonApi({
  options: { endpoint, bucket, user_project: userProject },
  fetcher,
  tokens,
  clock,
}: {
  readonly options: Pick<GcsOptions, 'endpoint' | 'bucket' | 'user_project'>;
  readonly fetcher: Fetcher;
  readonly tokens: Tokens;
  readonly clock: Clock;
}): Api {
  const origin = new URL(endpoint).origin;
  /** The last tokens that the backend took. */
  const accepted = new Set<string>();

  const attempt = async (
    { method, path, query, headers, body }: ApiRequest,
    token: string | undefined,
    signal: AbortSignal,
  ) =>
    fetcher.fetch(`${origin}${path}${queryString({ ...query, userProject })}`, {
      method,
      signal,
      // The protocol of resumable uploads has its own meaning for 308.
      redirect: 'manual',
      headers: {
        ...headers,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
      },
      ...(body !== undefined && sent(body)),
    });

  const send: Api['send'] = async (request, signal) => {
    try {
      let token = await tokens.current(signal);
      let response = await attempt(request, token, signal);
      if (response.status === 401 && token !== undefined) {
        tokens.forget(token);
        if (accepted.has(token)) {
          await response.body?.cancel();
          token = await tokens.current(signal);
          response = await attempt(request, token, signal);
        }
      }
      const isFine = response.ok || request.alsoFine?.includes(response.status) === true;
      if (!isFine) throw await failureOf(response, request.subject, { clock, token });
      if (token !== undefined) remember(accepted, token);
      return response;
    } catch (error) {
      throw isConnectorError(error) ? error : networkFailure(error, signal);
    }
  };

  return {
    bucket,
    send,
    async json(request, answer, signal) {
      const response = await send(request, signal);
      try {
        return understood(await response.text(), answer);
      } catch (error) {
        throw isConnectorError(error) ? error : networkFailure(error, signal);
      }
    },
  };
}

/** The path of a file in the API; every character that could end a part of it is encoded. */
export function objectPath(bucket: string, name: string): string {
  return `/storage/v1/b/${encodeURIComponent(bucket)}/o/${encodeURIComponent(name)}`;
}

/** @throws ConnectorError `backend_error` for text that is not the JSON of `answer`. */
export function understood<Answer>(text: string, answer: z.ZodType<Answer>): Answer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw notGoogle('it is no JSON');
  }
  const parsed = answer.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw notGoogle(`${issue?.path.join('.') || 'all of it'} ${issue?.message ?? ''}`);
}

/** Large bodies a piece at a time: of bytes in one piece a copy would be made. */
function sent(body: Uint8Array | string): RequestInit {
  if (typeof body === 'string' || body.byteLength <= PIECE_BYTES) return { body: body as string };
  return { body: piecesOf(body) as never, duplex: 'half' };
}

async function* piecesOf(body: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.byteLength; at += PIECE_BYTES) yield body.subarray(at, at + PIECE_BYTES);
}

function remember(accepted: Set<string>, token: string): void {
  accepted.add(token);
  // Calls that are under way may still have the one before.
  for (const oldest of accepted) if (accepted.size > 2) accepted.delete(oldest);
}

function queryString(query: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}
