import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { ConnectorError } from '../errors/error.ts';
import { damagedFile, sqliteError } from './sqlite-error.ts';

/** Up to here an unclean stop is followed by a check of every index against its table; it takes a second or two. */
const FULL_CHECK_MAX_BYTES = 128 * 2 ** 20;
/** The smallest page there is. */
const MIN_BYTES = 512;
const CHUNK_BYTES = 2 ** 20;

/** What a closed database file was: written beside it when it is closed, removed when it is opened. */
type Fingerprint = { readonly bytes: number; readonly crc32: number };

/**
 * Makes sure that a database file can be trusted, before it is opened, and forgets its fingerprint.
 *
 * SQLite's own check of 1,000,000 connectors takes ten seconds and cannot see content that changed in place. So a
 * clean stop leaves a checksum of the whole file (0.2 s for 600 MB), and a file that is not what was left is refused.
 * After an unclean stop the page structure is checked, and in a file of ordinary size every index too; content that
 * changed in place, the check values of the rows find when they are read.
 *
 * @throws ConnectorError `internal` naming the file where it is damaged, `unavailable` where it cannot be read.
 */
export async function checkFile(file: string): Promise<void> {
  const [bytes, logBytes, left] = await Promise.all([size(file), size(`${file}-wal`), readFingerprint(file)]);
  if (left) {
    if (logBytes > 0 || left.bytes !== bytes || left.crc32 !== (await checksum(file)))
      throw changedFile(file);
    await forgetFingerprint(file);
  } else if (bytes > 0) {
    // SQLite takes a file of a single byte for an empty one, and would start anew in it.
    if (bytes < MIN_BYTES) throw damagedFile(file);
    runCheck(file, bytes <= FULL_CHECK_MAX_BYTES ? 'integrity_check' : 'quick_check');
  }
}

/** Writes down what a cleanly closed file is, so that the next start need not search it; does nothing where it cannot. */
export async function rememberFile(file: string): Promise<void> {
  // Something else still reads the database, such as a backup: then the log was not moved into the file.
  if ((await size(`${file}-wal`)) > 0) return;
  const draft = `${file}.sum.tmp`;
  try {
    const fingerprint: Fingerprint = { bytes: await size(file), crc32: await checksum(file) };
    await writeFile(draft, JSON.stringify(fingerprint), { mode: 0o600 });
    await rename(draft, `${file}.sum`);
  } catch {
    // A full disk, say. Everything is stored; the next start takes a little longer.
    await rm(draft, { force: true });
  }
}

async function readFingerprint(file: string): Promise<Fingerprint | undefined> {
  try {
    const parsed: unknown = JSON.parse(await readFile(`${file}.sum`, 'utf8'));
    if (typeof parsed !== 'object' || parsed === null || !('bytes' in parsed && 'crc32' in parsed))
      return undefined;
    const { bytes, crc32 } = parsed;
    return typeof bytes === 'number' && typeof crc32 === 'number' ? { bytes, crc32 } : undefined;
  } catch {
    // Absent or half written is the same: there is no proof of a clean stop.
    return undefined;
  }
}

/** Durable before the first write, or else a fingerprint beside a log would prove nothing after a power cut. */
async function forgetFingerprint(file: string): Promise<void> {
  await rm(`${file}.sum`, { force: true });
  const folder = await open(dirname(file), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function runCheck(file: string, check: 'integrity_check' | 'quick_check'): void {
  let found: unknown;
  try {
    const db = new DatabaseSync(file, { timeout: 5_000 });
    try {
      // Mapped pages halve the time, and belong to this connection, which is closed at once.
      db.exec('pragma trusted_schema = off; pragma mmap_size = 1073741824');
      found = db.prepare(`pragma ${check}(1)`).get()?.[check];
    } finally {
      db.close();
    }
  } catch (error) {
    const failure = sqliteError(error, file);
    // A schema that does not read, or a file version from the future, is damage as well; a disk that fails is not.
    throw failure.code === 'internal' ? damagedFile(file, error) : failure;
  }
  if (found !== 'ok') throw damagedFile(file, new Error(String(found)));
}

async function checksum(file: string): Promise<number> {
  const handle = await open(file, 'r');
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let sum = 0;
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES);
      if (bytesRead === 0) return sum;
      sum = crc32(chunk.subarray(0, bytesRead), sum);
    }
  } finally {
    await handle.close();
  }
}

async function size(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
    throw new ConnectorError('unavailable', `the disk failed to read ${path}`, { cause: error });
  }
}

function changedFile(file: string): ConnectorError {
  return new ConnectorError(
    'internal',
    `the database file ${file} is damaged: it is not what the last clean stop left; restore it from a backup, or remove ${file}.sum if it was changed on purpose`,
  );
}
