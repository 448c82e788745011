import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import type { WriteResult } from '../../../driver.ts';
import { notS3 } from './errors.ts';
import { bareEtag, infoOf, statFile } from './read.ts';
import { inParts } from './upload.ts';
import type { Writing } from './writing.ts';

// Beyond it only parts are copied, says the API's reference in the SDK (`CopyObjectCommand`, read 2026-11-27).
const MAX_COPY_BYTES = 5 * 2 ** 30;
const COPY_PART_BYTES = 2 ** 30;

/** Sizes that tests make small. */
export type CopySizes = { readonly maxCopyBytes: number; readonly partBytes: number };

/** Copies a file within the bucket, its content type and metadata with it; nothing passes through here. */
export async function copyFile(
  writing: Writing,
  from: string,
  to: string,
  signal: AbortSignal,
  { maxCopyBytes, partBytes }: CopySizes = { maxCopyBytes: MAX_COPY_BYTES, partBytes: COPY_PART_BYTES },
): Promise<WriteResult> {
  const { bucket } = writing;
  const head = await bucket.head(from, signal);
  const { size, etag } = infoOf(from, head, head.ContentLength);
  // S3 refuses to copy a file onto itself unless something about it changes.
  if (from === to) return { path: to, size, ...(etag !== undefined && { etag }) };
  if (size > maxCopyBytes) {
    const made = await copyParts(writing, { from, to, head, size, partBytes }, signal);
    return { path: to, size, ...(made !== undefined && { etag: made }) };
  }
  const { CopyObjectCommand } = bucket.sdk;
  const { CopyObjectResult } = await bucket.send(
    new CopyObjectCommand({
      Bucket: bucket.name,
      Key: to,
      CopySource: sourceOf(bucket.name, from),
      ...writing.stored,
    }),
    signal,
  );
  if (CopyObjectResult?.ETag === undefined) throw notS3();
  const copied = bareEtag(CopyObjectResult.ETag);
  if (copied === etag) return { path: to, size, etag };
  // Something else was copied than was looked at, or the store has an etag of its own for each copy.
  const { size: sizeNow, etag: etagNow = copied } = await statFile(bucket, to, signal);
  return { path: to, size: sizeNow, etag: etagNow };
}

type PartedCopy = {
  readonly from: string;
  readonly to: string;
  readonly head: HeadObjectCommandOutput;
  readonly size: number;
  readonly partBytes: number;
};

function copyParts(
  writing: Writing,
  { from, to, head, size, partBytes }: PartedCopy,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { bucket, stored } = writing;
  const { UploadPartCopyCommand } = bucket.sdk;
  let at = 0;
  const next = async () => {
    if (at >= size) return { done: true as const, value: undefined };
    const start = at;
    at = Math.min(size, at + partBytes);
    return { done: false as const, value: `bytes=${start}-${at - 1}` };
  };
  const send = async (id: string, number: number, range: string, either: AbortSignal) => {
    const { CopyPartResult } = await bucket.send(
      new UploadPartCopyCommand({
        Bucket: bucket.name,
        Key: to,
        UploadId: id,
        PartNumber: number,
        CopySource: sourceOf(bucket.name, from),
        CopySourceRange: range,
        // A source that is replaced meanwhile would give a mixture of both.
        ...(head.ETag !== undefined && { CopySourceIfMatch: head.ETag }),
      }),
      either,
    );
    const { ETag, ChecksumCRC32 } = CopyPartResult ?? {};
    if (ETag === undefined) throw notS3();
    return { PartNumber: number, ETag, ...(ChecksumCRC32 !== undefined && { ChecksumCRC32 }) };
  };
  const { ContentType, Metadata } = head;
  const described = {
    ...stored,
    ...(ContentType !== undefined && { ContentType }),
    ...(Metadata !== undefined && { Metadata }),
  };
  return inParts(writing, { path: to, described, next, send }, signal);
}

/** The SDK leaves it to the caller to encode this header. */
function sourceOf(bucket: string, path: string): string {
  return `${bucket}/${path.split('/').map(encodeURIComponent).join('/')}`;
}
