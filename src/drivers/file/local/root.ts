import { constants, existsSync } from 'node:fs';
import { mkdir, open, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConnectorError, invalidField } from '../../../driver.ts';
import { errnoOf, linkRefused, noSuchFile } from './errors.ts';
import { type Confinement, Folder, FOLDER_FLAGS } from './folder.ts';

/** Opened folders that are kept for the next call; a client of a busy connector holds this many handles. */
const MAX_IDLE_FOLDERS = 8;

/** The strongest confinement that this machine offers. @throws ConnectorError `unsupported` where there is none. */
export function confinementHere(): Confinement {
  if (process.platform === 'linux' && existsSync('/proc/self/fd')) return 'handles';
  if (constants.O_NOFOLLOW !== undefined && constants.O_DIRECTORY !== undefined) return 'paths';
  throw new ConnectorError(
    'unsupported',
    'the local file driver needs a system whose files can be opened without following links',
    { details: { platform: process.platform } },
  );
}

/**
 * The folders below one root, each reached by walking from the root one segment at a time without following links.
 *
 * Folders in use most lately are kept open, and are checked to be in place before each use.
 */
export class Root {
  readonly confinement: Confinement;
  readonly #top: Folder;
  /** By path, the one used longest ago first. */
  readonly #kept = new Map<string, Folder>();
  /** Folders that are being made: nobody may write into one before its own entry is durable. */
  readonly #making = new Map<string, Promise<void>>();

  constructor(top: Folder, confinement: Confinement) {
    this.#top = top;
    this.confinement = confinement;
  }

  /** @throws ConnectorError `invalid_argument` when the folder does not exist. */
  static async open(folder: string, confinement: Confinement): Promise<Root> {
    try {
      const real = await realpath(folder);
      return new Root(new Folder('', real, await open(real, FOLDER_FLAGS), confinement), confinement);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error))) {
        throw invalidField('options.root', 'is an existing folder');
      }
      throw error;
    }
  }

  /**
   * What `run` answers on the opened folder.
   *
   * @throws ConnectorError `invalid_argument` when the path leads through a link, `not_found` when there is no such
   *   folder and it is not to be created; the system's own errors otherwise.
   */
  async use<T>(
    path: string,
    { create = false }: { readonly create?: boolean },
    run: (folder: Folder) => Promise<T>,
  ): Promise<T> {
    const folder = await this.#take(path, create);
    try {
      return await run(folder);
    } finally {
      await this.#give(folder);
    }
  }

  async close(): Promise<void> {
    const folders = [...this.#kept.values(), this.#top];
    this.#kept.clear();
    await Promise.all(folders.map((folder) => folder.close()));
  }

  async #take(path: string, create: boolean): Promise<Folder> {
    if (path === '') return this.#topInPlace();
    if (create) await this.#making.get(path);
    const kept = this.#kept.get(path);
    if (kept !== undefined) {
      kept.users++;
      if (await kept.isInPlace()) return kept;
      this.#drop(kept);
      await this.#give(kept);
    }
    const folder = await this.#walk(path.split('/'), create);
    folder.users++;
    const other = this.#kept.get(path);
    // Somebody else walked here meanwhile; theirs may be in use, so it is closed by its last user.
    if (other !== undefined) {
      this.#drop(other);
      if (other.users === 0) await other.close();
    }
    this.#kept.set(path, folder);
    return folder;
  }

  async #topInPlace(): Promise<Folder> {
    if (await this.#top.isInPlace()) return this.#top;
    throw new ConnectorError('unavailable', 'the root folder was moved or removed');
  }

  async #give(folder: Folder): Promise<void> {
    if (folder === this.#top) return;
    folder.users--;
    if (folder.isDropped) {
      if (folder.users === 0) await folder.close();
      return;
    }
    this.#kept.delete(folder.path);
    this.#kept.set(folder.path, folder);
    if (this.#kept.size <= MAX_IDLE_FOLDERS) return;
    const idle = [...this.#kept.values()].find(({ users }) => users === 0);
    if (idle === undefined) return;
    this.#drop(idle);
    await idle.close();
  }

  #drop(folder: Folder): void {
    folder.isDropped = true;
    if (this.#kept.get(folder.path) === folder) this.#kept.delete(folder.path);
  }

  async #walk(segments: readonly string[], create: boolean): Promise<Folder> {
    let folder = await this.#topInPlace();
    for (const name of segments) {
      const parent = folder;
      try {
        folder = await this.#step(parent, name, create);
      } finally {
        if (parent !== this.#top) await parent.close();
      }
    }
    if (await folder.isInPlace()) return folder;
    await folder.close();
    throw linkRefused();
  }

  async #step(parent: Folder, name: string, create: boolean): Promise<Folder> {
    const path = parent.path === '' ? name : `${parent.path}/${name}`;
    if (create) await this.#making.get(path);
    try {
      const found = await parent.child(name);
      if (found !== undefined) return found;
      if (!create) throw noSuchFile();
      await this.#make(parent, path, name);
      const made = await parent.child(name);
      if (made !== undefined) return made;
    } catch (error) {
      // A link opened as a folder is ENOTDIR on Linux and ELOOP elsewhere.
      if (errnoOf(error) === 'ENOTDIR' && (await parent.isLink(name))) throw linkRefused(error);
      throw error;
    }
    throw new ConnectorError('unavailable', 'the folder was removed while it was made');
  }

  #make(parent: Folder, path: string, name: string): Promise<void> {
    const running = this.#making.get(path);
    if (running !== undefined) return running;
    const making = makeFolder(parent, name).finally(() => this.#making.delete(path));
    this.#making.set(path, making);
    return making;
  }
}

/** Makes a folder and the ones above it, durably and for the owner alone; does nothing where it exists. */
export async function makeRoot(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) {
    const above = await open(dirname(made), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await above.sync();
    } finally {
      await above.close();
    }
  }
}

async function makeFolder(parent: Folder, name: string): Promise<void> {
  try {
    await mkdir(parent.at(name), { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  await parent.sync();
}
