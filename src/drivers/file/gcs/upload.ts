import { createHash, randomBytes } from 'node:crypto';
import type { ClientWriteOptions } from '../../../driver.ts';
import type { Api } from './api.ts';
import { changed, notGoogle } from './errors.ts';
import { encoded, generationOf, objectResource, type ObjectResource, OBJECT_FIELDS } from './object.ts';
import { chunksOf, CHUNK_BYTES } from './chunks.ts';
import { type Cancellations, startSession, type UploadRequest, type UploadSession } from './session.ts';

/** The bytes of one upload at most that are sent in one request, and of each request of the others. */
export const SINGLE_BYTES = CHUNK_BYTES;

/** What is written where, and on which condition. */
export type Upload = {
  readonly api: Api;
  readonly name: string;
  readonly options: ClientWriteOptions;
  readonly cancellations: Cancellations;
};

/**
 * Writes the content as a whole: in one request where it is small, otherwise by a resumable upload, 8 MiB at a time.
 *
 * @throws ConnectorError after which the session of the upload, if there is one, is cancelled.
 */
export async function upload(
  target: Upload,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<ObjectResource> {
  const request = uploadRequest(target);
  if (content instanceof Uint8Array && content.byteLength <= SINGLE_BYTES)
    return multipart(target.api, request, content, signal);
  let session: UploadSession | undefined;
  try {
    for await (const { bytes, isLast } of chunksOf(content)) {
      if (session === undefined && isLast) return await multipart(target.api, request, bytes, signal);
      session ??= await startSession(target.api, request, signal);
      const stored = await session.put(bytes, isLast, signal);
      if (stored !== undefined) return stored;
    }
  } catch (error) {
    if (session !== undefined) target.cancellations.cancel(session);
    throw error;
  }
  throw notGoogle('an upload that has no end');
}

function uploadRequest({ api, name, options }: Upload): UploadRequest {
  const { contentType, metadata, ifNoneMatch, ifMatch } = options;
  const condition = ifNoneMatch !== undefined ? 'ifNoneMatch' : ifMatch !== undefined ? 'ifMatch' : undefined;
  return {
    path: `/upload/storage/v1/b/${encodeURIComponent(api.bucket)}/o`,
    query: { fields: OBJECT_FIELDS, ifGenerationMatch: expectedGeneration(options) },
    resource: {
      name,
      ...(contentType !== undefined && { contentType }),
      ...(metadata !== undefined && { metadata: encoded(metadata) }),
    },
    contentType: contentType ?? 'application/octet-stream',
    // Files that are written need not exist, so that only the bucket can be missing.
    subject: { bucket: api.bucket, names: 'bucket', condition },
  };
}

/** @throws ConnectorError `conflict` for an etag that no file of this backend ever had. */
function expectedGeneration({ ifNoneMatch, ifMatch }: ClientWriteOptions): string | undefined {
  if (ifNoneMatch !== undefined) return '0';
  if (ifMatch === undefined) return undefined;
  const generation = generationOf(ifMatch);
  if (generation === undefined) throw changed();
  return generation;
}

/** The description and the content in one body: https://www.rfc-editor.org/rfc/rfc2387 */
async function multipart(
  api: Api,
  { path, query, resource, contentType, subject }: UploadRequest,
  content: Uint8Array,
  signal: AbortSignal,
): Promise<ObjectResource> {
  const boundary = randomBytes(16).toString('hex');
  // The backend refuses content that has another digest.
  const described = { ...resource, md5Hash: createHash('md5').update(content).digest('base64') };
  const body = Buffer.concat([
    Buffer.from(
      `--${boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n${JSON.stringify(described)}\r\n` +
        `--${boundary}\r\ncontent-type: ${contentType}\r\n\r\n`,
    ),
    content,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  const headers = { 'content-type': `multipart/related; boundary=${boundary}` };
  return api.json(
    { method: 'POST', path, query: { ...query, uploadType: 'multipart' }, headers, body, subject },
    objectResource,
    signal,
  );
}
