import { z } from 'zod';
import {
  bodyWithin,
  type Clock,
  ConnectorError,
  type Fetcher,
  httpFailure,
  isConnectorError,
  networkFailure,
  parseRetryAfter,
} from '../../driver.ts';
import type { FetchedToken } from './tokens.ts';

/** Beyond any token, and what a metadata service says of a machine: the endpoint may be anybody's. */
const MAX_ANSWER_BYTES = 262_144;
/** The one token endpoint that google-auth-library knows, whatever a key says. */
export const GOOGLE_TOKEN_ENDPOINT = 'https://oauth2.googleapis.com/token';

/** A `fetch` that fails with an error of ours for every answer that is no success. */
export type TokenFetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/**
 * The only way of everything that fetches tokens, google-auth-library included, which would otherwise dial by itself,
 * use a proxy of the environment, repeat, and keep what it sent in its errors.
 */
export function tokenFetch(
  fetcher: Fetcher,
  clock: Clock,
  tokenEndpoint = GOOGLE_TOKEN_ENDPOINT,
): TokenFetch {
  return async (url, { method = 'GET', headers, body, signal } = {}) => {
    const to = String(url) === GOOGLE_TOKEN_ENDPOINT ? tokenEndpoint : String(url);
    let response: Response;
    try {
      const answer = await fetcher.fetch(to, {
        method,
        headers: [...new Headers(headers)],
        ...(body !== undefined && body !== null && { body: typeof body === 'string' ? body : textOf(body) }),
        ...(signal && { signal }),
      });
      // Read here: what breaks off in the library's hands is an error that keeps the request.
      const text = new TextDecoder().decode(await bodyWithin(answer, MAX_ANSWER_BYTES));
      response = new Response(text, { status: answer.status, headers: answer.headers });
    } catch (error) {
      if (isConnectorError(error) && error.code === 'payload_too_large') throw noToken();
      throw networkFailure(error, signal ?? undefined);
    }
    if (!response.ok) throw await refused(response, clock);
    return response;
  };
}

/** The answer of a token endpoint: https://www.rfc-editor.org/rfc/rfc6749#section-5.1 */
export const tokenAnswer = z.object({ access_token: z.string().min(1), expires_in: z.number().positive() });

/** @throws ConnectorError `backend_error` for an answer that holds no token. */
export async function answeredToken(response: Response): Promise<FetchedToken> {
  const answer = tokenAnswer.safeParse(await response.json().catch(() => undefined));
  if (!answer.success) throw noToken();
  return { token: answer.data.access_token, lifeMs: answer.data.expires_in * 1000 };
}

const expiring = z.object({ exp: z.number().positive() });

/**
 * An ID token as Google has signed it. Of what it says only its end is read, and nothing is verified: who it is meant for
 * does that.
 *
 * @throws ConnectorError `backend_error` for text that is none.
 */
export function idToken(text: string): FetchedToken {
  try {
    const claims = expiring.parse(JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString()));
    return { token: text, lifeMs: Math.max(0, claims.exp * 1000 - Date.now()) };
  } catch {
    throw noToken();
  }
}

/** A success that is none. */
export function noToken(): ConnectorError {
  return new ConnectorError('backend_error', "the token endpoint's answer holds no token");
}

/** https://www.rfc-editor.org/rfc/rfc6749#section-5.2: the code is shown, the rest is not. */
const refusal = z.object({ error: z.string().regex(/^[a-z_]{1,64}$/) });

async function refused(response: Response, clock: Clock): Promise<ConnectorError> {
  const body = refusal.safeParse(await response.json().catch(() => undefined));
  const { status } = response;
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), clock.now());
  const failure = httpFailure({ status, message: 'to the request for a token', retryAfterMs });
  if (status !== 400 && status !== 401 && status !== 404) return failure;
  const said = body.success ? ` (${body.data.error})` : '';
  return new ConnectorError('auth_failed', `the token endpoint refused the credentials${said}`, {
    details: { backend_status: status, ...(body.success && { backend_code: body.data.error }) },
  });
}

function textOf(body: NonNullable<RequestInit['body']>): string {
  if (body instanceof URLSearchParams) return body.toString();
  throw new ConnectorError('internal', 'a request for a token has a body of an unknown kind');
}

/** The error of ours that the library wrapped. */
export function ownError(error: unknown): ConnectorError | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; depth += 1, at = at.cause)
    if (isConnectorError(at)) return at;
  return undefined;
}
