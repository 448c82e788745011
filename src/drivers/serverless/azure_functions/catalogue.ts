import type { FunctionEnvelope, WebSiteManagementClient } from '@azure/arm-appservice';
import { z } from 'zod';
import { IDENTITY_RANGE, type Tokens } from '../../../clouds/azure/tokens.ts';
import { transportError } from '../../../clouds/azure/transport.ts';
import {
  bodyWithin,
  ConnectorError,
  httpFailure,
  isConnectorError,
  loadPeer,
  networkFailure,
  parseRetryAfter,
  type Fetcher,
  type FunctionInfo,
  type OpenContext,
} from '../../../driver.ts';
import type { AzureFunctionsOptions } from './options.ts';

const APPSERVICE_RANGE = '^19.0.0';
export const PEERS = { '@azure/arm-appservice': APPSERVICE_RANGE, '@azure/identity': IDENTITY_RANGE };

/** A listing repeats the source of small functions. */
const MAX_LISTING_BYTES = 32 * 2 ** 20;
const MAX_FUNCTIONS = 10_000;
const MAX_TEXT = 2_048;
const FRESH_MS = 300_000;
const AGAIN_AFTER_FAILURE_MS = 30_000;

/** A function that can be called here: by HTTP under its route, or as an orchestration. */
export type CatalogueEntry = {
  readonly info: FunctionInfo;
  readonly call:
    { readonly by: 'http'; readonly route: readonly string[] } | { readonly by: 'orchestration' };
};

/** What Azure Resource Manager knows of the app's functions. */
export type Catalogue = {
  /** Read now. */
  list(signal: AbortSignal): Promise<readonly CatalogueEntry[]>;
  /** From what was read in the last five minutes. @throws ConnectorError as the last attempt to read, where nothing was ever read. */
  find(name: string, signal: AbortSignal): Promise<CatalogueEntry | undefined>;
  close(): Promise<void>;
};

/** Where the app is, as the options name it. */
type AppAddress = { readonly subscription: string; readonly group: string; readonly name: string };

/** The app that is listed; `undefined` where the options name none. */
export function appAddress(options: AzureFunctionsOptions): AppAddress | undefined {
  const { subscription_id: subscription, resource_group: group, app_name: name } = options;
  // The schema has all three or none.
  return subscription === undefined || group === undefined || name === undefined
    ? undefined
    : { subscription, group, name };
}

export async function catalogue(
  { subscription, group, name: app }: AppAddress,
  options: AzureFunctionsOptions,
  tokens: Tokens,
  { network, clock, log }: OpenContext,
): Promise<Catalogue> {
  const { WebSiteManagementClient: Client } = await loadPeer(
    '@azure/arm-appservice',
    APPSERVICE_RANGE,
    () => import('@azure/arm-appservice'),
  );
  const fetcher = network.fetcher({ ca: options.ca, connections: 2 });
  const client = managementClient(Client, subscription, options, tokens, fetcher);
  let known: ReadonlyMap<string, CatalogueEntry> | undefined;
  let failure: ConnectorError | undefined;
  let triedAtMs: number | undefined;

  const read = async (signal: AbortSignal): Promise<readonly CatalogueEntry[]> => {
    const entries: CatalogueEntry[] = [];
    try {
      await fetcher.during(signal, async () => {
        let count = 0;
        for await (const envelope of client.webApps.listFunctions(group, app, { abortSignal: signal })) {
          count += 1;
          if (count > MAX_FUNCTIONS) throw notManagement();
          const entry = entryOf(envelope);
          if (entry !== undefined) entries.push(entry);
        }
      });
    } catch (error) {
      throw managementError(error, app, { signal, nowMs: clock.now() });
    }
    known = new Map(entries.map((entry) => [entry.info.name, entry]));
    return entries;
  };
  const list = async (signal: AbortSignal): Promise<readonly CatalogueEntry[]> => {
    // Set before it is known how it ends, so that of many callers one alone asks.
    triedAtMs = clock.monotonicMs();
    try {
      const entries = await read(signal);
      failure = undefined;
      return entries;
    } catch (error) {
      if (signal.aborted) triedAtMs = undefined;
      else if (isConnectorError(error)) failure = error;
      throw error;
    }
  };
  return {
    list,
    async find(name, signal) {
      const ageMs = triedAtMs === undefined ? Infinity : clock.monotonicMs() - triedAtMs;
      if (ageMs >= (failure === undefined ? FRESH_MS : AGAIN_AFTER_FAILURE_MS)) {
        try {
          await list(signal);
        } catch (error) {
          if (known === undefined || signal.aborted) throw error;
          log.warn('the functions of the app could not be listed; what was known is still used', {
            code: isConnectorError(error) ? error.code : 'internal',
          });
        }
      }
      if (known === undefined && failure !== undefined) throw failure;
      return known?.get(name);
    },
    close: () => fetcher.close(),
  };
}

/**
 * The official client, made to send through the guarded network, once, without proxies of the environment, and to its own
 * endpoint alone: the address of the next page is whatever the answer says.
 */
function managementClient(
  Client: typeof WebSiteManagementClient,
  subscription: string,
  { management_endpoint: endpoint }: AzureFunctionsOptions,
  tokens: Tokens,
  { fetch }: Fetcher,
): WebSiteManagementClient {
  const { origin } = new URL(endpoint);
  // The pipeline asks for a token with each request; ours is put on below, where there is a signal.
  const credential = { getToken: async () => null };
  const client = new Client(credential, subscription, {
    endpoint: endpoint.replace(/\/+$/, ''),
    retryOptions: { maxRetries: 0 },
    redirectOptions: { maxRetries: 0 },
    // Else the client reads the environment's, and fails where that is no URL. It is removed below.
    proxyOptions: { host: 'http://proxy.invalid', port: 1 },
    userAgentOptions: { userAgentPrefix: 'connector-registry' },
    httpClient: {
      async sendRequest(request) {
        if (new URL(request.url).origin !== origin) throw notManagement();
        const { abortSignal } = request;
        // Each call of ours brings a signal; those for further pages are ended by `during`.
        const signal = (abortSignal as AbortSignal | undefined) ?? AbortSignal.timeout(30_000);
        const token = await tokens.get(signal);
        const response = await fetch(request.url, {
          ...{ method: request.method, redirect: 'manual', signal },
          headers: { ...request.headers.toJSON(), authorization: `Bearer ${token}` },
        });
        if (response.status === 401) tokens.forget();
        const { headers } = response;
        const body = await bodyWithin(response, MAX_LISTING_BYTES);
        return {
          ...{ request, status: response.status, bodyAsText: new TextDecoder().decode(body) },
          headers: {
            get: (name) => headers.get(name) ?? undefined,
            has: (name) => headers.has(name),
            set: (name, value) => headers.set(name, String(value)),
            delete: (name) => headers.delete(name),
            toJSON: () => Object.fromEntries(headers),
            [Symbol.iterator]: () => headers[Symbol.iterator](),
          },
        };
      },
    },
  });
  client.pipeline.removePolicy({ name: 'proxyPolicy' });
  client.pipeline.removePolicy({ name: 'bearerTokenAuthenticationPolicy' });
  return client;
}

const triggers = z.looseObject({
  bindings: z.array(
    z.looseObject({
      type: z.string(),
      route: z.string().nullish(),
      methods: z.array(z.string()).nullish(),
    }),
  ),
});

/** `undefined` for what cannot be called here: disabled, on another trigger, without POST, or under a route with parameters. */
function entryOf({
  name: full = '',
  config,
  language,
  isDisabled,
}: FunctionEnvelope): CatalogueEntry | undefined {
  // A resource's name has its parent's before it.
  const name = full.split('/').at(-1) ?? '';
  const bindings = triggers.safeParse(config).data?.bindings ?? [];
  // What is longer is none of Azure's, and all of it is kept while the connector is open.
  if (name === '' || full.length > MAX_TEXT || isDisabled === true) return undefined;
  const isLanguage = language !== undefined && language.length <= MAX_TEXT;
  const info = { name, ...(isLanguage && { runtime: language }) };
  if (bindings.some(({ type }) => /^orchestrationTrigger$/i.test(type)))
    return { info: { ...info, description: 'Durable orchestrator' }, call: { by: 'orchestration' } };
  const http = bindings.find(({ type }) => /^httpTrigger$/i.test(type));
  if (http === undefined) return undefined;
  const route = (http.route ?? name).split('/').filter((segment) => segment !== '');
  const takesPost = http.methods?.some((method) => /^post$/i.test(method)) ?? true;
  const isPlain = route.every((segment) => /^[\w~-][\w.~-]*$/.test(segment));
  return takesPost && isPlain && route.join('/').length <= MAX_TEXT
    ? { info, call: { by: 'http', route } }
    : undefined;
}

type RestFailure = {
  readonly statusCode?: unknown;
  readonly code?: unknown;
  readonly response?: { readonly headers?: { get?: (name: string) => string | undefined } };
};

/** A failure of the client as one of ours. The words of Azure Resource Manager are left out: they name accounts and scopes. */
function managementError(
  error: unknown,
  app: string,
  { signal, nowMs }: { readonly signal: AbortSignal; readonly nowMs: number },
): ConnectorError {
  if (signal.aborted) return networkFailure(error, signal);
  if (isConnectorError(error)) return error;
  const { statusCode: said, code, response } = error as RestFailure;
  const status = Number(said);
  if (!(status >= 300)) return transportError(error, notManagement);
  if (status === 404)
    return new ConnectorError(
      'not_found',
      `Azure Resource Manager knows no app ${app} in this resource group`,
    );
  if (status === 403)
    return new ConnectorError(
      'permission_denied',
      'the identity may not list the functions of the app; give it the role Reader on the app',
    );
  const retryAfterMs = parseRetryAfter(response?.headers?.get?.('retry-after'), nowMs);
  const named = typeof code === 'string' && /^\w{1,80}$/.test(code) ? code : '';
  return httpFailure({ status: status === 500 ? 503 : status, message: named, retryAfterMs });
}

function notManagement(): ConnectorError {
  return new ConnectorError('backend_error', 'the backend answered what Azure Resource Manager would not');
}
