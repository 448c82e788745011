import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, link, lstat, realpath, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { ErrorCode } from '../errors/codes.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';

/** The size of a local file; 0 for stdin. @throws ConnectorError `invalid_argument` when it cannot be read. */
export async function localSize(file: string): Promise<number> {
  if (file === '-') return 0;
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile())
    throw new ConnectorError('invalid_argument', `${file} is not a file that can be read`);
  return found.size;
}

export type ReplaceOptions = {
  /** The time of the latest change that the file is to have; now unless told. */
  readonly modifiedMs?: number | undefined;
  /** Whether a file that is there is replaced; otherwise that is `already_exists`. */
  readonly overwrite?: boolean;
  /** Whether a link stands for what it leads to, which is so unless told; otherwise it is replaced itself. */
  readonly followLinks?: boolean;
};

const PARTIAL = /^\.connectors-[0-9a-f]{16}\.part$/;

/** Whether a name is that of a file that {@link replaceWhole} has not finished. */
export function isPartial(name: string): boolean {
  return PARTIAL.test(name);
}

/**
 * Writes beside the file and renames, so that an interrupted read leaves what was there. A file that is replaced keeps its
 * mode, and a link what it leads to; a pipe or a device cannot be replaced and is written into.
 */
export async function replaceWhole(
  file: string,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  { modifiedMs, overwrite = true, followLinks = true }: ReplaceOptions = {},
): Promise<void> {
  try {
    const there = overwrite ? await (followLinks ? stat : lstat)(file).catch(unlessMissing) : undefined;
    if (there?.isDirectory())
      throw new ConnectorError('already_exists', `${file}: a folder has that name`, {
        details: { errno: 'EISDIR' },
      });
    if (there && !there.isFile() && !there.isSymbolicLink())
      return await pipeline(content, createWriteStream(file), { signal });
    const place = there && followLinks ? await realpath(file) : file;
    const mode = there?.isFile() ? there.mode & 0o777 : undefined;
    // Not the file's own name and more: that may be as long as a name can be.
    const partial = join(dirname(place), `.connectors-${randomBytes(8).toString('hex')}.part`);
    try {
      const partialOptions = { flags: 'wx', flush: true, ...(mode !== undefined && { mode }) };
      await pipeline(content, createWriteStream(partial, partialOptions), { signal });
      // What the umask has taken away.
      if (mode !== undefined) await chmod(partial, mode);
      if (modifiedMs !== undefined) await utimes(partial, modifiedMs / 1_000, modifiedMs / 1_000);
      if (overwrite) await rename(partial, place);
      // A link fails where the name is taken, in one step; a look before a rename could miss it.
      else await link(partial, place);
    } finally {
      await rm(partial, { force: true });
    }
  } catch (error) {
    throw localError(error, file);
  }
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}

/** What this machine refuses, and why, in words. */
const REFUSALS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ['not_found', 'there is no such file or folder'],
  EACCES: ['permission_denied', 'this user may not do that'],
  EPERM: ['permission_denied', 'this user may not do that'],
  EROFS: ['permission_denied', 'the disk can only be read'],
  EEXIST: ['already_exists', 'there is a file already'],
  EISDIR: ['already_exists', 'a folder has that name'],
  ENOTDIR: ['already_exists', 'a file stands where a folder is needed'],
  ENAMETOOLONG: ['unsupported', 'the name is too long for this disk'],
  ENOSPC: ['backend_error', 'the disk is full'],
  EDQUOT: ['backend_error', 'the disk quota is used up'],
  EIO: ['backend_error', 'the disk fails'],
  EMFILE: ['backend_error', 'too many files are open'],
};

/** A failure of this machine's own files as an error that names the file; any other error as it is. */
export function localError(error: unknown, file: string): unknown {
  if (isConnectorError(error) || !(error instanceof Error) || !('code' in error)) return error;
  const errno = String(error.code);
  const refusal = Object.hasOwn(REFUSALS, errno) ? REFUSALS[errno] : undefined;
  if (!refusal) return error;
  const [code, meaning] = refusal;
  return new ConnectorError(code, `${file}: ${meaning}`, { cause: error, details: { errno } });
}
