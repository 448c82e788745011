import type { Tokens } from '../../../clouds/azure/tokens.ts';
import { httpAnswer, networkFailure, unsent, type HttpAnswer, type OpenContext } from '../../../driver.ts';
import type { AzureFunctionsOptions } from './options.ts';

/** Of a payload and of a result. */
export const MAX_BYTES = 16 * 2 ** 20;

/** One request to the app. */
export type AppRequest = {
  readonly method: 'GET' | 'POST';
  /** Segments, which are encoded here. */
  readonly path: readonly string[];
  readonly query?: Readonly<Record<string, string>>;
  /** Which of the keys goes along; a key of one kind is never shown to the other's. */
  readonly key: 'function' | 'durable' | 'none';
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body?: string;
};

/** The function app by HTTP. */
export type FunctionApp = {
  /** The answer, whatever its status, read whole; where it is a failure, its beginning without our credentials. */
  ask(request: AppRequest, signal: AbortSignal): Promise<HttpAnswer>;
  close(): Promise<void>;
};

/** @param tokens where App Service Authentication guards the app. */
export function functionApp(
  options: AzureFunctionsOptions,
  tokens: Tokens | undefined,
  { network }: OpenContext,
): FunctionApp {
  const fetcher = network.fetcher({ ca: options.ca });
  const base = options.endpoint.replace(/\/+$/, '');
  const { function_key, durable_key } = options;
  const keys = { function: function_key, durable: durable_key, none: undefined };
  return {
    async ask({ method, path, query = {}, key, headers, body }, signal) {
      const token = await bearer(tokens, signal);
      const search = new URLSearchParams(query).toString();
      const url = `${base}/${path.map(encodeURIComponent).join('/')}${search && `?${search}`}`;
      // The host takes a key from this header, or else from the query, which ends up in logs:
      // https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script.WebHost/Security/Authentication/Keys/AuthenticationLevelHandler.cs (read 2026-11-28)
      const sent = {
        accept: 'application/json, text/plain, */*',
        ...(keys[key] !== undefined && { 'x-functions-key': keys[key] }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      };
      try {
        const response = await fetcher.fetch(url, {
          ...{ method, headers: sent, signal, redirect: 'manual' },
          ...(body !== undefined && { body }),
        });
        if (response.status === 401) tokens?.forget();
        const answer = await httpAnswer(response, MAX_BYTES);
        if (response.ok) return answer;
        return { ...answer, body: without([function_key, durable_key, token], answer.body) };
      } catch (error) {
        throw networkFailure(error, signal);
      }
    },
    close: () => fetcher.close(),
  };
}

async function bearer(tokens: Tokens | undefined, signal: AbortSignal): Promise<string | undefined> {
  try {
    return await tokens?.get(signal);
  } catch (error) {
    throw unsent(networkFailure(error, signal));
  }
}

/** Some servers repeat what they refused. */
function without(secrets: readonly (string | undefined)[], body: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(body);
  const clean = secrets.reduce<string>(
    (kept, secret) => (secret ? kept.replaceAll(secret, '***') : kept),
    text,
  );
  return clean === text ? body : new TextEncoder().encode(clean);
}
