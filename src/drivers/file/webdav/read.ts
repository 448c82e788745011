import {
  ConnectorError,
  invalidField,
  isConnectorError,
  type ByteRange,
  type FileInfo,
  type OpenedFile,
} from '../../../driver.ts';
import { Body } from './body.ts';
import { noSuchFile, refused } from './errors.ts';
import type { Answer } from './http.ts';
import { dateIn, strongEtag } from './multistatus.ts';
import { infoOf, look, type Entry, type Server } from './resources.ts';

/** What `readBytes` takes into memory at most. */
export const MAX_BYTES_AT_ONCE = 2 ** 30;
/** How often a file that is replaced all the time is opened. */
const OPEN_ATTEMPTS = 5;

/** The whole file, or the range, in memory. */
export async function readBytes(
  server: Server,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { body } = await openBody(server, path, range, signal);
  if (body.bytes > MAX_BYTES_AT_ONCE) {
    await body.return();
    throw new ConnectorError('payload_too_large', 'the file is too large to be read at once; stream it', {
      details: { maxBytes: MAX_BYTES_AT_ONCE },
    });
  }
  const content = new Uint8Array(body.bytes);
  let done = 0;
  for await (const chunk of body) {
    content.set(chunk, done);
    done += chunk.byteLength;
  }
  return content;
}

/** The file's facts and its bytes as they come. */
export async function readStream(
  server: Server,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<OpenedFile> {
  return openBody(server, path, range, signal);
}

type Opened = { readonly info: FileInfo; readonly body: Body };

/** A body whose first bytes have come, of a file that was not replaced before they did. */
async function openBody(
  server: Server,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Opened> {
  for (let attempt = 1; ; attempt += 1) {
    const opened = await openOnce(server, path, range, signal);
    try {
      await opened.body.begin();
      return opened;
    } catch (error) {
      const isBroken = isConnectorError(error) && error.code === 'unavailable';
      if (attempt === OPEN_ATTEMPTS || !isBroken || !(await isReplaced(server, opened.info, signal)))
        throw error;
    }
  }
}

/** Whether a file is another by now: rclone tells of it before it opens it, and breaks off where it finds another. */
async function isReplaced(
  server: Server,
  { path, ...then }: FileInfo,
  signal: AbortSignal,
): Promise<boolean> {
  const entry = await look(server, path, signal);
  if (entry === undefined || entry.isCollection) throw noSuchFile();
  const now = infoOf(entry);
  return (
    now.etag !== then.etag ||
    now.size !== then.size ||
    now.lastModified.getTime() !== then.lastModified.getTime()
  );
}

async function openOnce(
  server: Server,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Opened> {
  const { http, root } = server;
  const answer = await http.send(
    {
      method: 'GET',
      target: root.target(path),
      ...(range && { headers: { range: `bytes=${range.start}-${range.end ?? ''}` } }),
    },
    signal,
  );
  const { statusCode: status } = answer;
  if (status !== 200 && status !== 206) {
    http.discard(answer);
    throw await whyNot(server, path, answer, range, signal);
  }
  try {
    const entry = isSurelyFile(answer) ? undefined : await look(server, path, signal);
    if (entry === undefined ? !isSurelyFile(answer) : entry.isCollection) throw noSuchFile();
    const { start, bytes, sizeBytes } = spanOf(answer, range, entry);
    const info = infoOf({
      path,
      isCollection: false,
      sizeBytes,
      lastModified: dateIn(answer.headers['last-modified']),
      etag: strongEtag(answer.headers.etag),
    });
    return { info, body: new Body(answer, { skip: (range?.start ?? 0) - start, bytes, signal }) };
  } catch (error) {
    answer.destroy();
    throw error;
  }
}

/**
 * Whether nothing but a file is answered like this. Many servers answer a folder with a page that lists it, which is
 * HTML and made on the spot: it has no tag. Of what says that it is encoded, only the listing knows the size.
 */
function isSurelyFile({ headers }: Answer): boolean {
  return (
    headers.etag !== undefined &&
    headers['content-length'] !== undefined &&
    headers['content-encoding'] === undefined &&
    !/html/i.test(headers['content-type'] ?? 'html')
  );
}

type Span = {
  /** Where in the file the answer begins. */
  readonly start: number;
  /** How many bytes were asked for. */
  readonly bytes: number;
  readonly sizeBytes: number;
};

/** @throws ConnectorError `invalid_argument` for a range that starts at or after the end. */
function spanOf(answer: Answer, range: ByteRange | undefined, entry: Entry | undefined): Span {
  const { headers, statusCode } = answer;
  const length = lengthOf(headers['content-length']);
  if (statusCode === 200) {
    const sizeBytes = length ?? entry?.sizeBytes;
    if (sizeBytes === undefined) throw answered('the size of the file is not told');
    if (entry?.sizeBytes !== undefined && entry.sizeBytes !== sizeBytes && headers['content-encoding'])
      throw answered('the file is sent packed, though it was asked for as it is');
    if (range === undefined) return { start: 0, bytes: sizeBytes, sizeBytes };
    // A server may leave ranges alone: then what comes before is passed over, and what comes after is not read.
    if (range.start >= sizeBytes) throw beyond(sizeBytes);
    return { start: 0, bytes: Math.min(range.end ?? sizeBytes, sizeBytes - 1) - range.start + 1, sizeBytes };
  }
  const [, first, last, total] =
    /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(headers['content-range'] ?? '') ?? [];
  const sizeBytes = total === undefined || total === '*' ? entry?.sizeBytes : Number(total);
  if (range === undefined || Number(first) !== range.start || sizeBytes === undefined)
    throw answered('another part of the file than was asked for');
  const end = Math.min(range.end ?? sizeBytes - 1, sizeBytes - 1);
  if (Number(last) < end) throw answered('less of the file than was asked for');
  return { start: range.start, bytes: end - range.start + 1, sizeBytes };
}

async function whyNot(
  server: Server,
  path: string,
  answer: Answer,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<ConnectorError> {
  const failure = refused('GET', answer, server.http.clock);
  if (answer.statusCode === 404) return noSuchFile();
  if (answer.statusCode === 401 || answer.statusCode === 429 || answer.statusCode >= 502) return failure;
  // A folder is answered in many ways: redirected, forbidden, not allowed, not implemented.
  const entry = await look(server, path, signal);
  if (entry === undefined || entry.isCollection) return noSuchFile();
  return answer.statusCode === 416 && range !== undefined ? beyond(entry.sizeBytes ?? 0) : failure;
}

function lengthOf(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

function beyond(sizeBytes: number): ConnectorError {
  return invalidField('range', `starts before the end, at ${sizeBytes} bytes`);
}

function answered(what: string): ConnectorError {
  return new ConnectorError('backend_error', `the backend answered what was not asked for: ${what}`);
}
