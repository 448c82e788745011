import * as fs from 'node:fs';
import { link, lstat, rename, unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { ConnectorError, type ClientWriteOptions, type WriteResult } from '../../../driver.ts';
import { etagOf, folderAndName } from './entry.ts';
import { errnoOf, fileError, isMissing, linkRefused, stopIfAborted, writeError } from './errors.ts';
import type { Folder } from './folder.ts';
import type { Root } from './root.ts';
import { temporaryName } from './temporary.ts';

const openFile = promisify(fs.open);
const closeFile = promisify(fs.close);
const syncFile = promisify(fs.fsync);
const writeFrom = promisify(fs.write);
const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;
/** Small chunks are gathered up to this, so that a source of many writes in few large ones. */
const GATHER_BYTES = 1024 * 1024;
/** How much of a stream is written before the disk is set to work on it. */
const SYNC_BYTES = 32 * 1024 * 1024;

/**
 * Writes a file as a whole: into a temporary file beside the target, synced, then moved into place, then the folder
 * synced. Nothing is left behind where it fails.
 */
export async function writeWhole(
  root: Root,
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  { ifNoneMatch }: Pick<ClientWriteOptions, 'ifNoneMatch'>,
  signal: AbortSignal,
): Promise<WriteResult> {
  const [parent, name] = folderAndName(path);
  try {
    return await root.use(parent, { create: true }, async (folder) => {
      const isNew = ifNoneMatch === '*';
      if (isNew && (await exists(folder, name)))
        throw new ConnectorError('already_exists', 'there is a file');
      const temporary = temporaryName();
      let stats: fs.BigIntStats;
      try {
        stats = await fill(folder.at(temporary), content, signal);
        if (root.confinement === 'paths' && !(await folder.isInPlace())) throw linkRefused();
        if (isNew) await linkNew(folder, temporary, name);
        else await rename(folder.at(temporary), folder.at(name));
      } catch (error) {
        await unlink(folder.at(temporary)).catch(() => {});
        throw error;
      }
      await folder.sync();
      return { path, size: Number(stats.size), etag: etagOf(stats) };
    });
  } catch (error) {
    throw writeError(error);
  }
}

/** False where there was no file. A link is removed itself, never what it points to. */
export async function deleteFile(root: Root, path: string): Promise<boolean> {
  const [parent, name] = folderAndName(path);
  try {
    return await root.use(parent, {}, async (folder) => {
      await unlink(folder.at(name));
      await folder.sync();
      return true;
    });
  } catch (error) {
    if (isMissing(error)) return false;
    // POSIX says EPERM where Linux says EISDIR.
    if (errnoOf(error) === 'EPERM' && (await isFolder(root, path))) return false;
    throw fileError(error);
  }
}

/** Renames a file, replacing what is at `to`, and makes both folders durable. */
export async function moveFile(root: Root, from: string, to: string): Promise<WriteResult> {
  const [fromParent, fromName] = folderAndName(from);
  const [toParent, toName] = folderAndName(to);
  const stats = await statFile(root, from);
  try {
    return await root.use(toParent, { create: true }, (target) =>
      root.use(fromParent, {}, async (source) => {
        await rename(source.at(fromName), target.at(toName));
        // The new name first: a power cut between the two leaves the file in both places rather than in none.
        await target.sync();
        if (source !== target) await source.sync();
        return { path: to, size: Number(stats.size), etag: etagOf(stats) };
      }),
    );
  } catch (error) {
    throw writeError(error);
  }
}

/** The facts of a regular file. @throws ConnectorError `not_found`, also for a folder; `invalid_argument` for a link. */
export async function statFile(root: Root, path: string): Promise<fs.BigIntStats> {
  const [parent, name] = folderAndName(path);
  try {
    return await root.use(parent, {}, async (folder) => {
      const stats = await lstat(folder.at(name), { bigint: true });
      if (stats.isSymbolicLink()) throw linkRefused();
      if (!stats.isFile()) throw new ConnectorError('not_found', 'there is no such file');
      return stats;
    });
  } catch (error) {
    throw fileError(error);
  }
}

/** Proves that a file can be written durably into the root, and leaves none. */
export async function probe(root: Root, signal: AbortSignal): Promise<void> {
  await root.use('', {}, async (folder) => {
    const temporary = folder.at(temporaryName());
    try {
      await fill(temporary, new Uint8Array(1), signal);
    } finally {
      await unlink(temporary).catch(() => {});
    }
  });
}

async function fill(
  temporary: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<fs.BigIntStats> {
  stopIfAborted(signal);
  const fd = await openFile(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    if (content instanceof Uint8Array) await writeAll(fd, content);
    else await writeChunks(fd, content, signal);
    await syncFile(fd);
    stopIfAborted(signal);
    // Synchronous because what was just synced is in memory.
    return fs.fstatSync(fd, { bigint: true });
  } finally {
    await closeFile(fd);
  }
}

async function writeChunks(
  fd: number,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const gathered = Buffer.allocUnsafeSlow(GATHER_BYTES);
  let used = 0;
  let unsynced = 0;
  let syncing = Promise.resolve();
  const write = async (bytes: Uint8Array) => {
    await writeAll(fd, bytes);
    unsynced += bytes.byteLength;
    if (unsynced < SYNC_BYTES) return;
    unsynced = 0;
    // The disk works while more comes in. Its failure is told here once and never again, so it is always waited for.
    await syncing;
    syncing = syncFile(fd);
    syncing.catch(() => {});
  };
  try {
    for await (const chunk of content) {
      stopIfAborted(signal);
      const isLarge = chunk.byteLength > GATHER_BYTES / 4;
      if (isLarge || used + chunk.byteLength > GATHER_BYTES) {
        await write(gathered.subarray(0, used));
        used = 0;
      }
      if (isLarge) await write(chunk);
      else {
        // Copied before the next chunk is asked for, because a source may fill the same memory again.
        gathered.set(chunk, used);
        used += chunk.byteLength;
      }
    }
    await write(gathered.subarray(0, used));
  } finally {
    await syncing;
  }
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const { bytesWritten } = await writeFrom(fd, bytes, done, bytes.byteLength - done);
    done += bytesWritten;
  }
}

/** Gives the file its name only where there is none: unlike a rename, a link fails when the name is taken. */
async function linkNew(folder: Folder, temporary: string, name: string): Promise<void> {
  try {
    await link(folder.at(temporary), folder.at(name));
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errnoOf(error))) throw error;
    throw new ConnectorError('unsupported', 'this file system has no hard links, which ifNoneMatch needs', {
      cause: error,
      details: { capability: 'createOnly' },
    });
  }
  await unlink(folder.at(temporary));
}

async function exists(folder: Folder, name: string): Promise<boolean> {
  try {
    await lstat(folder.at(name));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function isFolder(root: Root, path: string): Promise<boolean> {
  const [parent, name] = folderAndName(path);
  return root.use(parent, {}, async (folder) => (await lstat(folder.at(name))).isDirectory());
}
