import { clientCredentials, invalidField, type HttpAnswer, type OpenContext } from '../../../driver.ts';
import { waysOf, type HttpOptions } from './options.ts';

/** Who we are to the functions. */
export type Auth = {
  readonly headers: (signal: AbortSignal) => Promise<Readonly<Record<string, string>>>;
  /** The credentials of these headers were refused. */
  readonly refused: (headers: Readonly<Record<string, string>>) => void;
  readonly close: () => Promise<void>;
};

/** What each call authenticates with. @throws ConnectorError `invalid_argument` where `auth_type` says otherwise. */
export function authOf(options: HttpOptions, { authType, network, clock }: OpenContext): Auth {
  const [way] = waysOf(options);
  checkType(options, authType);
  const {
    api_key,
    api_key_header: header,
    username,
    password,
    token_url,
    client_id,
    client_secret,
  } = options;
  if (way === 'api_key' && api_key !== undefined)
    return constant(
      header === undefined ? { authorization: `Bearer ${api_key}` } : { [header.toLowerCase()]: api_key },
    );
  if (way === 'basic')
    return constant({ authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` });
  if (token_url === undefined || client_id === undefined || client_secret === undefined) return constant({});
  const fetcher = network.fetcher({ ca: options.ca, connections: 2 });
  const { scope, audience, client_auth: clientAuth } = options;
  const tokens = clientCredentials({
    ...{ tokenUrl: token_url, clientId: client_id, clientSecret: client_secret, scope, audience, clientAuth },
    ...{ fetch: fetcher.fetch, clock },
  });
  return {
    headers: async (signal) => ({ authorization: `Bearer ${await tokens.token(signal)}` }),
    refused: ({ authorization }) => tokens.forget(authorization?.replace('Bearer ', '')),
    close: () => fetcher.close(),
  };
}

function constant(headers: Readonly<Record<string, string>>): Auth {
  return { headers: async () => headers, refused() {}, close: async () => {} };
}

function checkType(options: HttpOptions, authType: OpenContext['authType']): void {
  const [way] = waysOf(options);
  if (authType === 'iam')
    throw invalidField('auth_type', 'is none, api_key or oauth: an endpoint knows no identity of this host');
  if (authType === 'none' && way !== undefined)
    throw invalidField('auth_type', 'is not none where there are credentials');
  if (authType === 'oauth' && way !== 'oauth')
    throw invalidField(
      'credentials.client_secret',
      'is needed with token_url and client_id for auth_type oauth',
    );
  if (authType === 'api_key' && (way === 'oauth' || (way ?? options.signing_secret) === undefined))
    throw invalidField(
      'credentials.api_key',
      'is needed for auth_type api_key, or a password or signing_secret',
    );
}

/**
 * An answer without the credentials that a page of a failure may repeat, as some show the whole request: what is said of
 * a failure is stored and shown.
 */
export function withoutSecrets(
  answer: HttpAnswer,
  options: HttpOptions,
  sent: Readonly<Record<string, string>>,
): HttpAnswer {
  const { api_key, password, client_secret, signing_secret, signing_secret_previous } = options;
  const values = Object.values(sent).flatMap((value) => [value, value.replace(/^(?:Basic|Bearer) /, '')]);
  const secrets = [...values, api_key, password, client_secret, signing_secret, signing_secret_previous];
  let text = new TextDecoder().decode(answer.body);
  for (const secret of secrets) {
    if (secret === undefined) continue;
    text = text.replaceAll(JSON.stringify(secret).slice(1, -1), '***').replaceAll(secret, '***');
  }
  return { ...answer, body: Buffer.from(text) };
}
