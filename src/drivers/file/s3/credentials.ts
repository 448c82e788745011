import {
  ConnectorError,
  invalidField,
  isConnectorError,
  loadPeer,
  type Agents,
  type OpenContext,
} from '../../../driver.ts';
import { s3Failure, type FailureContext } from './errors.ts';
import { isAmazon, type S3Options } from './options.ts';
import { amazonEndpoint, baseConfig, S3_PEERS, type ClientConfig } from './sdk.ts';

/** How long the machine's metadata service may take; it is a hop away. */
const METADATA_TIMEOUT_MS = 1000;

type KeyPair = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
};
type Identity = Awaited<ReturnType<Provider>>;
type Provider = Extract<NonNullable<ClientConfig['credentials']>, (...args: never[]) => unknown>;

/** How a client signs: with credentials, or not at all. */
export type Signing = Pick<ClientConfig, 'credentials' | 'signer'>;

/** The parts of opening that credentials are made of. */
export type CredentialsContext = {
  readonly open: Pick<OpenContext, 'authType' | 'trusted'>;
  readonly agents: Agents;
  readonly failures: FailureContext;
};

/**
 * The credentials of the tenant, always explicit: without them the SDK would look for the host's own.
 *
 * @throws ConnectorError `permission_denied` before any I/O where only the host's identity would be left, and the
 *   connector was not made by an administrator; `invalid_argument` where nothing was given.
 */
export async function signingOf(options: S3Options, context: CredentialsContext): Promise<Signing> {
  const { authType } = context.open;
  const pair = keyPair(options);
  const isHost = pair === undefined && (authType === 'iam' || options.role_arn !== undefined);
  if (pair === undefined && !isHost) {
    if (authType !== 'none')
      throw invalidField('credentials.access_key_id', 'is missing; without keys, auth_type is iam or none');
    return { credentials: { accessKeyId: '', secretAccessKey: '' }, signer: { sign: async (it) => it } };
  }
  if (isHost && !context.open.trusted) throw notTheHosts();
  if (pair !== undefined && options.role_arn === undefined) return { credentials: pair };
  const { fromNodeProviderChain, fromTemporaryCredentials } = await loadPeer(
    '@aws-sdk/credential-providers',
    S3_PEERS['@aws-sdk/credential-providers'],
    () => import('@aws-sdk/credential-providers'),
  );
  const clientConfig = { ...baseConfig(options, context.agents), authSchemePreference: [] };
  const base =
    pair ??
    named(
      fromNodeProviderChain({
        clientConfig: { ...clientConfig, endpoint: amazonEndpoint('sts', options) },
        logger: clientConfig.logger,
        timeout: METADATA_TIMEOUT_MS,
        maxRetries: 0,
      }),
      (error) => noIdentity(error, context.failures),
    );
  if (options.role_arn === undefined) return { credentials: base };
  const assumed = fromTemporaryCredentials({
    masterCredentials: base,
    params: {
      RoleArn: options.role_arn,
      RoleSessionName: 'connector-registry',
      ...(options.external_id !== undefined && { ExternalId: options.external_id }),
    },
    clientConfig: { ...clientConfig, endpoint: stsEndpoint(options) },
    logger: clientConfig.logger,
  });
  return { credentials: named(assumed, (error) => notAssumed(error, context.failures)) };
}

/** What of the options may be in no message. */
export function secretsOf(options: S3Options): readonly string[] {
  const { access_key_id, secret_access_key, session_token, external_id } = options;
  return [secret_access_key, session_token, external_id, access_key_id].filter(
    (secret) => secret !== undefined,
  );
}

function keyPair({ access_key_id, secret_access_key, session_token }: S3Options): KeyPair | undefined {
  if (access_key_id === undefined || secret_access_key === undefined) return undefined;
  return {
    accessKeyId: access_key_id,
    secretAccessKey: secret_access_key,
    ...(session_token !== undefined && { sessionToken: session_token }),
  };
}

/** Compatible stores that have roles (Ceph, MinIO) assume them at the very address of their buckets. */
function stsEndpoint(options: S3Options): string {
  const own = isAmazon(options) ? undefined : options.endpoint;
  return options.sts_endpoint ?? own ?? amazonEndpoint('sts', options);
}

/** The same provider, whose failures are errors of ours: they pass through the client as they are. */
function named(
  provider: (properties?: Record<string, unknown>) => Promise<Identity>,
  failure: (error: unknown) => ConnectorError,
): Provider {
  return async (properties) => {
    try {
      return await provider(properties);
    } catch (error) {
      throw failure(error);
    }
  };
}

function notAssumed(error: unknown, failures: FailureContext): ConnectorError {
  if (isConnectorError(error)) return error;
  const { code, message, details, cause } = s3Failure(error, failures);
  // No role, or none that these credentials may assume: STS does not tell the two apart.
  const kind = code === 'not_found' ? 'permission_denied' : code;
  return new ConnectorError(kind, `the role could not be assumed: ${message}`, { cause, details });
}

function noIdentity(error: unknown, failures: FailureContext): ConnectorError {
  if (isConnectorError(error)) return error;
  const isNone = error instanceof Error && error.name === 'CredentialsProviderError';
  if (!isNone) return s3Failure(error, failures);
  return new ConnectorError('auth_failed', 'this machine has no identity at AWS that could be used', {
    cause: error,
  });
}

function notTheHosts(): ConnectorError {
  return new ConnectorError(
    'permission_denied',
    "only connectors that an administrator made may use the host's own identity; give access_key_id and secret_access_key",
  );
}
