import { loadPeer, type OpenContext } from '../../driver.ts';
import type { Identity } from './identity.ts';
import { tokenFetch } from './token-endpoint.ts';
import type { Wanted } from './token-library.ts';
import { tokenRequest } from './token-requests.ts';
import { NO_TOKENS, sharedTokens, type Tokens } from './tokens.ts';

/** The range of google-auth-library that the drivers of Google's services take. */
export const AUTH_RANGE = '^11.3.0';

/** Where the calls of one client get what proves their identity, on connections of its own. */
export interface GoogleTokens {
  /** Tokens of one kind, each fetched once for all who ask; the same answer each time. */
  of(wanted: Wanted): Tokens;
  close(): Promise<void>;
}

export type TokenOptions = {
  /** Where tokens are fetched for a key; Google's own unless told. */
  readonly tokenEndpoint: string | undefined;
  /** Certificates in PEM that are trusted there instead of the well-known ones. */
  readonly ca: string | undefined;
};

/** @throws ConnectorError `unavailable` where google-auth-library is not installed, and the identity needs it. */
export async function googleTokens(
  identity: Identity,
  { tokenEndpoint, ca }: TokenOptions,
  { network, clock, log }: Pick<OpenContext, 'network' | 'clock' | 'log'>,
): Promise<GoogleTokens> {
  if (identity.kind === 'none') return { of: () => NO_TOKENS, close: async () => {} };
  const auth = await loadPeer('google-auth-library', AUTH_RANGE, () => import('google-auth-library'));
  // Google's own endpoint has a certificate of a well-known authority, whatever the service's has.
  const fetcher = network.fetcher(tokenEndpoint === undefined ? {} : { ca });
  const fetch = tokenFetch(fetcher, clock, tokenEndpoint);
  const handed = new Map<string, Tokens>();
  return {
    of(wanted) {
      const key = JSON.stringify(wanted);
      const known = handed.get(key);
      if (known) return known;
      const tokens = sharedTokens(tokenRequest(identity, { auth, fetch, wanted }, fetcher), clock, log);
      handed.set(key, tokens);
      return tokens;
    },
    async close() {
      for (const tokens of handed.values()) tokens.close();
      await fetcher.close();
    },
  };
}
