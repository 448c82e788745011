import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ConnectorError } from '../errors/error.ts';
import { isBusy, sqliteError } from './sqlite-error.ts';

export { tenantFolderName } from './tenant-folder.ts';

/** A data directory that this process alone uses, until it is closed or the process ends. */
export interface DataDir {
  /** Absolute. */
  readonly path: string;
  /** Tells others where this process answers: the refusal that they get names it. */
  announce(url: string): Promise<void>;
  close(): Promise<void>;
}

/** Who has the directory, for people: what holds it is the lock alone. */
type Holder = { readonly pid: number; readonly startedAt: string; readonly url?: string };

/**
 * Takes a data directory for this process, and creates it, readable by its owner alone, where there is none.
 *
 * @throws ConnectorError `invalid_state` naming the process that has it, also where that is this one;
 *   `unavailable` where it cannot be created or written.
 */
export async function openDataDir(path: string): Promise<DataDir> {
  const root = resolve(path);
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ConnectorError('unavailable', `the data directory ${root} cannot be created`, { cause });
  }
  const lock = await takeLock(root);
  const holder: Holder = { pid: process.pid, startedAt: new Date().toISOString() };
  try {
    await writeHolder(root, holder);
  } catch (cause) {
    release(lock);
    throw new ConnectorError('unavailable', `the data directory ${root} cannot be written`, { cause });
  }
  let open = true;
  return {
    path: root,
    announce: (url) => writeHolder(root, { ...holder, url }),
    async close() {
      if (!open) return;
      open = false;
      await rm(join(root, HOLDER_FILE), { force: true });
      release(lock);
    },
  };
}

const HOLDER_FILE = 'in-use.json';

/**
 * Every lock of this process. Without it the garbage collector closes the lock of a directory whose `DataDir` nobody
 * holds any more, and another process takes it while this one still writes.
 */
const held = new Set<DatabaseSync>();

/**
 * A lock that the kernel lets go of however the process ends: Node has no file locks, SQLite has. The database stays
 * empty; its exclusive transaction is the lock. Nothing else may ever open the file: closing any handle of it would
 * end the lock, as POSIX has it.
 */
async function takeLock(root: string): Promise<DatabaseSync> {
  const file = join(root, 'lock');
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(file);
    lock.exec('begin exclusive');
    held.add(lock);
    return lock;
  } catch (error) {
    lock?.close();
    throw isBusy(error) ? inUse(root, await readHolder(root), error) : sqliteError(error, file);
  }
}

function release(lock: DatabaseSync): void {
  held.delete(lock);
  lock.close();
}

function inUse(root: string, holder: Holder | undefined, cause: unknown): ConnectorError {
  const url = holder?.url === undefined ? '' : ` (${holder.url})`;
  const who = holder ? `process ${holder.pid}${url}` : 'another process';
  return new ConnectorError('invalid_state', `the data directory ${root} is in use by ${who}`, {
    cause,
    details: { ...holder },
  });
}

async function writeHolder(root: string, holder: Holder): Promise<void> {
  const file = join(root, HOLDER_FILE);
  await writeFile(`${file}.tmp`, JSON.stringify(holder), { mode: 0o600 });
  await rename(`${file}.tmp`, file);
}

/** Undefined where the process that has the lock has not written yet. */
async function readHolder(root: string): Promise<Holder | undefined> {
  try {
    const parsed: unknown = JSON.parse(await readFile(join(root, HOLDER_FILE), 'utf8'));
    if (typeof parsed !== 'object' || parsed === null) return undefined;
    const { pid, startedAt, url } = parsed as Readonly<Record<string, unknown>>;
    if (typeof pid !== 'number' || typeof startedAt !== 'string') return undefined;
    return { pid, startedAt, ...(typeof url === 'string' && { url }) };
  } catch {
    return undefined;
  }
}
