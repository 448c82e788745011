import type { GetObjectCommandOutput, HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import { until } from '../../../clouds/aws/sdk.ts';
import {
  nameOf,
  ConnectorError,
  fromHeaderValue,
  isConnectorError,
  type ByteRange,
  type FileInfo,
  type OpenedFile,
} from '../../../driver.ts';
import { collected, FileBody, type Source } from './body.ts';
import type { Bucket } from './bucket.ts';
import { notS3 } from './errors.ts';

/** What `readBytes` takes into memory at most. */
export const MAX_BYTES_AT_ONCE = 2 ** 30;

/** The facts of a file, as HEAD tells them. */
export async function statFile(bucket: Bucket, path: string, signal: AbortSignal): Promise<FileInfo> {
  const head = await bucket.head(path, signal);
  return infoOf(path, head, head.ContentLength);
}

/** The etag of what is there now; undefined where there is nothing. */
export async function etagNow(
  bucket: Bucket,
  path: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return (await statFile(bucket, path, signal)).etag ?? '';
  } catch (error) {
    if (isConnectorError(error) && error.code === 'not_found') return undefined;
    throw error;
  }
}

/** The file or the range as a stream. */
export async function readStream(
  bucket: Bucket,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<OpenedFile> {
  const { info, source, lengthBytes } = await open(bucket, path, range, signal);
  const failed = (error: unknown) => bucket.failure(error, signal);
  return { info, body: new FileBody({ source, lengthBytes, signal, failed }) };
}

/** The whole file, or the range, in memory. */
export async function readBytes(
  bucket: Bucket,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { source, lengthBytes } = await open(bucket, path, range, signal);
  try {
    if (lengthBytes > MAX_BYTES_AT_ONCE)
      throw new ConnectorError('payload_too_large', 'the file is too large to be read at once; stream it', {
        details: { maxBytes: MAX_BYTES_AT_ONCE },
      });
    return await until(signal, () => collected(source, lengthBytes));
  } catch (error) {
    source.destroy();
    throw bucket.failure(error, signal);
  }
}

/** An answer whose body nobody has begun to read; whoever gets it ends it. */
async function open(
  bucket: Bucket,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<{ readonly info: FileInfo; readonly source: Source; readonly lengthBytes: number }> {
  const answer = await bucket.get(path, headerOf(range), signal);
  const source = answer.Body as Source | undefined; // in Node always a stream of Node's
  try {
    const { ContentLength: lengthBytes } = answer;
    if (source === undefined || lengthBytes === undefined) throw notS3();
    return { info: infoOf(path, answer, sizeOf(answer, range)), source, lengthBytes };
  } catch (error) {
    source?.destroy();
    throw error;
  }
}

/** What is known of a file from the headers of an answer. */
export function infoOf(
  path: string,
  { ETag, LastModified, ContentType, Metadata = {} }: HeadObjectCommandOutput | GetObjectCommandOutput,
  size: number | undefined,
): FileInfo {
  if (LastModified === undefined || size === undefined) throw notS3();
  const metadata = Object.entries(Metadata).map(
    // Ceph gives every _ of a name back as -, which no name of ours has.
    ([name, value]) => [name.replaceAll('-', '_'), fromHeaderValue(value)] as const,
  );
  return {
    name: nameOf(path),
    path,
    size,
    lastModified: LastModified,
    isDirectory: false,
    ...(ETag !== undefined && { etag: bareEtag(ETag) }),
    ...(ContentType !== undefined && { contentType: ContentType }),
    ...(metadata.length > 0 && { metadata: Object.fromEntries(metadata) }),
  };
}

/** An etag as we tell it, without the quotes of the header. */
export function bareEtag(etag: string): string {
  return etag.startsWith('"') && etag.endsWith('"') ? etag.slice(1, -1) : etag;
}

function headerOf(range: ByteRange | undefined): string | undefined {
  return range && `bytes=${range.start}-${range.end ?? ''}`;
}

/** The size of the whole, whichever part of it was sent. */
function sizeOf(
  { ContentLength, ContentRange }: GetObjectCommandOutput,
  range: ByteRange | undefined,
): number | undefined {
  if (range === undefined) return ContentLength;
  const [, start, size] = /^bytes (\d+)-\d+\/(\d+)$/.exec(ContentRange ?? '') ?? [];
  // A backend that ignores ranges sends the whole, and it would be taken for the part.
  return Number(start) === range.start ? Number(size) : undefined;
}
