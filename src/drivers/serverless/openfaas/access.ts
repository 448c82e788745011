import {
  clientCredentials,
  ConnectorError,
  invalidField,
  type AccessTokens,
  type Fetcher,
  type OpenContext,
} from '../../../driver.ts';
import type { Address } from './names.ts';
import type { OpenfaasOptions } from './options.ts';
import { exchangedTokens } from './token-exchange.ts';

/** What one request is made with. */
export type Grant = {
  /** The value of `Authorization`; absent where nothing is sent. */
  readonly authorization?: string;
  /** Drops what the gateway refused; false where nothing else can be had. */
  readonly drop: () => boolean;
};

/** With what the gateway is asked, and functions are called. */
export interface Access {
  readonly hasCredentials: boolean;
  api(signal: AbortSignal): Promise<Grant>;
  call(address: Address, signal: AbortSignal): Promise<Grant>;
}

const NONE: Grant = { drop: () => false };
/** Tokens of single functions that are kept. */
const MAX_FUNCTION_TOKENS = 256;
// `DefaultNamespace`, https://github.com/openfaas/go-sdk/blob/master/functions.go (read 2026-11-28)
const DEFAULT_NAMESPACE = 'openfaas-fn';

/**
 * Checks, before any I/O, that the connector says once and completely who it is.
 *
 * @throws ConnectorError `invalid_argument` where `auth_type` and the credentials disagree.
 */
export function checkAccess(options: OpenfaasOptions, { authType }: Pick<OpenContext, 'authType'>): void {
  const { api_key, client_id, password } = options;
  const has = { basic: password !== undefined, key: api_key !== undefined, client: client_id !== undefined };
  if (authType === 'iam')
    throw invalidField(
      'auth_type',
      'is none, api_key or oauth: IAM of OpenFaaS takes the tokens of a client',
    );
  if (authType === 'none' && (has.basic || has.key || has.client))
    throw invalidField('auth_type', 'is none, and there are credentials');
  if (authType === 'api_key' && !has.basic && !has.key)
    throw invalidField('credentials.api_key', 'is missing, and so is password');
  if (authType === 'oauth' && !has.client)
    throw invalidField('credentials.client_secret', 'is missing, or client_id or token_url');
}

/** No identity of the host is ever looked for: what is not given here is not sent. */
export function accessOf(options: OpenfaasOptions, fetcher: Fetcher, { clock }: OpenContext): Access {
  const { fetch } = fetcher;
  const { api_key, client_id, client_secret, invoke_auth, password, token_url, username } = options;
  const url = `${options.endpoint.replace(/\/+$/, '')}/oauth/token`;
  const subject =
    client_id !== undefined && client_secret !== undefined && token_url !== undefined
      ? clientCredentials({
          ...{ tokenUrl: token_url, clientId: client_id, clientSecret: client_secret, fetch, clock },
          ...{ scope: options.scope, audience: options.audience, clientAuth: options.client_auth },
        })
      : api_key !== undefined
        ? fixedToken(api_key)
        : undefined;
  const isExchanged = client_id !== undefined && options.token_exchange;
  const tokens = subject && isExchanged ? exchangedTokens({ url, subject, fetch, clock }) : subject;
  const basic = password === undefined ? undefined : basicOf(username, password);
  const api = async (signal: AbortSignal): Promise<Grant> => {
    if (tokens !== undefined) return grantOf(tokens, client_id !== undefined, signal);
    return basic === undefined ? NONE : { authorization: basic, drop: () => false };
  };
  const ofFunctions = new Map<string, AccessTokens>();
  const ofFunction = (from: AccessTokens, { name, namespace = DEFAULT_NAMESPACE }: Address): AccessTokens => {
    const audience = `${namespace}:${name}`;
    const known = ofFunctions.get(audience);
    const one = known ?? exchangedTokens({ url, subject: from, scope: 'function', audience, fetch, clock });
    // Set anew, so that the first is the one that was used longest ago.
    ofFunctions.delete(audience);
    ofFunctions.set(audience, one);
    const [oldest] = ofFunctions.size > MAX_FUNCTION_TOKENS ? ofFunctions.keys() : [];
    if (oldest !== undefined) ofFunctions.delete(oldest);
    return one;
  };
  return {
    hasCredentials: tokens !== undefined || basic !== undefined,
    api,
    async call(address, signal) {
      if (invoke_auth === 'none') return NONE;
      if (invoke_auth === 'same') return api(signal);
      if (subject === undefined) throw new ConnectorError('internal', 'there is no token to exchange');
      return grantOf(ofFunction(subject, address), true, signal);
    },
  };
}

async function grantOf(tokens: AccessTokens, isRenewable: boolean, signal: AbortSignal): Promise<Grant> {
  const token = await tokens.token(signal);
  return {
    authorization: `Bearer ${token}`,
    drop() {
      tokens.forget(token);
      return isRenewable;
    },
  };
}

function fixedToken(token: string): AccessTokens {
  return { token: async () => token, forget: () => {} };
}

/** https://www.rfc-editor.org/rfc/rfc7617#section-2 (read 2026-11-28), in UTF-8 as Go's `BasicAuth` compares it. */
function basicOf(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
