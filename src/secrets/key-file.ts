import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConnectorError } from '../errors/error.ts';

/** Its name in a data directory. */
export const KEY_FILE = 'master.key';
/** Bytes of a master key. */
export const KEY_BYTES = 32;
const MAX_FILE_BYTES = 65_536;
const FILE_HEADER = `# Master keys of connector-registry, one per line, 32 bytes as base64 or hex; the first is current.
# Keep a copy elsewhere: without it no stored credential can be read.
`;

/** The keys that the text of a key file holds, as they are written. */
export function keysIn(text: string): readonly string[] {
  return text.split('\n').filter(isKeyLine);
}

/** A fresh key, as it is written. */
export function newKeyText(): string {
  return randomBytes(KEY_BYTES).toString('base64');
}

/** The text of a key file, undefined where there is none. @throws ConnectorError `invalid_state` for one that others may read. */
export async function readKeyFile(file: string): Promise<string | undefined> {
  const handle = await open(file, constants.O_RDONLY).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new ConnectorError('invalid_state', `the master key file ${file} cannot be read (${cause.code})`, {
      cause,
    });
  });
  if (!handle) return undefined;
  return withHandle(handle, async () => {
    checkKeyFile(file, await handle.stat());
    return handle.readFile('utf8');
  });
}

function checkKeyFile(file: string, stats: Stats): void {
  const { mode, size } = stats;
  if (!stats.isFile()) {
    throw new ConnectorError('invalid_state', `the master key file ${file} is not a regular file`);
  }
  // Windows has no such bits: Node shows 0o666 for any file there.
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new ConnectorError(
      'invalid_state',
      `the master key file ${file} is open to other users; run: chmod 600 ${file}`,
    );
  }
  if (size > MAX_FILE_BYTES) {
    throw new ConnectorError('invalid_state', `the master key file ${file} is over ${MAX_FILE_BYTES} bytes`);
  }
}

/** Makes the file with a fresh key, whole or not at all, durably; where another process was first, what that one wrote. */
export async function createKeyFile(
  file: string,
): Promise<{ readonly text: string; readonly isNew: boolean }> {
  const text = `${FILE_HEADER}${newKeyText()}\n`;
  try {
    await mkdir(dirname(file), { recursive: true });
    // A link, unlike a rename, never replaces a key that is there already.
    await writeDurably(file, text, link);
    return { text, isNew: true };
  } catch (cause) {
    const theirs = await readKeyFile(file);
    if (theirs !== undefined) return { text: theirs, isNew: false };
    throw new ConnectorError('invalid_state', `the master key file ${file} cannot be made`, { cause });
  }
}

/**
 * Replaces the lines of a key file, whole or not at all.
 *
 * @throws ConnectorError `invalid_state` where there is none, and where somebody else changed it meanwhile.
 */
export async function changeKeyFile(
  file: string,
  change: (lines: readonly string[]) => readonly string[],
): Promise<void> {
  const text = await readKeyFile(file);
  if (text === undefined) throw new ConnectorError('invalid_state', `there is no master key file ${file}`);
  const changed = change(text.replace(/\n$/, '').split('\n'));
  try {
    await writeDurably(file, `${changed.join('\n')}\n`, async (draft) => {
      if ((await readKeyFile(file)) !== text)
        throw new ConnectorError(
          'invalid_state',
          `the master key file ${file} was changed meanwhile; try again`,
        );
      await rename(draft, file);
    });
  } catch (cause) {
    if (cause instanceof ConnectorError) throw cause;
    throw new ConnectorError('invalid_state', `the master key file ${file} cannot be written`, { cause });
  }
}

/** Takes a key file away again that was made for nothing. */
export async function removeKeyFile(file: string): Promise<void> {
  await rm(file, { force: true });
  await syncFolder(dirname(file));
}

/** True for a line of a key file that is a key. */
export function isKeyLine(line: string): boolean {
  return line.trim() !== '' && !line.startsWith('#');
}

/** Writes a draft beside the file, and has `place` put it there. */
async function writeDurably(
  file: string,
  text: string,
  place: (draft: string, file: string) => Promise<void>,
): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await withHandle(await open(draft, 'wx', 0o600), async (handle) => {
      await handle.writeFile(text);
      await handle.sync();
    });
    await place(draft, file);
    await syncFolder(dirname(file));
  } finally {
    await rm(draft, { force: true });
  }
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  await withHandle(await open(folder, constants.O_RDONLY), (handle) => handle.sync());
}

async function withHandle<T>(handle: FileHandle, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}
