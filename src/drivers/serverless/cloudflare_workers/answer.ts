import {
  ConnectorError,
  httpOutcome,
  parseRetryAfter,
  quoted,
  type ErrorCode,
  type HttpAnswer,
  type InvocationOutcome,
} from '../../../driver.ts';

/** What of an error page is looked at. */
const MAX_PAGE_CHARACTERS = 64 * 1024;
const DAY_MS = 86_400_000;

/**
 * Cloudflare's own errors, by their number: https://developers.cloudflare.com/workers/observability/errors/ and
 * https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-1xxx-errors/ (read 2026-11-28).
 * With a name, it is the function that failed.
 */
const NUMBERED: Readonly<Record<number, readonly [{ readonly failed: string } | ErrorCode, string]>> = {
  1101: [{ failed: 'WorkerError' }, 'the Worker threw an exception, of which Cloudflare tells no more'],
  1102: [{ failed: 'ResourceLimitError' }, 'the Worker took more CPU time or memory than it may'],
  1019: [{ failed: 'LoopLimitError' }, 'Workers called each other more than 16 times'],
  1021: [{ failed: 'WorkerError' }, 'the Worker asked a host that it cannot reach'],
  1024: [{ failed: 'WorkerError' }, 'the Worker asked an address of Cloudflare'],
  1015: ['rate_limited', 'there were too many requests'],
  1025: ['rate_limited', 'the plan of the site allows no more requests'],
  1027: ['rate_limited', 'the free plan allows no more requests today'],
  1018: ['not_found', 'there is no such host'],
  1023: ['not_found', 'there is no such host'],
  // Documented as what a Worker meets that calls another; seen from outside it says that no Worker is at this name.
  1042: ['not_found', 'there is no such Worker, or it is not enabled on this domain'],
  1005: ['permission_denied', 'the network of this host is banned'],
  1006: ['permission_denied', 'the address of this host is banned'],
  1007: ['permission_denied', 'the address of this host is banned'],
  1008: ['permission_denied', 'the address of this host is banned'],
  1009: ['permission_denied', 'the country of this host is banned'],
  1010: ['permission_denied', 'the request does not look like a browser’s to a rule of the site'],
  1011: ['permission_denied', 'a rule of the site refused the request'],
  1012: ['permission_denied', 'a rule of the site refused the request'],
  1020: ['permission_denied', 'a firewall rule of the site refused the request'],
  1106: ['permission_denied', 'the address of this host is banned'],
};

/**
 * Between Cloudflare and what a route or a Worker passes the request on to:
 * https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/ (read 2026-11-28)
 */
const BEHIND: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  520: ['unavailable', 'the origin answered nonsense'],
  521: ['unavailable', 'the origin refused the connection'],
  522: ['timeout', 'the origin took no connection in time'],
  523: ['unavailable', 'the origin cannot be reached'],
  524: ['timeout', 'the origin did not answer in time'],
  525: ['unavailable', 'the TLS handshake with the origin failed'],
  526: ['unavailable', 'the certificate of the origin is not valid'],
  530: ['unavailable', 'the origin cannot be reached'],
};

/**
 * How a Worker ended: as `httpOutcome`, but for what Cloudflare answers in its place.
 *
 * @throws ConnectorError as `httpOutcome`; `auth_failed` where Cloudflare Access wants a login, `permission_denied` for
 *   its bans, and by the number of its error page otherwise, with that number in `details.backend_code`.
 */
export function workerOutcome(name: string, answer: HttpAnswer, nowMs: number): InvocationOutcome {
  const { status, headers, body } = answer;
  if (status >= 300 && status < 400 && isLogin(headers.get('location') ?? '')) {
    throw new ConnectorError(
      'auth_failed',
      'Cloudflare Access wants a login: it does not know the service token',
      {
        details: { backend_status: status },
      },
    );
  }
  if (status < 400) return httpOutcome(name, answer, nowMs);
  const text = new TextDecoder().decode(body.subarray(0, MAX_PAGE_CHARACTERS));
  const number = numberOf(answer, text);
  if (number !== undefined) return ofNumber(number, answer, nowMs);
  const behind = BEHIND[status];
  if (behind !== undefined) {
    const [code, words] = behind;
    throw new ConnectorError(code, `Cloudflare answered ${status}: ${words}`, {
      details: { backend_status: status },
    });
  }
  return (status === 500 ? thrownIn(text) : undefined) ?? httpOutcome(name, answer, nowMs);
}

function ofNumber(number: number, { status, headers }: HttpAnswer, nowMs: number): InvocationOutcome {
  // "Other 11xx errors generally indicate a problem with the Workers runtime itself", and the rest is about names,
  // tunnels and origins.
  const [meaning, words] = NUMBERED[number] ?? ['unavailable', 'it could not run the Worker'];
  const message = `${words} (Cloudflare's error ${number})`;
  if (typeof meaning !== 'string') return { status: 'failed', error: { name: meaning.failed, message } };
  const told = parseRetryAfter(headers.get('retry-after'), nowMs);
  // "Free plan daily requests counts reset at midnight UTC": https://developers.cloudflare.com/workers/platform/limits/#daily-requests (read 2026-11-28)
  const retryAfterMs = told ?? (number === 1027 ? DAY_MS - (nowMs % DAY_MS) : undefined);
  throw new ConnectorError(meaning, message, {
    details: { backend_status: status, backend_code: number },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/**
 * The number of Cloudflare's own error: in a header on its pages
 * (https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-error-headers/, read
 * 2026-11-28), in its JSON for those who accept that, in the one line that it sends to others, or on its page.
 */
function numberOf({ headers }: HttpAnswer, text: string): number | undefined {
  const told =
    /^(1\d{3})$/.exec(headers.get('cf-error-type')?.trim() ?? '') ??
    /^error code: (1\d{3})\s*$/.exec(text) ??
    (text.includes('cf-error-details') ? /\bError\s*(?:<[^<>]*>\s*)*(1\d{3})\b/i.exec(text) : null);
  if (told) return Number(told[1]);
  if (!text.includes('"cloudflare_error"')) return undefined;
  try {
    const page = JSON.parse(text) as {
      readonly cloudflare_error?: unknown;
      readonly error_code?: unknown;
    } | null;
    const number = page?.cloudflare_error === true ? Number(page.error_code) : Number.NaN;
    return number >= 1000 && number < 2000 ? number : undefined;
  } catch {
    return undefined;
  }
}

/** What a Worker threw, as `miniflare` and `wrangler dev` answer it: the stack as text. */
function thrownIn(text: string): InvocationOutcome | undefined {
  const found = /^(?:Uncaught )?([A-Z]\w*(?:Error|Exception)?)(?:: ([\s\S]*?))?\n(?= {4}at )/.exec(text);
  if (!found) return undefined;
  const [, name = 'Error', message = ''] = found;
  return {
    status: 'failed',
    error: { name: name.slice(0, 200), message: quoted(message), stack: text.slice(0, 16_000) },
  };
}

/** Where Access sends who has not logged in: https://TEAM.cloudflareaccess.com/cdn-cgi/access/login/… */
function isLogin(location: string): boolean {
  return (
    /^https:\/\/[\w.-]+\.cloudflareaccess\.com\//i.test(location) ||
    location.includes('/cdn-cgi/access/login')
  );
}
