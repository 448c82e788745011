import type { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import {
  ConnectorError,
  invalidField,
  isConnectorError,
  loadPeer,
  type Agents,
  type OpenContext,
} from '../../driver.ts';
import { awsFailure, type AwsFailureContext } from './errors.ts';
import type { AwsIdentityOptions } from './options.ts';
import { amazonEndpoint, baseConfig, CREDENTIALS_PEER, type Region } from './sdk.ts';

/** How long the machine's metadata service may take; it is a hop away. */
const METADATA_TIMEOUT_MS = 1000;
/** A backstop for STS, which answers within seconds. */
const SILENCE_MS = 60_000;
/** Whoever has no credentials has not asked the service itself for anything. */
const UNSENT = { sent: false };

type Identity = Awaited<ReturnType<ReturnType<typeof fromNodeProviderChain>>>;
type Provider = (properties?: Record<string, unknown>) => Promise<Identity>;
type KeyPair = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
};

/** What a client of the SDK takes as its `credentials`. */
export type AwsCredentials = KeyPair | Provider;

/** The parts of opening that credentials are made of. */
export type CredentialsContext = {
  readonly open: Pick<OpenContext, 'authType' | 'trusted'>;
  readonly agents: Agents;
  readonly failures: AwsFailureContext;
  /** Where a role is assumed unless the options say so: AWS in the region where absent. */
  readonly stsEndpoint?: string | undefined;
};

/**
 * The credentials of the tenant, always explicit: without them the SDK would look for the host's own. `undefined` where
 * the connector says that it has none.
 *
 * @throws ConnectorError `permission_denied` before any I/O where only the host's identity would be left, and the
 *   connector was not made by an administrator; `invalid_argument` where nothing was given.
 */
export async function awsCredentials(
  options: AwsIdentityOptions & Region,
  context: CredentialsContext,
): Promise<AwsCredentials | undefined> {
  const { authType } = context.open;
  const pair = keyPair(options);
  const isHost = pair === undefined && (authType === 'iam' || options.role_arn !== undefined);
  if (pair === undefined && !isHost) {
    if (authType === 'none') return undefined;
    throw invalidField('credentials.access_key_id', 'is missing; without keys, auth_type is iam or none');
  }
  if (isHost && !context.open.trusted) throw notTheHosts();
  if (pair !== undefined && options.role_arn === undefined) return pair;
  const { fromNodeProviderChain, fromTemporaryCredentials } = await loadPeer(
    '@aws-sdk/credential-providers',
    CREDENTIALS_PEER['@aws-sdk/credential-providers'],
    () => import('@aws-sdk/credential-providers'),
  );
  const clientConfig = { ...baseConfig(options, context.agents, SILENCE_MS), authSchemePreference: [] };
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
  if (options.role_arn === undefined) return base;
  const assumed = fromTemporaryCredentials({
    masterCredentials: base,
    params: {
      RoleArn: options.role_arn,
      RoleSessionName: 'connector-registry',
      ...(options.external_id !== undefined && { ExternalId: options.external_id }),
    },
    clientConfig: {
      ...clientConfig,
      endpoint: options.sts_endpoint ?? context.stsEndpoint ?? amazonEndpoint('sts', options),
    },
    logger: clientConfig.logger,
  });
  return named(assumed, (error) => notAssumed(error, context.failures));
}

function keyPair({
  access_key_id,
  secret_access_key,
  session_token,
}: AwsIdentityOptions): KeyPair | undefined {
  if (access_key_id === undefined || secret_access_key === undefined) return undefined;
  return {
    accessKeyId: access_key_id,
    secretAccessKey: secret_access_key,
    ...(session_token !== undefined && { sessionToken: session_token }),
  };
}

/** The same provider, whose failures are errors of ours: they pass through the client as they are. */
function named(provider: Provider, failure: (error: unknown) => ConnectorError): Provider {
  return async (properties) => {
    try {
      return await provider(properties);
    } catch (error) {
      throw failure(error);
    }
  };
}

function notAssumed(error: unknown, failures: AwsFailureContext): ConnectorError {
  if (isConnectorError(error)) return error;
  const { code, message, details, cause, retryAfterMs } = awsFailure(error, failures);
  // No role, or none that these credentials may assume: STS does not tell the two apart.
  const kind = code === 'not_found' ? 'permission_denied' : code;
  return new ConnectorError(kind, `the role could not be assumed: ${message}`, {
    cause,
    details: { ...details, ...UNSENT },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function noIdentity(error: unknown, failures: AwsFailureContext): ConnectorError {
  if (isConnectorError(error)) return error;
  const isNone = error instanceof Error && error.name === 'CredentialsProviderError';
  if (!isNone) return awsFailure(error, failures);
  return new ConnectorError('auth_failed', 'this machine has no identity at AWS that could be used', {
    cause: error,
    details: UNSENT,
  });
}

function notTheHosts(): ConnectorError {
  return new ConnectorError(
    'permission_denied',
    "only connectors that an administrator made may use the host's own identity; give access_key_id and secret_access_key",
  );
}
