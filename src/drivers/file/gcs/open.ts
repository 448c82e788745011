import { z } from 'zod';
import {
  type FileClient,
  isConnectorError,
  loadPeer,
  type Note,
  type OpenContext,
  type PresignOptions,
  reach,
  targetOf,
} from '../../../driver.ts';
import { type Api, jsonApi } from './api.ts';
import { GcsClient } from './client.ts';
import { type Identity, identityOf } from './identity.ts';
import type { GcsOptions } from './options.ts';
import { cancellations } from './session.ts';
import { signedUrl } from './signed-url.ts';
import { tokenFetch } from './token-endpoint.ts';
import { tokenRequest } from './token-requests.ts';
import { NO_TOKENS, sharedTokens, type Tokens } from './tokens.ts';

export const PEER_RANGE = '^11.3.0';

/** @throws ConnectorError `permission_denied` for an identity that is not the tenant's; `auth_failed`; `not_found` without the bucket. */
export async function openGcs(options: GcsOptions, context: OpenContext): Promise<FileClient> {
  const { clock, network } = context;
  const { endpoint, bucket, ca, user_project: userProject } = options;
  const identity = identityOf(options, context);
  await reach(context, targetOf(endpoint, ca));
  const fetcher = network.fetcher({ ca });
  const own = await tokensOf(identity, options, context);
  const close = async () => {
    own.tokens.close();
    await Promise.all([fetcher.close(), own.close()]);
  };
  try {
    const api = jsonApi({ options, fetcher, tokens: own.tokens, clock });
    await proven(api, context);
    return new GcsClient({
      api,
      cancellations: cancellations(clock),
      check: async (call) => {
        await probe(api, call);
        return notesOf(identity, options);
      },
      close,
      ...(identity.kind === 'key' && {
        sign: (path: string, presign: PresignOptions) =>
          signedUrl({ endpoint, bucket, userProject, key: identity.key }, path, presign, clock.now()),
      }),
    });
  } catch (error) {
    await close();
    throw error;
  }
}

type OwnTokens = { readonly tokens: Tokens; readonly close: () => Promise<void> };

async function tokensOf(identity: Identity, options: GcsOptions, context: OpenContext): Promise<OwnTokens> {
  if (identity.kind === 'none') return { tokens: NO_TOKENS, close: async () => {} };
  const auth = await loadPeer('google-auth-library', PEER_RANGE, () => import('google-auth-library'));
  const { token_endpoint: tokenEndpoint, ca } = options;
  // Google's own endpoint has a certificate of a well-known authority, whatever the bucket's has.
  const fetcher = context.network.fetcher(tokenEndpoint === undefined ? {} : { ca });
  const fetch = tokenFetch(fetcher, context.clock, tokenEndpoint);
  const request = tokenRequest(identity, { auth, fetch }, fetcher);
  return { tokens: sharedTokens(request, context.clock, context.log), close: () => fetcher.close() };
}

/** The stages `credentials` and `bucket`, of which the backend is asked at once. */
async function proven(api: Api, context: OpenContext): Promise<void> {
  const failure = await context.stage('credentials', async () => {
    try {
      await probe(api, context.signal);
      return undefined;
    } catch (error) {
      const isBucket =
        isConnectorError(error) && (error.code === 'not_found' || error.code === 'permission_denied');
      if (!isBucket) throw error;
      return error;
    }
  });
  await context.stage('bucket', async () => {
    if (failure !== undefined) throw failure;
  });
}

/** Listing needs no right that the connector does not need anyway, unlike asking for the bucket. */
async function probe(api: Api, signal: AbortSignal): Promise<void> {
  await api.json(
    {
      method: 'GET',
      path: `/storage/v1/b/${encodeURIComponent(api.bucket)}/o`,
      query: { maxResults: '1', fields: 'kind' },
      subject: { bucket: api.bucket, names: 'bucket' },
    },
    z.object({ kind: z.literal('storage#objects') }),
    signal,
  );
}

function notesOf(identity: Identity, { bucket, endpoint }: GcsOptions): readonly Note[] {
  const notes: Note[] = [
    { level: 'info', message: `bucket ${bucket} of Google Cloud Storage, ${described(identity)}` },
  ];
  if (endpoint.startsWith('http:') && identity.kind !== 'none')
    notes.push({ level: 'warn', message: 'access tokens are sent in clear; use an endpoint with https' });
  if (identity.kind !== 'key')
    notes.push({ level: 'info', message: 'addresses cannot be signed without a service_account_key' });
  return notes;
}

function described(identity: Identity): string {
  switch (identity.kind) {
    case 'none':
      return 'without credentials';
    case 'key':
      return `as ${identity.key.client_email}`;
    case 'external':
      return 'by a workload identity';
    case 'host':
      return 'as this host';
  }
}
