import { Readable } from 'node:stream';
import type {
  BlockBlobClient,
  ContainerClient,
  HttpOperationResponse as Response,
  Pipeline,
  StorageSharedKeyCredential,
  WebResource,
} from '@azure/storage-blob';
import { assertHostIdentityAllowed } from '../../../clouds/azure/identity.ts';
import { hostTokens, IDENTITY_RANGE, principalTokens, type Tokens } from '../../../clouds/azure/tokens.ts';
import {
  ConnectorError,
  invalidField,
  loadPeer,
  type Agents,
  type Clock,
  type OpenContext,
} from '../../../driver.ts';
import { azureError, notAzure, type Subject } from './errors.ts';
import type { AzureOptions } from './options.ts';

const BLOB_RANGE = '^12.34.0';
// `StorageOAuthScopes` of the client, which has it for every cloud.
const SCOPE = 'https://storage.azure.com/.default';
export const PEERS = { '@azure/storage-blob': BLOB_RANGE, '@azure/identity': IDENTITY_RANGE };

/** A listing of 1,002 names has some two megabytes. */
const MAX_TEXT_BYTES = 32 * 2 ** 20;
/** What the client reads as "do not read the body yet, whatever the status". */
const ANY_STATUS = new Set([Number.POSITIVE_INFINITY]);

export type Sdk = typeof import('@azure/storage-blob');

/** How the account knows us. */
export type Credentials =
  | { readonly kind: 'key'; readonly credential: StorageSharedKeyCredential }
  | { readonly kind: 'sas'; readonly query: string }
  | { readonly kind: 'token'; readonly tokens: Tokens };

/** The official client, made to send through the guarded network. */
export type Service = {
  readonly sdk: Sdk;
  readonly account: string;
  /** Its name. */
  readonly container: string;
  /** The account's, without a slash at its end. */
  readonly endpoint: string;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly pipeline: Pipeline;
  readonly containerClient: ContainerClient;
  blob(path: string): BlockBlobClient;
  /** Where a blob lies, without anything that authorises. */
  urlOf(path: string): string;
  /** Asks the client; what it throws is made an error of ours. */
  call<T>(
    signal: AbortSignal,
    about: Omit<Subject, 'account' | 'container'>,
    task: () => Promise<T>,
  ): Promise<T>;
  close(): Promise<void>;
};

/**
 * Whom the connector is for the account.
 *
 * @throws ConnectorError `invalid_argument` without any credentials; `permission_denied` where the host's own identity
 *   is asked for by somebody who may not use it.
 */
export function checkIdentity(options: AzureOptions, { authType, trusted }: OpenContext): void {
  if (isGiven(options)) return;
  if (authType !== 'iam')
    throw invalidField(
      'credentials',
      'are account_key, sas_token, or tenant_id, client_id and client_secret; none with auth_type iam, for the host’s own identity',
    );
  assertHostIdentityAllowed({ trusted });
  if (endpointOf(options).startsWith('http:'))
    throw invalidField('endpoint', 'is https where tokens are sent: whoever saw one could use it');
}

function isGiven({ account_key, sas_token, client_secret }: AzureOptions): boolean {
  return account_key !== undefined || sas_token !== undefined || client_secret !== undefined;
}

export function endpointOf({ endpoint, account }: AzureOptions): string {
  const url = endpoint ?? `https://${account}.blob.core.windows.net`;
  // What is decided by the scheme looks for its usual spelling.
  return url.replace(/\/+$/, '').replace(/^https?:/i, (scheme) => scheme.toLowerCase());
}

export async function azureService(options: AzureOptions, context: OpenContext): Promise<Service> {
  const sdk = await loadPeer('@azure/storage-blob', BLOB_RANGE, () => import('@azure/storage-blob'));
  const { account, container } = options;
  const { clock } = context;
  const endpoint = endpointOf(options);
  const credentials = await credentialsOf(sdk, options, context);
  const agents = context.network.agents({ ca: options.ca });
  const pipeline = guardedPipeline(sdk, credentials, agents, endpoint);
  const query = credentials.kind === 'sas' ? `?${credentials.query}` : '';
  const urlOf = (path: string): string => `${endpoint}/${container}/${encodedName(path)}`;
  return {
    ...{ sdk, account, container, endpoint, credentials, clock, pipeline, urlOf },
    containerClient: new sdk.ContainerClient(`${endpoint}/${container}${query}`, pipeline),
    blob: (path) => new sdk.BlockBlobClient(urlOf(path) + query, pipeline),
    async call(signal, about, task) {
      try {
        signal.throwIfAborted();
        return await task();
      } catch (error) {
        const failure = azureError(error, { account, container, ...about }, { signal, nowMs: clock.now() });
        if (failure.code === 'auth_failed' && credentials.kind === 'token') credentials.tokens.forget();
        throw failure;
      }
    },
    async close() {
      agents.close();
      if (credentials.kind === 'token') await credentials.tokens.close();
    },
  };
}

async function credentialsOf(sdk: Sdk, options: AzureOptions, context: OpenContext): Promise<Credentials> {
  const { account, account_key: key, sas_token: sas } = options;
  if (key !== undefined) return { kind: 'key', credential: new sdk.StorageSharedKeyCredential(account, key) };
  if (sas !== undefined) return { kind: 'sas', query: sas.replace(/^\?/, '') };
  const tokens =
    options.client_secret === undefined
      ? await hostTokens({ identity: options, scope: SCOPE }, context)
      : principalTokens({ identity: options, scope: SCOPE }, context);
  return { kind: 'token', tokens };
}

/**
 * The client's pipeline without retries and redirects. The connections are ours, which also keeps the client from the
 * proxy that the environment names.
 */
function guardedPipeline(sdk: Sdk, credentials: Credentials, agents: Agents, endpoint: string): Pipeline {
  const settings = {
    retryOptions: { maxTries: 1 },
    // Else the client reads the environment's, and fails where that is no URL. Our own agent replaces it, see below.
    proxyOptions: { host: 'http://proxy.invalid', port: 1 },
    // Handed on to the core of the client, whose option it is.
    redirectOptions: { maxRetries: 0 },
    userAgentOptions: { userAgentPrefix: 'connector-registry' },
  };
  const credential = credentials.kind === 'key' ? credentials.credential : new sdk.AnonymousCredential();
  const pipeline = sdk.newPipeline(credential, settings);
  const agent = endpoint.startsWith('https:') ? agents.https : agents.http;
  pipeline.factories.push({
    create: (next) => ({
      async sendRequest(request) {
        request.agent = agent;
        if (credentials.kind === 'token') {
          const signal = request.abortSignal as AbortSignal | undefined; // each call of ours brings one
          const token = await credentials.tokens.get(signal ?? AbortSignal.timeout(30_000));
          request.headers.set('authorization', `Bearer ${token}`);
        }
        const response = await answered(request, () => next.sendRequest(request));
        // Azure names each request, and so does Azurite for almost every one; what does not is another server.
        const { headers } = response;
        const isNamed =
          headers.contains('x-ms-request-id') || headers.get('server')?.startsWith('Azurite-Blob/');
        if (response.status < 300 && !isNamed) throw notAzure();
        return response;
      },
    }),
  });
  return pipeline;
}

/**
 * The answer, whose text is read no further than there is room: the client itself would read and unpack whatever comes.
 * Where content was asked for, anything else is left unread, and its headers say what it is.
 */
async function answered(request: WebResource, send: () => Promise<Response>): Promise<Response> {
  if (request.streamResponseStatusCodes !== undefined && request.streamResponseStatusCodes.size > 0) {
    request.streamResponseStatusCodes = ANY_STATUS;
    try {
      return await send();
    } catch (error) {
      const { response } = error as { readonly response?: { readonly readableStreamBody?: unknown } };
      if (response?.readableStreamBody instanceof Readable) response.readableStreamBody.destroy();
      throw error;
    }
  }
  let isTooLong = false;
  request.onDownloadProgress = ({ loadedBytes }) => {
    isTooLong = loadedBytes > MAX_TEXT_BYTES;
    if (isTooLong) throw tooLong();
  };
  try {
    return await send();
  } catch (error) {
    throw isTooLong ? tooLong() : error;
  }
}

function tooLong(): ConnectorError {
  return new ConnectorError(
    'backend_error',
    `the backend answered more than ${MAX_TEXT_BYTES} bytes at once`,
    {
      details: { maxBytes: MAX_TEXT_BYTES },
    },
  );
}

/**
 * A path as part of a URL. The client would encode it too, and then resolve its dots.
 *
 * @throws ConnectorError `invalid_argument` for what a URL parser would read as another path.
 */
function encodedName(path: string): string {
  const segments = path.split('/');
  if (segments.some((segment) => segment === '.' || segment === '..'))
    throw invalidField('path', 'has no . or .. segment');
  return segments.map((segment) => encodeURIComponent(segment)).join('/');
}
