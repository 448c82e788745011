import {
  type ByteRange,
  ConnectorError,
  invalidField,
  isConnectorError,
  networkFailure,
  type OpenedFile,
} from '../../../driver.ts';
import { type Api, objectPath } from './api.ts';
import { isMissingFile } from './errors.ts';
import { fileInfo, type ObjectResource } from './object.ts';

/** What is read into memory at once, at most. */
const MAX_BYTES = 2 ** 30;
/** How often a file may be replaced between two requests before its reader is sent away. */
const MAX_REPLACED = 10;

/** The file, or the range, in memory. */
export async function readBytes(
  api: Api,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const response = await media(api, path, { range, signal });
  try {
    return await wholeOf(response);
  } catch (error) {
    throw isConnectorError(error) ? error : networkFailure(error, signal);
  }
}

/** All of a body, which is longer than its header says where it is stored compressed: it is unpacked on the way. */
async function wholeOf({ body, headers }: Response): Promise<Uint8Array> {
  if (Number(headers.get('content-length') ?? 0) > MAX_BYTES) {
    await body?.cancel();
    throw tooLarge();
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks, bytes));
}

/**
 * The file's facts and its bytes. These take two requests, because the answer that has the bytes does not say what the
 * metadata are; the second names the generation that the first has described.
 */
export async function readStream(
  api: Api,
  path: string,
  {
    range,
    signal,
    describe,
  }: {
    readonly range: ByteRange | undefined;
    readonly signal: AbortSignal;
    readonly describe: () => Promise<ObjectResource>;
  },
): Promise<OpenedFile> {
  for (let replaced = 0; ; replaced += 1) {
    const object = await describe();
    if (range !== undefined && range.start >= object.size) throw afterTheEnd();
    try {
      const response = await media(api, path, { range, generation: object.generation, signal });
      return { info: fileInfo(object, path), body: bodyOf(response, signal) };
    } catch (error) {
      if (!isMissingFile(error) || replaced >= MAX_REPLACED) throw error;
    }
  }
}

async function media(
  api: Api,
  path: string,
  {
    range,
    generation,
    signal,
  }: {
    readonly range: ByteRange | undefined;
    readonly generation?: string;
    readonly signal: AbortSignal;
  },
): Promise<Response> {
  const response = await api.send(
    {
      method: 'GET',
      path: objectPath(api.bucket, path),
      query: { alt: 'media', generation },
      ...(range !== undefined && { headers: { range: `bytes=${range.start}-${range.end ?? ''}` } }),
      subject: { bucket: api.bucket, names: 'file' },
      alsoFine: [416],
    },
    signal,
  );
  if (response.status === 416) {
    await response.body?.cancel();
    throw afterTheEnd();
  }
  if (range !== undefined && response.status !== 206) {
    await response.body?.cancel();
    // https://cloud.google.com/storage/docs/transcoding (read 2026-11-27)
    throw new ConnectorError(
      'unsupported',
      'the backend reads no range of this file, as it does of content that is stored compressed',
      { details: { capability: 'ranges' } },
    );
  }
  return response;
}

async function* bodyOf(response: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  try {
    yield* response.body;
  } catch (error) {
    throw networkFailure(error, signal);
  }
}

function afterTheEnd(): ConnectorError {
  return invalidField('range', 'starts before the end of the file');
}

function tooLarge(): ConnectorError {
  return new ConnectorError('payload_too_large', `at most ${MAX_BYTES} bytes are read at once`, {
    details: { maxBytes: MAX_BYTES },
  });
}
