import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ConnectorError } from '../errors/error.ts';
import { isBusy, sqliteError } from './sqlite-error.ts';

export { tenantFolderName } from './tenant-folder.ts';

/** A data directory that this process alone uses, until it is closed or the process ends. */
export interface DataDir {
  /** Absolute. */
  readonly path: string;
  /** Names the directory wherever it is moved: the name of the machine that made it, and what no other has. */
  readonly id: string;
  /** The registry whose content lies here; undefined where none was remembered yet. */
  readonly registryId: string | undefined;
  /** Remembers whose content lies here; durable when it resolves. */
  belongTo(registryId: string): Promise<void>;
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
  const unwritable = (cause: unknown) =>
    new ConnectorError('unavailable', `the data directory ${root} cannot be written`, { cause });
  let id: string | undefined;
  let registryId: string | undefined;
  try {
    id = await readId(root, ID_FILE);
    if (id === undefined) await writeId(root, ID_FILE, (id = newDirectoryId()));
    registryId = await readId(root, REGISTRY_ID_FILE);
    await writeHolder(root, holder);
  } catch (cause) {
    release(lock);
    throw unwritable(cause);
  }
  let isOpen = true;
  return {
    path: root,
    id,
    registryId,
    belongTo: (registry) =>
      writeId(root, REGISTRY_ID_FILE, registry).catch((cause: unknown) => {
        throw unwritable(cause);
      }),
    announce: (url) => writeHolder(root, { ...holder, url }),
    async close() {
      if (!isOpen) return;
      isOpen = false;
      await rm(join(root, HOLDER_FILE), { force: true });
      release(lock);
    },
  };
}

/** An id that no other data directory has. */
export function newDirectoryId(): string {
  return `${hostname()}-${randomBytes(4).toString('hex')}`;
}

async function readId(root: string, name: string): Promise<string | undefined> {
  const text = await readFile(join(root, name), 'utf8').catch(() => '');
  return text.trim() === '' ? undefined : text.trim();
}

/** Durable before anything refers to it. */
async function writeId(root: string, name: string, id: string): Promise<void> {
  const file = join(root, name);
  await using draft = await open(`${file}.tmp`, 'w', 0o600);
  await draft.writeFile(`${id}\n`);
  await draft.sync();
  await rename(`${file}.tmp`, file);
  await using folder = await open(root, 'r');
  await folder.sync();
}

const ID_FILE = 'directory-id';
/** Names the registry that what embedded engines stored here is of. */
const REGISTRY_ID_FILE = 'registry-id';
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
