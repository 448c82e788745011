import { ConnectorError, type Fetcher } from '../../driver.ts';
import { externalToken } from './external-account.ts';
import { hostToken } from './host-identity.ts';
import type { Identity } from './identity.ts';
import { ownError } from './token-endpoint.ts';
import { keyToken, type TokenParts } from './token-library.ts';
import type { FetchedToken } from './tokens.ts';

/** Asks for a token as the identity; each time anew, so that nothing but {@link Identity} decides who it is. */
export function tokenRequest(
  identity: Exclude<Identity, { readonly kind: 'none' }>,
  parts: TokenParts,
  fetcher: Fetcher,
): (signal: AbortSignal) => Promise<FetchedToken> {
  const ask = async (): Promise<FetchedToken> => {
    try {
      switch (identity.kind) {
        case 'key':
          return await keyToken(identity.key, parts);
        case 'external':
          return await externalToken(identity.account, parts);
        case 'host':
          return await hostToken(parts);
      }
    } catch (error) {
      // No cause: the library's errors keep the request, and with it the signed claim.
      throw ownError(error) ?? new ConnectorError('backend_error', 'no token could be fetched');
    }
  };
  // The library takes no signal, so that the fetcher ends its requests.
  return (signal) => fetcher.during(signal, ask);
}
