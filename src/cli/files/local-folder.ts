import { lstat, mkdir, rmdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pathProblem } from '../../connectors/file/path.ts';
import { ConnectorError, isConnectorError } from '../../errors/error.ts';
import { localError, replaceWhole } from '../local-file.ts';
import { localWalk } from './local-walk.ts';
import { type Opened, openLocal } from './opened.ts';
import type { Found, Side, WriteOptions } from './side.ts';

/** A folder of this machine. Nothing is read, written or removed outside of it, whatever path is asked for. */
export class LocalFolder implements Side {
  readonly name: string;
  readonly #root: string;
  readonly #signal: AbortSignal;
  /** The folder that was last seen to be one; files come in order, so most lie where the one before them does. */
  #known: string | undefined;
  readonly #emptied = new Set<string>();

  constructor(root: string, signal: AbortSignal) {
    this.name = root;
    this.#root = root;
    this.#signal = signal;
  }

  /** @throws ConnectorError `not_found` for a source alone, a target is made; `invalid_argument` where it is no folder. */
  async check(as: 'source' | 'target'): Promise<void> {
    const found = await stat(this.#root).catch((error: unknown) => {
      const known = localError(error, this.#root);
      if (as === 'target' && isConnectorError(known) && known.code === 'not_found') return undefined;
      throw known;
    });
    if (found && !found.isDirectory())
      throw new ConnectorError('invalid_argument', `${this.#root} is a file; files cp copies files`);
  }

  list(): AsyncGenerator<Found> {
    return localWalk(this.#root);
  }

  open(path: string): Promise<Opened> {
    return openLocal(join(this.#root, checked(path)), { followLinks: false });
  }

  async write(path: string, content: AsyncIterable<Uint8Array>, { modifiedMs }: WriteOptions): Promise<void> {
    const file = join(this.#root, checked(path));
    const folder = path.split('/').slice(0, -1).join('/');
    try {
      if (folder !== this.#known) await this.#makeFolder(folder);
      this.#known = folder;
      const there = await lstat(file).catch(() => undefined);
      if (there && !there.isFile())
        throw inTheWay(path, there.isDirectory() ? 'a folder' : 'a link or a device');
    } catch (error) {
      throw localError(error, path);
    }
    await replaceWhole(file, content, this.#signal, { modifiedMs, followLinks: false });
  }

  async remove(path: string): Promise<void> {
    try {
      await unlink(join(this.#root, checked(path)));
    } catch (error) {
      throw localError(error, path);
    }
    this.#emptied.add(path.split('/').slice(0, -1).join('/'));
  }

  /** Removes the folders that have nothing in them any more; not at once, because another file may be on its way. */
  async tidy(): Promise<void> {
    for (let folder of [...this.#emptied].sort().reverse()) {
      while (folder !== '' && (await rmdir(join(this.#root, folder)).then(isDone, isRefused)))
        folder = folder.split('/').slice(0, -1).join('/');
    }
    this.#emptied.clear();
  }

  /** Makes the folder, going down one by one: through a link it could lie anywhere. */
  async #makeFolder(folder: string): Promise<void> {
    await mkdir(this.#root, { recursive: true });
    let at = '';
    for (const segment of folder === '' ? [] : folder.split('/')) {
      at = at === '' ? segment : `${at}/${segment}`;
      const place = join(this.#root, at);
      const there = await lstat(place).catch(() => undefined);
      if (!there) await mkdir(place).catch(unlessThere);
      else if (!there.isDirectory()) throw inTheWay(at, there.isFile() ? 'a file' : 'a link or a device');
    }
  }
}

/** @throws ConnectorError `invalid_argument` for a path that could lead out of a folder, whoever names it. */
function checked(path: string): string {
  const problem = pathProblem(path);
  if (problem === undefined) return path;
  throw new ConnectorError('invalid_argument', `this path is not one of a file: it ${problem}`);
}

function inTheWay(path: string, what: string): ConnectorError {
  return new ConnectorError('already_exists', `${path} is ${what} here, and was left as it is; remove it`);
}

/** Another transfer may have made the same folder in the meantime. */
function unlessThere(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
}

const isDone = (): boolean => true;
const isRefused = (): boolean => false;
