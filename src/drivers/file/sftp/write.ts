import { type ClientWriteOptions, ConnectorError, joinedPath, type WriteResult } from '../../../driver.ts';
import { folderInTheWay, lackingExtension, PERMISSION_DENIED, OP_UNSUPPORTED, statusOf } from './errors.ts';
import type { Exchange, Handle } from './exchange.ts';
import type { Litter } from './litter.ts';
import type { ServerTime } from './server-time.ts';
import type { Session } from './session.ts';
import { finished, refuseTemporary, temporaryName } from './temporary.ts';
import { makeFolders, parentOf, syncFolder, walk } from './walk.ts';

/** One request: OpenSSH takes up to 255 KiB, and ssh2 cuts it smaller for servers that take less. */
const CHUNK_BYTES = 128 * 1024;
/** Requests under way for one file: 2 MiB, which is what the SSH channel lets through without being asked again. */
const WRITES_AT_ONCE = 16;
/** How often a new file is tried to be given its name while others take the name and remove it again. */
const LINK_ATTEMPTS = 3;

/** What a write works with. */
export type Writing = {
  readonly exchange: Exchange;
  readonly session: Session;
  readonly litter: Litter;
  readonly time: ServerTime;
  readonly signal: AbortSignal;
};

/**
 * Writes a file as a whole: into a temporary file beside the target, synced where the server can, then moved into
 * place. Nothing is left behind where it fails.
 */
export async function writeWhole(
  writing: Writing,
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  { ifNoneMatch }: Pick<ClientWriteOptions, 'ifNoneMatch'>,
): Promise<WriteResult> {
  const isNew = ifNoneMatch === '*';
  if (isNew && !writing.session.features.hardlink)
    throw lackingExtension('createOnly', 'hardlink@openssh.com', 'which ifNoneMatch needs');
  const size = await inPlace(writing, path, isNew, (handle) =>
    content instanceof Uint8Array
      ? sendBytes(writing.exchange, handle, content)
      : sendChunks(writing.exchange, handle, content),
  );
  return { path, size };
}

/** Makes the file of what `fill` puts into a new one; `fill` answers its size. */
export async function inPlace(
  writing: Writing,
  path: string,
  isNew: boolean,
  fill: (handle: Handle) => Promise<number>,
): Promise<number> {
  const { exchange, session, litter, time, signal } = writing;
  refuseTemporary(path);
  const folder = parentOf(path);
  if (isNew || folder !== '') {
    const walked = await walk(exchange, session, path);
    await makeFolders(exchange, session, walked);
    if (walked.last?.isDirectory()) throw folderInTheWay();
    if (isNew && walked.last !== undefined) throw fileExists();
  }
  const name = temporaryName();
  const temporary = joinedPath(folder, name);
  try {
    const size = await filled(exchange, session, temporary, fill, time);
    await (isNew
      ? linkNew(exchange, session, temporary, path)
      : renameOver(exchange, session, temporary, path));
    finished(name);
    return size;
  } catch (error) {
    const removal = litter.remove(session, temporary);
    // A caller that has gone does not wait for a server that may be silent.
    if (!signal.aborted) await removal;
    throw error;
  }
}

/** Moves a file over what has the new name, durably. */
export async function renameOver(
  exchange: Exchange,
  session: Session,
  from: string,
  to: string,
): Promise<void> {
  const { posixRename } = session.features;
  const [source, target] = [session.at(from), session.at(to)];
  try {
    await (posixRename ? exchange.posixRename(source, target) : exchange.rename(source, target));
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
    const there = await exchange.lstat(target).catch(() => undefined);
    if (there?.isDirectory()) throw folderInTheWay();
    if (there === undefined || posixRename) throw error;
    throw lackingExtension(
      'atomicReplace',
      'posix-rename@openssh.com',
      'without which a file cannot be replaced in one step; delete it first',
      error,
    );
  }
  await syncFolder(exchange, session, parentOf(to));
}

/** Gives the file its name only where there is none: unlike a rename, a link fails when the name is taken. */
async function linkNew(exchange: Exchange, session: Session, temporary: string, path: string): Promise<void> {
  const [source, target] = [session.at(temporary), session.at(path)];
  for (let attempt = 1; ; attempt++) {
    try {
      await exchange.hardlink(source, target);
      break;
    } catch (error) {
      const status = statusOf(error);
      if (status === undefined) throw error;
      const there = await exchange.lstat(target).catch(() => undefined);
      if (there !== undefined) throw there.isDirectory() ? folderInTheWay() : fileExists();
      if (attempt < LINK_ATTEMPTS) continue;
      // The temporary file lies in the same folder, so it is not the folder that is closed to us.
      if (status === PERMISSION_DENIED || status === OP_UNSUPPORTED)
        throw lackingExtension('createOnly', 'hard links in this folder', 'which ifNoneMatch needs', error);
      throw error;
    }
  }
  await exchange.unlink(source);
  await syncFolder(exchange, session, parentOf(path));
}

async function filled(
  exchange: Exchange,
  session: Session,
  temporary: string,
  fill: (handle: Handle) => Promise<number>,
  time: ServerTime,
): Promise<number> {
  const handle = await exchange.open(session.at(temporary), 'wx');
  let size: number;
  try {
    size = await fill(handle);
  } catch (error) {
    exchange.release(handle);
    throw error;
  }
  // Sent at once: a server does what concerns one file in the order in which it was asked.
  const [attributes] = await Promise.all([
    exchange.fstat(handle),
    session.features.fsync ? exchange.fsync(handle) : undefined,
    exchange.close(handle),
  ]);
  if (attributes.size !== size)
    throw new ConnectorError('backend_error', `the server kept ${attributes.size} of ${size} bytes`);
  time.observe(attributes.mtime);
  return size;
}

async function sendBytes(exchange: Exchange, handle: Handle, content: Uint8Array): Promise<number> {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  let next = 0;
  const work = async () => {
    for (let from = next; from < bytes.length; from = next) {
      next += CHUNK_BYTES;
      await exchange.write(handle, bytes.subarray(from, next), from);
    }
  };
  await Promise.all(Array.from({ length: WRITES_AT_ONCE }, work));
  return bytes.length;
}

/** Gathers chunks of any size into requests of one size, in memory that is used again once a request is answered. */
async function sendChunks(
  exchange: Exchange,
  handle: Handle,
  content: AsyncIterable<Uint8Array>,
): Promise<number> {
  const spare: Buffer[] = [];
  const running = new Set<Promise<void>>();
  let gathered: Buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let [used, position, isFailed] = [0, 0, false];
  let failure: unknown;
  const send = async () => {
    const buffer = gathered;
    const sending = exchange
      .write(handle, buffer.subarray(0, used), position)
      .then(
        () => void spare.push(buffer),
        (error: unknown) => {
          failure ??= error;
          isFailed = true;
        },
      )
      .finally(() => running.delete(sending));
    running.add(sending);
    position += used;
    used = 0;
    if (running.size >= WRITES_AT_ONCE) await Promise.race(running);
    if (isFailed) throw failure;
    gathered = spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
  };
  for await (const chunk of content) {
    for (let from = 0; from < chunk.length;) {
      // Copied before the next chunk is asked for, because a source may fill the same memory again.
      const part = chunk.subarray(from, from + CHUNK_BYTES - used);
      gathered.set(part, used);
      used += part.length;
      from += part.length;
      if (used === CHUNK_BYTES) await send();
    }
  }
  if (used > 0) await send();
  await Promise.all(running);
  if (isFailed) throw failure;
  return position;
}

function fileExists(): ConnectorError {
  return new ConnectorError('already_exists', 'there is a file');
}
