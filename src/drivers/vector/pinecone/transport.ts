import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Clock,
  ConnectorError,
  type Fetcher,
  httpFailure,
  networkFailure,
  parseRetryAfter,
} from '../../../driver.ts';

/** What the headers of one call's answer say of the namespace's log. */
export type Seen = {
  /** The number of the write that was acknowledged. */
  written?: number;
  /** The last write that the answer takes into account. */
  indexed?: number;
  /** The answer itself. */
  text?: string;
  failure?: ConnectorError;
};

/** The way of the SDK to Pinecone, which tells us what the SDK keeps to itself: headers, and what an error was. */
export type Transport = {
  readonly fetch: typeof globalThis.fetch;
  /**
   * The answer to what `task` asks by the SDK, and what its headers said.
   *
   * @param member what the answer has whenever it is one of Pinecone's; the SDK takes any JSON for an empty answer.
   * @throws ConnectorError for whatever the SDK throws: its own errors keep neither the status of a 5xx nor the code.
   */
  call<T>(
    signal: AbortSignal,
    task: () => Promise<T>,
    member?: string,
  ): Promise<{ readonly value: T; readonly seen: Seen }>;
};

export function transport(fetcher: Fetcher, clock: Clock): Transport {
  const calls = new AsyncLocalStorage<{ readonly seen: Seen; readonly signal: AbortSignal }>();
  return {
    async fetch(input, init) {
      const call = calls.getStore();
      const seen = call?.seen ?? {};
      try {
        const response = await fetcher.fetch(input, init);
        if (!response.ok) throw await failureOf(response, clock);
        // https://docs.pinecone.io/guides/data/check-data-freshness (read 2026-11-25)
        Object.assign(seen, {
          ...number(response, 'x-pinecone-request-lsn', 'written'),
          ...number(response, 'x-pinecone-max-indexed-lsn', 'indexed'),
        });
        seen.text = await response.text();
        return new Response(seen.text, { status: response.status, headers: response.headers });
      } catch (error) {
        seen.failure = networkFailure(error, call?.signal);
        throw error;
      }
    },
    async call(signal, task, member) {
      const seen: Seen = {};
      let value;
      try {
        value = await calls.run({ seen, signal }, () => fetcher.during(signal, task));
      } catch (error) {
        throw seen.failure ?? networkFailure(error, signal);
      }
      if (member !== undefined && !seen.text?.includes(`"${member}"`))
        throw new ConnectorError('backend_error', `the backend's answer has no ${member}; is it Pinecone?`);
      return { value, seen };
    },
  };
}

function number(response: Response, header: string, key: 'written' | 'indexed'): Seen {
  const text = response.headers.get(header) ?? '';
  return /^\d+$/.test(text) ? { [key]: Number(text) } : {};
}

async function failureOf(response: Response, clock: Clock): Promise<ConnectorError> {
  const text = await response.text();
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), clock.now());
  return httpFailure({
    status: response.status,
    message: messageOf(text),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** The message in either of Pinecone's errors, `{ message }` and `{ error: { message } }`; its 401 is plain text. */
function messageOf(text: string): string {
  try {
    const body = JSON.parse(text) as { message?: unknown; error?: { message?: unknown } } | null;
    const message = body?.message ?? body?.error?.message;
    return typeof message === 'string' ? message : '';
  } catch {
    return text.startsWith('<') ? '' : text;
  }
}
