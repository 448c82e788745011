import { z } from 'zod';
import {
  bodyWithin,
  cancelled,
  ConnectorError,
  isConnectorError,
  networkFailure,
  unsent,
  parseRetryAfter,
  type AccessTokens,
  type Clock,
  type Fetcher,
} from '../../../driver.ts';

export type ExchangeOptions = {
  /** `/oauth/token` of the gateway. */
  readonly url: string;
  /** Where the tokens come from that are exchanged. */
  readonly subject: AccessTokens;
  readonly scope?: string;
  readonly audience?: string;
  readonly fetch: Fetcher['fetch'];
  readonly clock: Clock;
};

type Held = { readonly text: string; readonly endsAtMs: number };

const ATTEMPT_MS = 30_000;
/** A token with less, or a tenth of its life, is not handed out: it has to last until the gateway has looked at it. */
const UNUSABLE_BEFORE_MS = 10_000;
/** Of a token whose end is not told. */
const LIFE_MS = 300_000;
const MAX_ANSWER_BYTES = 65_536;
const NOT_A_TOKEN = 'the gateway’s token endpoint answered no token';

// https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1 (read 2026-11-28), as `tokenJSON` of
// https://github.com/openfaas/go-sdk/blob/master/token.go (read 2026-11-28) reads it.
const granted = z.object({
  access_token: z.string().regex(/^[\x21-\x7e]+$/),
  expires_in: z.coerce.number().nonnegative().nullish(),
});

/**
 * Tokens of OpenFaaS for those of an identity provider (RFC 8693), each fetched once for all who wait.
 *
 * https://docs.openfaas.com/openfaas-pro/iam/function-authentication/ and
 * https://github.com/openfaas/go-sdk/blob/master/exchange.go (both read 2026-11-28)
 */
export function exchangedTokens(options: ExchangeOptions): AccessTokens {
  const { clock } = options;
  let held: Held | undefined;
  let fetching: Promise<Held> | undefined;
  return {
    async token(signal) {
      if (signal.aborted) throw cancelled(signal);
      if (held !== undefined && clock.monotonicMs() < held.endsAtMs) return held.text;
      fetching ??= exchange(options)
        .then((fresh) => (held = fresh))
        .finally(() => (fetching = undefined));
      return (await unlessAborted(fetching, signal)).text;
    },
    forget(refused) {
      if (refused === undefined || held?.text === refused) held = undefined;
    },
  };
}

/** One exchange, which belongs to no caller. A token that the gateway no longer takes is fetched anew, once. */
async function exchange({ subject, ...options }: ExchangeOptions): Promise<Held> {
  const { clock } = options;
  const attempt = new AbortController();
  const stop = clock.inBackground(ATTEMPT_MS, () =>
    attempt.abort(new ConnectorError('timeout', 'the gateway’s token endpoint did not answer in time')),
  );
  try {
    const first = await subject.token(attempt.signal);
    try {
      return await exchanged(first, options, attempt.signal);
    } catch (error) {
      if (!isConnectorError(error) || error.code !== 'auth_failed') throw error;
      subject.forget(first);
      const second = await subject.token(attempt.signal);
      if (second === first) throw error;
      return await exchanged(second, options, attempt.signal);
    }
  } catch (error) {
    throw unsent(isConnectorError(error) ? error : networkFailure(error, attempt.signal));
  } finally {
    stop();
  }
}

async function exchanged(
  subject: string,
  { url, scope, audience, fetch, clock }: Omit<ExchangeOptions, 'subject'>,
  signal: AbortSignal,
): Promise<Held> {
  const startedMs = clock.monotonicMs();
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    subject_token: subject,
    ...(scope !== undefined && { scope }),
    ...(audience !== undefined && { audience }),
  });
  const headers = { accept: 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body, signal });
  if (!response.ok) {
    await response.body?.cancel();
    throw refusal(response, clock.now());
  }
  const answer = granted.safeParse(parsed(await bodyWithin(response, MAX_ANSWER_BYTES)));
  if (!answer.success) throw new ConnectorError('backend_error', NOT_A_TOKEN);
  const { access_token: text, expires_in } = answer.data;
  const lifeMs = expires_in === undefined || expires_in === null ? LIFE_MS : expires_in * 1000;
  return { text, endsAtMs: startedMs + lifeMs - Math.min(UNUSABLE_BEFORE_MS, lifeMs / 10) };
}

/** No word of the answer is repeated: it may be about the token, and have it in it. */
function refusal({ status, headers }: Response, nowMs: number): ConnectorError {
  const details = { backend_status: status };
  // 400 is what RFC 8693 section 2.2.2 has for a token that is not taken.
  if (status === 400 || status === 401 || status === 403)
    return new ConnectorError('auth_failed', `the gateway took no token of the client (${status})`, {
      details,
    });
  if (status === 404)
    return new ConnectorError('auth_failed', 'the gateway has no /oauth/token: it exchanges no tokens', {
      details,
    });
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), nowMs);
  const code = status === 429 ? 'rate_limited' : status >= 500 ? 'unavailable' : 'backend_error';
  return new ConnectorError(code, `the gateway’s token endpoint answered ${status}`, {
    details,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as unknown;
  } catch {
    return undefined;
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
