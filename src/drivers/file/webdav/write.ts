import { ConnectorError, type WriteResult } from '../../../driver.ts';
import { folderInTheWay, noSuchFile, refused } from './errors.ts';
import { requireFolder, type Place } from './folders.ts';
import type { Answer, Verb } from './http.ts';
import { look, type Entry, type Server } from './resources.ts';
import { beside, parentOf } from './root.ts';
import { temporaryName } from './temporary.ts';
import { Counted, shortened, type Content } from './upload.ts';
import { change, isSuccess, put, transfer } from './verbs.ts';

export type Writer = Place & {
  /** Told of an unfinished file that is to be removed. */
  readonly abandon: (path: string) => void;
};

/** How often a target that comes or goes meanwhile is looked at. */
const PUBLISH_ATTEMPTS = 5;

/** Writes a file as a whole: under a temporary name beside it, from where it is moved into place. */
export async function writeWhole(
  writer: Writer,
  path: string,
  given: Content,
  signal: AbortSignal,
): Promise<WriteResult> {
  const content = await shortened(given);
  const { server } = writer;
  return throughTemporary(writer, path, signal, async (temporary) => {
    if (content instanceof Uint8Array) {
      await inFolder(writer, temporary, 'PUT', signal, () => put(server, temporary, content, signal));
      return content.byteLength;
    }
    await requireFolder(writer, parentOf(temporary), signal);
    const counted = new Counted(content);
    const answer = await put(server, temporary, counted, signal);
    if (!isSuccess(answer)) throw refused('PUT', answer, server.http.clock);
    // Some servers take content whose length was not told for nothing, and say that they have it.
    const kept = (await look(server, temporary, signal))?.sizeBytes ?? 0;
    if (kept !== counted.bytes) throw notWhole(kept, counted.bytes);
    return counted.bytes;
  });
}

/** Copies a file on the server, as a whole as well. */
export async function copyFile(
  writer: Writer,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<WriteResult> {
  const source = await requireFile(writer.server, from, signal);
  if (from === to) return resultOf(to, source.sizeBytes, source);
  return throughTemporary(writer, to, signal, async (temporary) => {
    const copy = { from, to: temporary, overwrite: false };
    await inFolder(writer, temporary, 'COPY', signal, () => transfer(writer.server, 'COPY', copy, signal));
    return source.sizeBytes;
  });
}

/** Moves a file on the server. */
export async function moveFile(
  writer: Writer,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<WriteResult> {
  const source = await requireFile(writer.server, from, signal);
  if (from === to) return resultOf(to, source.sizeBytes, source);
  return publish(writer, { from, to, sizeBytes: source.sizeBytes }, signal);
}

/** False where there was no file. */
export async function deleteFile(server: Server, path: string, signal: AbortSignal): Promise<boolean> {
  // Deleting a folder would delete all that lies in it.
  const there = await look(server, path, signal);
  if (there === undefined || there.isCollection) return false;
  const answer = await change(server, 'DELETE', path, signal);
  if (isSuccess(answer)) return true;
  if (answer.statusCode === 404) return false;
  throw refused('DELETE', answer, server.http.clock);
}

async function throughTemporary(
  writer: Writer,
  to: string,
  signal: AbortSignal,
  fill: (temporary: string) => Promise<number | undefined>,
): Promise<WriteResult> {
  const temporary = beside(to, temporaryName(writer.server.http.clock.now()));
  try {
    const sizeBytes = await fill(temporary);
    return await publish(writer, { from: temporary, to, sizeBytes }, signal);
  } catch (error) {
    writer.abandon(temporary);
    throw error;
  }
}

type Move = { readonly from: string; readonly to: string; readonly sizeBytes: number | undefined };

/**
 * Gives a file its name. What is there is looked at just before: a folder would be replaced with all that lies in it,
 * so a target that was not there may not be overwritten, and one that was is known to be a file.
 */
async function publish(
  place: Place,
  { from, to, sizeBytes }: Move,
  signal: AbortSignal,
): Promise<WriteResult> {
  const { server, turns } = place;
  // One at a time: servers hold a lock for each move, and refuse the others.
  return turns.take(`file ${to}`, signal, async () => {
    for (let attempt = 1; ; attempt += 1) {
      const there = await look(server, to, signal);
      if (there?.isCollection) throw folderInTheWay();
      const overwrite = there !== undefined;
      const answer = await transfer(server, 'MOVE', { from, to, overwrite }, signal);
      const { statusCode: status } = answer;
      // The file is in its place, whatever is told of it.
      if (isSuccess(answer))
        return resultOf(to, sizeBytes, await look(server, to, signal).catch(() => undefined));
      const hasAppeared = status === 412 && !overwrite;
      const isWorthAnother = hasAppeared || (await isFolderThereNow(place, answer, to, signal));
      if (attempt === PUBLISH_ATTEMPTS || !isWorthAnother) throw refused('MOVE', answer, server.http.clock);
    }
  });
}

/** Tries, makes the folder where there seems to be none, and tries again. */
async function inFolder(
  place: Place,
  path: string,
  verb: Verb,
  signal: AbortSignal,
  task: () => Promise<Answer>,
): Promise<void> {
  let answer = await task();
  if (await isFolderThereNow(place, answer, path, signal)) answer = await task();
  if (!isSuccess(answer)) throw refused(verb, answer, place.server.http.clock);
}

/**
 * Whether a refusal was that of a missing folder, which is there now. By RFC 4918 it is 409, but 404 is heard as well
 * (rclone), and 403, which mostly means something else.
 */
async function isFolderThereNow(
  place: Place,
  { statusCode: status }: Answer,
  path: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (status !== 403 && status !== 404 && status !== 409) return false;
  const wasMissing = await requireFolder(place, parentOf(path), signal);
  // It may be another writer that has made it meanwhile.
  return wasMissing || status !== 403;
}

async function requireFile(server: Server, path: string, signal: AbortSignal): Promise<Entry> {
  const entry = await look(server, path, signal);
  if (entry === undefined || entry.isCollection) throw noSuchFile();
  return entry;
}

/** The tag is left out where another has written the file since: it would name that one's content. */
function resultOf(path: string, sizeBytes: number | undefined, now: Entry | undefined): WriteResult {
  const etag = now?.sizeBytes === sizeBytes ? now?.etag : undefined;
  return { path, size: sizeBytes ?? now?.sizeBytes ?? 0, ...(etag !== undefined && { etag }) };
}

function notWhole(kept: number, sent: number): ConnectorError {
  return new ConnectorError(
    'backend_error',
    `the backend kept ${kept} of ${sent} bytes; it may take no stream whose length is not known`,
  );
}
