import type { WriteResult } from '../../../driver.ts';
import { linkRefused, noSuchFile } from './errors.ts';
import { openFile, readStream } from './read.ts';
import { refuseTemporary } from './temporary.ts';
import { makeFolders, parentOf, syncFolder, walk } from './walk.ts';
import { inPlace, renameOver, writeWhole, type Writing } from './write.ts';

/** Copied by the server in one request: it answers nothing else over this connection meanwhile. */
const COPY_BYTES = 8 * 1024 * 1024;

/** Copies on the server where it can do that, and through here where it cannot. */
export async function copyFile(writing: Writing, from: string, to: string): Promise<WriteResult> {
  const { exchange, session, signal } = writing;
  if (!session.features.copyData) {
    const { body } = await readStream(session, from, undefined, signal);
    try {
      return await writeWhole(writing, to, body, {});
    } finally {
      await body[Symbol.asyncIterator]().return?.();
    }
  }
  const { handle: source, info } = await openFile(exchange, session, from);
  try {
    const size = await inPlace(writing, to, false, async (target) => {
      for (let at = 0; at < info.size; at += COPY_BYTES)
        await exchange.copyData(source, target, at, Math.min(COPY_BYTES, info.size - at));
      return info.size;
    });
    return { path: to, size };
  } finally {
    exchange.release(source);
  }
}

/** Renames a file, replacing what is at `to`, and makes both folders durable. */
export async function moveFile(
  { exchange, session }: Writing,
  from: string,
  to: string,
): Promise<WriteResult> {
  refuseTemporary(from);
  refuseTemporary(to);
  const [source, target] = await Promise.all([walk(exchange, session, from), walk(exchange, session, to)]);
  if (source.last?.isSymbolicLink()) throw linkRefused();
  if (!source.last?.isFile()) throw noSuchFile();
  await makeFolders(exchange, session, target);
  await renameOver(exchange, session, from, to);
  // The new name first: a power cut between the two leaves the file in both places rather than in none.
  if (parentOf(from) !== parentOf(to)) await syncFolder(exchange, session, parentOf(from));
  return { path: to, size: source.last.size };
}

/** False where there was no file. A link is removed itself, never what it points to. */
export async function deleteFile({ exchange, session }: Writing, path: string): Promise<boolean> {
  refuseTemporary(path);
  const { last } = await walk(exchange, session, path);
  if (last === undefined || last.isDirectory()) return false;
  try {
    await exchange.unlink(session.at(path));
  } catch (error) {
    if ((await walk(exchange, session, path)).last === undefined) return false;
    throw error;
  }
  await syncFolder(exchange, session, parentOf(path));
  return true;
}
