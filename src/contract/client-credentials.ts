import { z } from 'zod';
import type { ErrorCode } from '../errors/codes.ts';
import { ConnectorError, invalidField, isConnectorError } from '../errors/error.ts';
import { networkFailure, unsent } from './backend-error.ts';
import { bodyWithin } from './body-within.ts';
import type { Clock } from './clock.ts';
import type { Fetcher } from './network.ts';
import { parseRetryAfter } from './retry-after.ts';

/** A client of an authorization server, as it was registered there. */
export type ClientCredentialsOptions = {
  /** See {@link tokenUrl}. */
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Separated by spaces; the server's default unless given. */
  readonly scope?: string | undefined;
  /** Which API the token is for, at servers that ask for it. It is no parameter of RFC 6749. */
  readonly audience?: string | undefined;
  /** Whether the client says who it is in the header, as each server must take it, or in the form; `basic` unless given. */
  readonly clientAuth?: 'basic' | 'post' | undefined;
  /** Over `context.network`; whoever owns it closes it, which also ends a request for a token. */
  readonly fetch: Fetcher['fetch'];
  readonly clock: Clock;
};

/** Where the calls of one client get their access token. */
export interface AccessTokens {
  /**
   * A token that is good for now. It is fetched once for all who wait, and whoever gives up leaves it to the others.
   *
   * @throws ConnectorError with `details.sent: false`, as no call was made yet: `auth_failed` when the server refuses the
   *   client, `rate_limited`, `unavailable`, `timeout`, `backend_error` for what is no answer to a request for a token.
   */
  token(signal: AbortSignal): Promise<string>;
  /**
   * Drops the token that the backend has refused, so that the next call fetches another. With `refused` only where that
   * is the one at hand: of many callers who were refused at once, all but the first come too late.
   */
  forget(refused?: string): void;
}

type Token = { readonly text: string; readonly endsAtMs: number; renewAtMs: number };

/** What one request for a token may take, whoever waits for it. */
const ATTEMPT_MS = 30_000;
/** A token that is this near to its end, or in the last quarter of its life, is renewed while it is used. */
const RENEW_BEFORE_MS = 60_000;
/** A call may be under way for so long when it is looked at: a token with less, or a tenth of its life, is not handed out. */
const UNUSABLE_BEFORE_MS = 10_000;
/** Between attempts to renew a token that is good for a while yet. */
const RENEW_AGAIN_MS = 5_000;
/** Of a token whose server says nothing of its end, which RFC 6749 section 5.1 allows. */
const LIFE_MS = 300_000;
const MAX_ANSWER_BYTES = 65_536;

// RFC 6749 section 5.2, https://www.rfc-editor.org/rfc/rfc6749#section-5.2. No other word of the
// server is repeated, because some repeat what they were sent.
const REFUSALS: ReadonlySet<unknown> = new Set([
  ...['invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type'],
  'invalid_scope',
]);

/**
 * An option that is the address of a token endpoint: `https`, because the client's secret is sent there (RFC 6749
 * section 3.2 requires TLS), or `http` on this machine; without a user, and without a fragment.
 */
export function tokenUrl(): z.ZodString {
  return z
    .string()
    .max(2048)
    .refine(isTokenUrl, 'is an https URL without a user and a fragment; http is for this machine alone');
}

/**
 * Access tokens by the client credentials grant of OAuth 2.0, for a service that acts for itself.
 *
 * https://www.rfc-editor.org/rfc/rfc6749#section-4.4
 *
 * @throws ConnectorError `invalid_argument` for an address that a secret must not be sent to.
 */
export function clientCredentials(options: ClientCredentialsOptions): AccessTokens {
  const { clock } = options;
  if (!isTokenUrl(options.tokenUrl)) throw invalidField('token_url', 'is an https URL');
  let held: Token | undefined;
  let fetching: Promise<Token> | undefined;

  const renew = (): Promise<Token> =>
    (fetching ??= fetchToken(options)
      .then((fresh) => (held = fresh))
      .finally(() => (fetching = undefined)));

  return {
    async token(signal) {
      if (signal.aborted) throw networkFailure(signal.reason, signal);
      const nowMs = clock.monotonicMs();
      const current = held;
      if (current === undefined || nowMs >= current.endsAtMs)
        return (await unlessAborted(renew(), signal)).text;
      // The one at hand is good for a while yet, so nobody waits for the next, or hears that there was none.
      if (nowMs >= current.renewAtMs) {
        current.renewAtMs = nowMs + RENEW_AGAIN_MS;
        renew().catch(() => {});
      }
      return current.text;
    },
    forget(refused) {
      if (refused === undefined || held?.text === refused) held = undefined;
    },
  };
}

/** One request, which belongs to no caller: it ends by itself. */
async function fetchToken(options: ClientCredentialsOptions): Promise<Token> {
  const { clock } = options;
  const attempt = new AbortController();
  const stop = clock.inBackground(ATTEMPT_MS, () =>
    attempt.abort(new ConnectorError('timeout', 'the token endpoint did not answer in time')),
  );
  const startedMs = clock.monotonicMs();
  try {
    const response = await options.fetch(options.tokenUrl, { ...request(options), signal: attempt.signal });
    const answer = parsed(await bodyWithin(response, MAX_ANSWER_BYTES).catch(noAnswer));
    if (!response.ok) throw refusal(response, answer['error'], clock.now());
    return tokenIn(answer, startedMs);
  } catch (error) {
    throw unsent(isConnectorError(error) ? error : networkFailure(error, attempt.signal));
  } finally {
    stop();
  }
}

function noAnswer(error: unknown): never {
  if (!isConnectorError(error)) throw error;
  throw new ConnectorError('backend_error', 'the token endpoint answered no bearer token', { cause: error });
}

function request(options: ClientCredentialsOptions): RequestInit {
  const { clientId, clientSecret, scope, audience, clientAuth = 'basic' } = options;
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    ...(scope !== undefined && { scope }),
    ...(audience !== undefined && { audience }),
    ...(clientAuth === 'post' && { client_id: clientId, client_secret: clientSecret }),
  });
  const headers = {
    accept: 'application/json',
    ...(clientAuth === 'basic' && { authorization: basic(clientId, clientSecret) }),
  };
  return { method: 'POST', headers, body };
}

/** Both halves are encoded as in a form first, https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1. */
function basic(clientId: string, clientSecret: string): string {
  const encoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);
  return `Basic ${Buffer.from(`${encoded(clientId)}:${encoded(clientSecret)}`).toString('base64')}`;
}

/** https://www.rfc-editor.org/rfc/rfc6749#section-5.1; some servers write the time as text, or no type. */
function tokenIn(answer: Readonly<Record<string, unknown>>, startedMs: number): Token {
  const { access_token: text, token_type: type = 'Bearer', expires_in } = answer;
  const lifeMs = expires_in === undefined || expires_in === null ? LIFE_MS : Number(expires_in) * 1000;
  const isBearer = typeof type === 'string' && type.toLowerCase() === 'bearer';
  // A header takes it as it is: https://www.rfc-editor.org/rfc/rfc6750#section-2.1.
  if (typeof text !== 'string' || !/^[\x21-\x7e]+$/.test(text) || !isBearer || !(lifeMs >= 0))
    throw new ConnectorError('backend_error', 'the token endpoint answered no bearer token');
  return {
    text,
    endsAtMs: startedMs + lifeMs - Math.min(UNUSABLE_BEFORE_MS, lifeMs / 10),
    renewAtMs: startedMs + lifeMs - Math.min(RENEW_BEFORE_MS, lifeMs / 4),
  };
}

function refusal({ status, headers }: Response, error: unknown, nowMs: number): ConnectorError {
  const isKnown = REFUSALS.has(error);
  if (isKnown || status === 401 || status === 403) {
    const words = isKnown ? `: ${String(error)}` : '';
    return new ConnectorError('auth_failed', `the token endpoint refused the client (${status})${words}`, {
      details: { backend_status: status },
    });
  }
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), nowMs);
  return new ConnectorError(codeOf(status), `the token endpoint answered ${status}`, {
    details: { backend_status: status },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function codeOf(status: number): ErrorCode {
  if (status === 429) return 'rate_limited';
  if (status === 408 || status === 504) return 'timeout';
  // Whatever is wrong with the server, a failure of its own may pass. Any other status is that of a wrong address.
  return status >= 500 ? 'unavailable' : 'backend_error';
}

function parsed(body: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body));
    // An object is all that it is then.
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** What `shared` resolves to, unless this one caller gives up before. */
function unlessAborted<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(networkFailure(signal.reason, signal));
    signal.addEventListener('abort', onAbort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function isTokenUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, hash } = new URL(text);
  const isHere = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname);
  const isSafe = protocol === 'https:' || (protocol === 'http:' && isHere);
  return isSafe && username === '' && password === '' && hash === '';
}
