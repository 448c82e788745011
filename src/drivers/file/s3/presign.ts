import type { S3Client } from '@aws-sdk/client-s3';
import { until } from '../../../clouds/aws/sdk.ts';
import { ConnectorError, loadPeer, type PresignedUrl, type PresignOptions } from '../../../driver.ts';
import type { Bucket } from './bucket.ts';
import { S3_PEERS } from './sdk.ts';

export type Signer = {
  readonly bucket: Bucket;
  /** A client that adds no checksum of its own: it would be the empty body's, and bind what is put to it. */
  readonly client: S3Client;
  readonly now: () => number;
  /** False where requests are not signed at all. */
  readonly canSign: boolean;
};

/** Signs an address for one file and method. Nothing is sent, unless the credentials have to be fetched first. */
export async function presign(
  { bucket, client, now, canSign }: Signer,
  path: string,
  { method, expiresInSeconds, contentType }: PresignOptions,
  signal: AbortSignal,
): Promise<PresignedUrl> {
  if (!canSign)
    throw new ConnectorError('unsupported', 'without credentials no address can be signed', {
      details: { capability: 'presign' },
    });
  const { getSignedUrl } = await loadPeer(
    '@aws-sdk/s3-request-presigner',
    S3_PEERS['@aws-sdk/s3-request-presigner'],
    () => import('@aws-sdk/s3-request-presigner'),
  );
  const { GetObjectCommand, PutObjectCommand } = bucket.sdk;
  const file = { Bucket: bucket.name, Key: path };
  const typed = contentType !== undefined && { ContentType: contentType };
  const command = method === 'GET' ? new GetObjectCommand(file) : new PutObjectCommand({ ...file, ...typed });
  // The signature has whole seconds.
  const signingDate = new Date(Math.floor(now() / 1000) * 1000);
  try {
    const url = await until(signal, () =>
      getSignedUrl(client, command, {
        expiresIn: expiresInSeconds,
        signingDate,
        // Otherwise the type would be a wish.
        ...(contentType !== undefined && { signableHeaders: new Set(['host', 'content-type']) }),
      }),
    );
    return {
      url,
      method,
      headers: contentType === undefined ? {} : { 'content-type': contentType },
      expiresAt: new Date(signingDate.getTime() + expiresInSeconds * 1000),
    };
  } catch (error) {
    throw bucket.failure(error, signal);
  }
}
