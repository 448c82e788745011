import type { ServerSideEncryption, StorageClass } from '@aws-sdk/client-s3';
import { ConnectorError, headerValue, isConnectorError, type ClientWriteOptions } from '../../../driver.ts';
import type { Afterwards } from './afterwards.ts';
import type { Bucket } from './bucket.ts';
import { answeredWith } from './errors.ts';
import { isAmazon, type S3Options } from './options.ts';
import { etagNow } from './read.ts';

/** Parts of one upload that are on their way at once. */
export const PARALLEL_PARTS = 4;

/** Where and how files are written. */
export type Writing = {
  readonly bucket: Bucket;
  readonly afterwards: Afterwards;
  readonly partBytes: number;
  /** Whether a condition holds for an upload in parts. */
  readonly conditionalParts: boolean;
  readonly isAmazon: boolean;
  /** What the options say about everything that is stored. */
  readonly stored: StoredAs;
};
export type StoredAs = {
  readonly StorageClass?: StorageClass;
  readonly ServerSideEncryption?: ServerSideEncryption;
  readonly SSEKMSKeyId?: string;
};

export function writingOf(options: S3Options, bucket: Bucket, afterwards: Afterwards): Writing {
  const { storage_class, server_side_encryption, kms_key_id } = options;
  return {
    bucket,
    afterwards,
    partBytes: options.part_mebibytes * 2 ** 20,
    conditionalParts: options.conditional_parts ?? isAmazon(options),
    isAmazon: isAmazon(options),
    stored: {
      // The classes of compatible stores are their own, and the SDK's type knows Amazon's alone.
      ...(storage_class !== undefined && { StorageClass: storage_class as StorageClass }),
      ...(server_side_encryption !== undefined && { ServerSideEncryption: server_side_encryption }),
      ...(kms_key_id !== undefined && { SSEKMSKeyId: kms_key_id }),
    },
  };
}

/** What the failure of a write under its condition means; any other failure is left as it is. */
export async function refusalOf(
  error: unknown,
  { bucket }: Writing,
  path: string,
  options: ClientWriteOptions,
  signal: AbortSignal,
): Promise<unknown> {
  const { status } = answeredWith(error);
  const cause = isConnectorError(error) ? error.cause : undefined;
  if (options.ifNoneMatch !== undefined && (status === 412 || status === 409)) {
    // 409 says that somebody else is writing, not what came of it.
    if (status === 412 || (await etagNow(bucket, path, signal)) !== undefined)
      return new ConnectorError('already_exists', 'there is a file already', { cause });
    return new ConnectorError('unavailable', 'somebody else is writing the file; try again', { cause });
  }
  const isMissing = status === 404 && answeredWith(error).code !== 'NoSuchBucket';
  if (options.ifMatch !== undefined && (status === 412 || status === 409 || isMissing))
    return new ConnectorError('conflict', 'the file is not the one with that etag', { cause });
  return error;
}

/** The headers of a write, beyond its path, content and condition. */
export function describedBy({ stored }: Writing, { contentType, metadata }: ClientWriteOptions) {
  return {
    ...stored,
    ...(contentType !== undefined && { ContentType: contentType }),
    ...(metadata !== undefined && {
      Metadata: Object.fromEntries(
        Object.entries(metadata).map(([name, value]) => [name, headerValue(value)]),
      ),
    }),
  };
}

/** The condition as a header says it. */
export function conditionHeaders({ ifNoneMatch, ifMatch }: ClientWriteOptions) {
  return {
    ...(ifNoneMatch !== undefined && { IfNoneMatch: ifNoneMatch }),
    ...(ifMatch !== undefined && { IfMatch: `"${ifMatch}"` }),
  };
}
