import { readFile } from 'node:fs/promises';
import {
  bodyWithin,
  ConnectorError,
  httpFailure,
  isConnectorError,
  loadPeer,
  networkFailure,
  parseRetryAfter,
  type Clock,
  type Fetcher,
  type OpenContext,
} from '../../driver.ts';
import type { AzureIdentity } from './identity.ts';
import { transportError } from './transport.ts';

export const IDENTITY_RANGE = '^4.14.0';
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** A token that is this near to its end is renewed while it is used. */
const RENEW_BEFORE_MS = 300_000;
/** What one attempt to get a token may take, whoever waits for it. */
const ATTEMPT_MS = 30_000;
/** Beyond any token: the authority may be anybody's. */
const MAX_ANSWER_BYTES = 262_144;

type Token = { readonly text: string; readonly expiresAtMs: number };
type Fetching = (signal: AbortSignal) => Promise<Token>;

/** Bearer tokens for one service of Azure's. */
export type Tokens = {
  get(signal: AbortSignal): Promise<string>;
  /** Drops the one at hand, which the backend has refused. */
  forget(): void;
  close(): Promise<void>;
};

/** Whose tokens, and for what: a scope is a resource with `/.default` after it. */
export type TokensFor = { readonly identity: AzureIdentity; readonly scope: string };

/**
 * Tokens of a service principal: one request to the documented endpoint, which can be aborted. The identity library
 * would ask three addresses for it, pass no signal on, and choose the host by a variable of the environment.
 *
 * https://github.com/MicrosoftDocs/entra-docs/blob/main/docs/identity-platform/v2-oauth2-client-creds-grant-flow.md (read 2026-11-27)
 */
export function principalTokens({ identity, scope }: TokensFor, context: OpenContext): Tokens {
  const { tenant_id: tenant = '', client_id = '', client_secret = '' } = identity;
  const fetcher = context.network.fetcher({ ca: identity.ca, connections: 2 });
  const form = { scope, client_id, client_secret };
  const url = tokenUrl(identity.authority_host, tenant);
  return renewed(context.clock, (signal) => granted(fetcher, url, form, context.clock, signal), fetcher);
}

/**
 * Tokens of the host's own identity: the federated one of a Kubernetes workload where the environment describes it,
 * else its managed identity, by whichever service the environment names.
 */
export async function hostTokens(
  { identity, scope }: TokensFor,
  context: OpenContext,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Tokens> {
  const {
    AZURE_FEDERATED_TOKEN_FILE: file,
    AZURE_TENANT_ID: tenant,
    AZURE_CLIENT_ID,
    AZURE_AUTHORITY_HOST,
  } = env;
  const clientId = identity.identity_client_id ?? AZURE_CLIENT_ID;
  if (file === undefined || tenant === undefined || clientId === undefined)
    return managedTokens({ identity, scope }, env, context);
  const fetcher = context.network.fetcher({ ca: identity.ca, connections: 2 });
  const url = tokenUrl(AZURE_AUTHORITY_HOST ?? identity.authority_host, tenant);
  return renewed(
    context.clock,
    async (signal) => {
      const assertion = (await readFile(file, 'utf8')).trim();
      const form = {
        scope,
        client_id: clientId,
        client_assertion_type: ASSERTION,
        client_assertion: assertion,
      };
      return granted(fetcher, url, form, context.clock, signal);
    },
    fetcher,
  );
}

/** Tokens of the managed identity; the library knows the dialects of virtual machines, App Service, Arc and the others. */
async function managedTokens(
  { identity: { identity_client_id: clientId }, scope }: TokensFor,
  env: Readonly<Record<string, string | undefined>>,
  { network, clock }: OpenContext,
): Promise<Tokens> {
  const { ManagedIdentityCredential } = await loadPeer(
    '@azure/identity',
    IDENTITY_RANGE,
    () => import('@azure/identity'),
  );
  const agents = network.agents({ connections: 2 });
  const { IDENTITY_ENDPOINT: service } = env;
  const isSecure = service?.startsWith('https:') === true;
  const credential = new ManagedIdentityCredential({
    ...(clientId !== undefined && { clientId }),
    agent: isSecure ? agents.https : agents.http,
    retryOptions: { maxRetries: 0 },
  });
  const fetchToken: Fetching = async (signal) => {
    // The library cannot be told to stop: its connections are ended instead.
    const onAbort = (): void => agents.close();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const { token, expiresOnTimestamp } = await credential.getToken(scope);
      return { text: token, expiresAtMs: expiresOnTimestamp };
    } catch (error) {
      throw hostError(error, scope);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  };
  return renewed(clock, fetchToken, { close: async () => agents.close() });
}

/** What the library says of a refusal is left out, as it repeats what the service said; why a connection failed it does not say. */
function hostError(error: unknown, scope: string): ConnectorError {
  const { cause } = error as { readonly cause?: { readonly errorCode?: unknown } };
  if (cause?.errorCode === 'network_error')
    return new ConnectorError(
      'unavailable',
      'the managed identity service of the host cannot be reached; has the operator allowed its address?',
    );
  const refused = (): ConnectorError =>
    new ConnectorError('auth_failed', `the host has no managed identity that gives a token for ${scope}`);
  const failure = transportError(error, refused);
  return failure.code === 'backend_error' ? refused() : failure;
}

/** One token at a time, however many wait for it, each as long as its own signal lets it. */
function renewed(clock: Clock, fetchToken: Fetching, connection: Pick<Fetcher, 'close'>): Tokens {
  let token: Token | undefined;
  let fetching: Promise<Token> | undefined;
  const ending = new AbortController();
  const renew = (): Promise<Token> => {
    const attempt = new AbortController();
    const cancel = clock.after(ATTEMPT_MS, () =>
      attempt.abort(new ConnectorError('timeout', 'no token came in time')),
    );
    const signal = AbortSignal.any([attempt.signal, ending.signal]);
    return unlessAborted(signal, fetchToken(signal))
      .then((fresh) => (token = fresh))
      .finally(() => {
        cancel();
        fetching = undefined;
      });
  };
  return {
    async get(signal) {
      const leftMs = (token?.expiresAtMs ?? 0) - clock.now();
      if (token === undefined || leftMs < ATTEMPT_MS)
        return (await unlessAborted(signal, (fetching ??= renew()))).text;
      // The one at hand is good for a while yet, so nobody waits for the next, or hears that there was none.
      if (leftMs < RENEW_BEFORE_MS) (fetching ??= renew()).catch(() => {});
      return token.text;
    },
    forget: () => void (token = undefined),
    async close() {
      ending.abort();
      await connection.close();
    },
  };
}

async function granted(
  fetcher: Fetcher,
  url: string,
  form: Readonly<Record<string, string>>,
  clock: Clock,
  signal: AbortSignal,
): Promise<Token> {
  let response: Response;
  let answer: unknown;
  try {
    const body = new URLSearchParams({ grant_type: 'client_credentials', ...form });
    response = await fetcher.fetch(url, { method: 'POST', body, signal });
    answer = parsed(await bodyWithin(response, MAX_ANSWER_BYTES));
  } catch (error) {
    if (isConnectorError(error) && error.code === 'payload_too_large')
      throw new ConnectorError('backend_error', 'the authority answered no token');
    throw networkFailure(error, signal);
  }
  const { access_token: text, expires_in, error, error_codes } = (answer ?? {}) as Record<string, unknown>;
  const expiresInSeconds = Number(expires_in);
  if (response.ok && typeof text === 'string' && text !== '' && expiresInSeconds > 0)
    return { text, expiresAtMs: clock.now() + expiresInSeconds * 1000 };
  if (response.ok) throw new ConnectorError('backend_error', 'the authority answered no token');
  const refused = typeof error === 'string' && /^[a-z_]{1,60}$/.test(error) ? error : '';
  const code =
    Array.isArray(error_codes) && Number.isInteger(error_codes[0]) ? ` AADSTS${error_codes[0]}` : '';
  if (response.status < 500 && refused !== '' && response.status !== 429)
    throw new ConnectorError('auth_failed', `the authority refused the identity: ${refused}${code}`);
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), clock.now());
  throw httpFailure({ status: response.status, message: `no token${code}`, retryAfterMs });
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as unknown;
  } catch {
    return undefined;
  }
}

function tokenUrl(authority: string, tenant: string): string {
  return `${authority.replace(/\/+$/, '')}/${encodeURIComponent(tenant)}/oauth2/v2.0/token`;
}

async function unlessAborted<T>(signal: AbortSignal, task: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void =>
    reject(isConnectorError(signal.reason) ? signal.reason : networkFailure(signal.reason, signal));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([task, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
