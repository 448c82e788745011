import type { Readable } from 'node:stream';
import {
  nameOf,
  ConnectorError,
  fromHeaderValue,
  type ByteRange,
  type FileInfo,
  type OpenedFile,
} from '../../../driver.ts';
import { bareEtag } from './blocks.ts';
import { azureError, notAzure, outOfRange } from './errors.ts';
import type { Service } from './service.ts';

/** What `readBytes` takes into memory at most. */
const MAX_BYTES_AT_ONCE = 2 ** 30;

type Facts = {
  readonly lastModified?: Date | undefined;
  readonly etag?: string | undefined;
  readonly contentType?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
};

type Download = { readonly info: FileInfo; readonly length: number; readonly body: Readable };

/** The whole file, or the range, in memory. */
export async function readBytes(
  service: Service,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { body, length } = await download(service, path, range, signal);
  if (length > MAX_BYTES_AT_ONCE) {
    body.destroy();
    throw new ConnectorError('payload_too_large', 'the file is too large to be read at once; stream it', {
      details: { maxBytes: MAX_BYTES_AT_ONCE },
    });
  }
  const bytes = new Uint8Array(length);
  let done = 0;
  for await (const chunk of chunksOf(service, path, body, signal)) {
    bytes.set(chunk, done);
    done += chunk.byteLength;
  }
  return bytes;
}

/** The file's facts and its body, which ends with the signal at the latest. */
export async function readStream(
  service: Service,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<OpenedFile> {
  const { info, body } = await download(service, path, range, signal);
  return { info, body: chunksOf(service, path, body, signal) };
}

async function download(
  service: Service,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Download> {
  const { start = 0, end } = range ?? {};
  const count = end === undefined ? undefined : end - start + 1;
  const answer = await service.call(signal, { path }, () =>
    service.blob(path).download(start, count, { abortSignal: signal, maxRetryRequests: 0 }),
  );
  const { readableStreamBody, contentLength, contentRange } = answer;
  if (readableStreamBody === undefined || contentLength === undefined) throw notAzure();
  const body = readableStreamBody as Readable; // Node's own, whose type the client widens
  // It fails when the signal is aborted, also before anybody reads it.
  body.on('error', () => {});
  const size = contentRange === undefined ? contentLength : Number(/\/(\d+)$/.exec(contentRange)?.[1]);
  if (!Number.isSafeInteger(size)) {
    body.destroy();
    throw notAzure();
  }
  // Only a range that starts after 0 is one to Azure.
  if (range !== undefined && start >= size) {
    body.destroy();
    throw outOfRange();
  }
  return { info: infoOf(path, size, answer), length: contentLength, body };
}

async function* chunksOf(
  { account, container, clock }: Service,
  path: string,
  body: Readable,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) yield chunk as Uint8Array; // no encoding is set, so they are buffers
  } catch (error) {
    throw azureError(error, { account, container, path }, { signal, nowMs: clock.now() });
  }
}

/** What is known of a blob from the headers of an answer about it. */
export function infoOf(path: string, size: number, facts: Facts): FileInfo {
  const { lastModified, etag, contentType, metadata = {} } = facts;
  if (lastModified === undefined || etag === undefined) throw notAzure();
  return {
    name: nameOf(path),
    path,
    size,
    lastModified,
    etag: bareEtag(etag),
    ...(contentType !== undefined && { contentType }),
    metadata: Object.fromEntries(
      Object.entries(metadata).map(([name, value]) => [name, fromHeaderValue(value)]),
    ),
    isDirectory: false,
  };
}
