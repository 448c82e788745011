import type { ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import {
  nameOf,
  byteOrder,
  cursorAfter,
  pathInCursor,
  type ClientListOptions,
  type FileInfo,
  type FilePage,
} from '../../../driver.ts';
import type { Bucket } from './bucket.ts';
import { notS3 } from './errors.ts';
import { bareEtag } from './read.ts';

/** Sorts after every key of a folder that a path can name, as far as UTF-8 goes. */
const LAST = '\u{10ffff}';

/** A key of the bucket, or the common beginning of those in a folder, which ends in `/`. */
type Entry = { readonly key: string; readonly file?: FileInfo };

/**
 * One page of the bucket, which is in order of its keys by itself, says the API's reference in the SDK
 * (`ListObjectsV2Command`, read 2026-11-27); by their bytes, as Ceph was seen to do.
 *
 * Goes on by `StartAfter` and not by S3's own token, which is a secret of the backend that nobody can check. Keys that
 * no path can name are left out.
 */
export async function listPage(
  bucket: Bucket,
  path: string,
  { recursive, limit, cursor }: ClientListOptions,
  signal: AbortSignal,
): Promise<FilePage> {
  const prefix = path === '' ? '' : `${path}/`;
  const after = cursor === undefined ? undefined : pathInCursor(cursor);
  let page: Page;
  let token: string | undefined;
  do {
    page = await pageOf(bucket, { prefix, recursive, limit, after, token }, signal);
    token = page.token;
    // A store that shows the cursor's own folder again has shown nothing yet.
  } while (page.entries.length === 0 && token !== undefined);
  const files = page.entries.flatMap(({ key, file }) => {
    const name = key.slice(prefix.length);
    if (name === '' || name === '/') return [];
    if (file !== undefined) return name.endsWith('/') ? [] : [file];
    return [folderOf(key.slice(0, -1))];
  });
  const last = page.entries.at(-1);
  if (!page.isTruncated || last === undefined) return { files };
  return { files, nextCursor: cursorAfter(last.key) };
}

type PageQuery = {
  readonly prefix: string;
  readonly recursive: boolean;
  readonly limit: number;
  /** The last key, or folder with its `/`, of the page before. */
  readonly after: string | undefined;
  readonly token: string | undefined;
};
type Page = {
  readonly entries: readonly Entry[];
  readonly isTruncated: boolean;
  readonly token: string | undefined;
};

async function pageOf(
  bucket: Bucket,
  { prefix, recursive, limit, after, token }: PageQuery,
  signal: AbortSignal,
): Promise<Page> {
  const { ListObjectsV2Command } = bucket.sdk;
  // One that stands for all that is in it; elsewhere a key that ends so is a key like any other.
  const isFolder = (key: string) => !recursive && key !== prefix && key.endsWith('/');
  const answer = await bucket.send(
    new ListObjectsV2Command({
      Bucket: bucket.name,
      Prefix: prefix,
      MaxKeys: limit,
      // XML cannot hold every character that a key can.
      EncodingType: 'url',
      ...(!recursive && { Delimiter: '/' }),
      ...(after !== undefined && { StartAfter: isFolder(after) ? after + LAST : after }),
      ...(token !== undefined && { ContinuationToken: token }),
    }),
    signal,
  );
  if (typeof answer.IsTruncated !== 'boolean') throw notS3();
  const entries = entriesOf(answer);
  return {
    entries: after === undefined ? entries : entries.filter(({ key }) => byteOrder(key, after) > 0),
    isTruncated: answer.IsTruncated,
    token: answer.IsTruncated ? answer.NextContinuationToken : undefined,
  };
}

/** Asks for as little as there is: what S3 says to that tells the bucket, the keys and the rights apart. */
export async function askForAny(bucket: Bucket, signal: AbortSignal): Promise<void> {
  const { ListObjectsV2Command } = bucket.sdk;
  const answer = await bucket.send(new ListObjectsV2Command({ Bucket: bucket.name, MaxKeys: 1 }), signal);
  if (typeof answer.IsTruncated !== 'boolean') throw notS3();
}

/** Keys and folders in one order; S3 answers the two apart. */
function entriesOf(answer: ListObjectsV2CommandOutput): readonly Entry[] {
  const isEncoded = answer.EncodingType === 'url';
  const keyOf = (text: string | undefined) => {
    if (text === undefined) throw notS3();
    return isEncoded ? decoded(text) : text;
  };
  const files = (answer.Contents ?? []).map(({ Key, Size, LastModified, ETag }): Entry => {
    const key = keyOf(Key);
    if (Size === undefined || LastModified === undefined) throw notS3();
    return {
      key,
      file: {
        name: nameOf(key),
        path: key,
        size: Size,
        lastModified: wholeSeconds(LastModified),
        isDirectory: false,
        ...(ETag !== undefined && { etag: bareEtag(ETag) }),
      },
    };
  });
  const folders = (answer.CommonPrefixes ?? []).map(({ Prefix }): Entry => ({ key: keyOf(Prefix) }));
  // Each of the two is in order by itself.
  if (folders.length === 0) return files;
  return [...files, ...folders].sort((a, b) => byteOrder(a.key, b.key));
}

/** S3 writes a blank as `+`, others as `%20`; a `+` is `%2B` to both. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text.includes('+') ? text.replaceAll('+', '%20') : text);
  } catch {
    throw notS3();
  }
}

/** The time that HEAD tells, whose header has no more. */
function wholeSeconds(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}

function folderOf(path: string): FileInfo {
  const name = nameOf(path);
  return { name, path, size: 0, lastModified: new Date(0), isDirectory: true };
}
