import type { ChromaClient } from 'chromadb';
import {
  ConnectorError,
  httpFailure,
  isConnectorError,
  loadPeer,
  networkFailure,
  parseRetryAfter,
  type Fetcher,
  type OpenContext,
} from '../../../driver.ts';
import type { ChromaOptions } from './options.ts';

/** The client's version that this driver was tried with. */
export const PEER_RANGE = '^3.0.3';

/** The official client on connections of the host's own. */
export type Api = {
  readonly chroma: ChromaClient;
  /** Calls the client; the signal ends its requests, and the wait at once. */
  call<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T>;
  /** @throws ConnectorError `not_found` without the tenant or its database. */
  requireDatabase(): Promise<void>;
  close(): Promise<void>;
};

/** What the client keeps its requests' settings in; its types call it private. */
type Inner = {
  readonly apiClient?: { setConfig?: (config: { fetch: typeof fetch }) => { fetch?: unknown } };
};

/**
 * The official client, made to fetch through the guarded network.
 *
 * The client takes no `fetch`, and its own tells neither a refused connection from a refused certificate nor a server
 * that is too busy from one that broke. The generated client inside it takes one; should a later version not, nothing
 * is sent past the guard.
 */
export async function chromaApi(options: ChromaOptions, context: OpenContext): Promise<Api> {
  const { ChromaClient } = await loadPeer('chromadb', PEER_RANGE, () => import('chromadb'));
  const { protocol, hostname, port } = new URL(options.endpoint);
  const ssl = protocol === 'https:';
  const headers = headersOf(options);
  const fetcher = context.network.fetcher({ ca: options.ca });
  const chroma = new ChromaClient({
    host: hostname,
    port: Number(port) || (ssl ? 443 : 80),
    ssl,
    tenant: options.tenant,
    database: options.database,
    headers,
  });
  const guarded = guardedFetch(fetcher, context);
  const { apiClient } = chroma as unknown as Inner;
  if (apiClient?.setConfig?.({ fetch: guarded }).fetch !== guarded) {
    await fetcher.close();
    throw new ConnectorError(
      'unavailable',
      `this version of chromadb does not send through a given fetch; run: npm install chromadb@3.0.3`,
      { details: { peer: 'chromadb', install: 'npm install chromadb@3.0.3' } },
    );
  }
  return {
    chroma,
    async call(signal, task) {
      try {
        return await fetcher.during(signal, () => unlessAborted(signal, task));
      } catch (error) {
        throw networkFailure(error, signal);
      }
    },
    requireDatabase: () => requireDatabase(guarded, options, headers),
    close: () => fetcher.close(),
  };
}

/** Chroma's client asks for databases only in a part of its own, which has connections of its own. */
async function requireDatabase(
  guarded: typeof fetch,
  { endpoint, tenant, database }: ChromaOptions,
  headers: Record<string, string>,
): Promise<void> {
  const url = new URL(`/api/v2/tenants/${tenant}/databases/${database}`, endpoint);
  try {
    await (await guarded(url, { headers })).text();
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new ConnectorError(
      'not_found',
      `there is no database ${database} of a tenant ${tenant} on the server; create it, or name another`,
      { cause: error },
    );
  }
}

function headersOf({ api_key: key, auth }: ChromaOptions): Record<string, string> {
  if (key === undefined) return {};
  if (auth === 'x-chroma-token') return { 'x-chroma-token': key };
  return {
    authorization: auth === 'basic' ? `Basic ${Buffer.from(key).toString('base64')}` : `Bearer ${key}`,
  };
}

/**
 * Fetches; what is no success, or no JSON, is an error of ours before the client sees it.
 *
 * Upserts are sent one after the other: Chroma writes one at a time, and several at once took it two to thirty times
 * as long. The next one's text is made meanwhile.
 */
function guardedFetch(fetcher: Fetcher, { clock }: OpenContext): typeof fetch {
  let before: Promise<unknown> = Promise.resolve();
  const send: typeof fetch = async (input, init) => {
    const response = await fetcher.fetch(input, init);
    if (!response.ok)
      throw httpFailure({
        status: response.status,
        message: wordsOf(await response.text()),
        retryAfterMs: parseRetryAfter(response.headers.get('retry-after'), clock.now()),
      });
    if (!/^application\/json\b/.test(response.headers.get('content-type') ?? ''))
      throw new ConnectorError(
        'backend_error',
        'the backend answered something other than JSON; is it Chroma?',
      );
    return response;
  };
  return (input, init) => {
    if (!(input instanceof Request && input.url.endsWith('/upsert'))) return send(input, init);
    const sent = before.then(() => send(input, init));
    before = sent.catch(() => {});
    return sent;
  };
}

/** What a failure says: Chroma's own are `{ error, message }`. */
function wordsOf(body: string): string {
  try {
    const { error, message } = JSON.parse(body) as { readonly error?: unknown; readonly message?: unknown };
    return typeof message === 'string' ? message : typeof error === 'string' ? error : '';
  } catch {
    return body;
  }
}

async function unlessAborted<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(networkFailure(signal.reason, signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([task(), promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** An answer of another shape than Chroma's, which the client passes on as it is. */
export function misshapen(what: string): ConnectorError {
  return new ConnectorError('backend_error', `the backend answered no ${what}; is it Chroma?`);
}

/** @throws ConnectorError `backend_error` for an answer without ids. */
export function idsOf({ ids }: { readonly ids: unknown }): readonly string[] {
  if (!Array.isArray(ids) || !ids.every((id) => typeof id === 'string')) throw misshapen('ids');
  return ids;
}

export function isNotFound(error: unknown): boolean {
  return isConnectorError(error) && error.code === 'not_found';
}
