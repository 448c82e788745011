import type * as Auth from 'google-auth-library';
import type { ServiceAccountKey } from './credentials.ts';
import { idToken, noToken, type TokenFetch } from './token-endpoint.ts';
import type { FetchedToken } from './tokens.ts';

/** What is needed to ask for a token, and what it is for. */
export type TokenParts = {
  readonly auth: typeof Auth;
  readonly fetch: TokenFetch;
  readonly wanted: Wanted;
};

/**
 * An access token for Google's own interfaces, of a scope such as `https://www.googleapis.com/auth/devstorage.read_write`,
 * or an ID token, which says who the caller is to one audience alone.
 */
export type Wanted = { readonly scope: string } | { readonly audience: string };

/** A token for a service account, by a claim that its key signs. */
export async function keyToken(
  { client_email, private_key }: Pick<ServiceAccountKey, 'client_email' | 'private_key'>,
  { auth, fetch, wanted }: TokenParts,
): Promise<FetchedToken> {
  const client = new auth.JWT({
    email: client_email,
    key: private_key,
    ...('scope' in wanted && { scopes: [wanted.scope] }),
    transporterOptions: transporterOptions(fetch),
  });
  if ('audience' in wanted) return idToken(await client.fetchIdToken(wanted.audience));
  return libraryToken(await client.authorize());
}

/** A token as the library answers it. */
export function libraryToken({ access_token, expiry_date }: Auth.Credentials): FetchedToken {
  if (!access_token || !expiry_date) throw noToken();
  return { token: access_token, lifeMs: Math.max(0, expiry_date - Date.now()) };
}

/** Our way to the network for the library's own clients, without their repetitions. */
export function transporterOptions(fetch: TokenFetch): Auth.gaxios.GaxiosOptions {
  return {
    fetchImplementation: fetch as typeof globalThis.fetch, // it is called with an address, never with a Request
    retry: false,
    retryConfig: { retry: 0, noResponseRetries: 0 },
  };
}
