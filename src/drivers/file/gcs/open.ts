import { z } from 'zod';
import { googleTokens } from '../../../clouds/gcp/google-tokens.ts';
import { described, type Identity, identityOf } from '../../../clouds/gcp/identity.ts';
import {
  type FileClient,
  isConnectorError,
  type Note,
  type OpenContext,
  type PresignOptions,
  reach,
  targetOf,
} from '../../../driver.ts';
import { type Api, jsonApi } from './api.ts';
import { GcsClient } from './client.ts';
import type { GcsOptions } from './options.ts';
import { cancellations } from './session.ts';
import { signedUrl } from './signed-url.ts';

/** What tokens are fetched for: reading, writing and deleting objects, and nothing of their access rules. */
const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write';

/** @throws ConnectorError `permission_denied` for an identity that is not the tenant's; `auth_failed`; `not_found` without the bucket. */
export async function openGcs(options: GcsOptions, context: OpenContext): Promise<FileClient> {
  const { clock, network } = context;
  const { endpoint, bucket, ca, user_project: userProject, token_endpoint: tokenEndpoint } = options;
  const identity = identityOf(options, context);
  await reach(context, targetOf(endpoint, ca));
  const fetcher = network.fetcher({ ca });
  const google = await googleTokens(identity, { tokenEndpoint, ca }, context);
  const close = async () => {
    await Promise.all([fetcher.close(), google.close()]);
  };
  try {
    const api = jsonApi({ options, fetcher, tokens: google.of({ scope: SCOPE }), clock });
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
