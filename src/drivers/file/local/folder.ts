import { constants, readlinkSync } from 'node:fs';
import { lstat, open, realpath, type FileHandle } from 'node:fs/promises';

/** A folder itself: never through a link, never waiting for what only looks like one. */
export const FOLDER_FLAGS =
  constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * How names are kept inside an opened folder. `handles`: each call goes through the folder's own handle (Linux, by
 * `/proc/self/fd`), so that no rename or link made meanwhile can lead it elsewhere. `paths`: through the folder's real
 * path, checked before and after, which leaves another local program a window between the two.
 */
export type Confinement = 'handles' | 'paths';

/** An opened folder below the root. Everything is done to single names in it. */
export class Folder {
  /** Relative to the root; `''` is the root. */
  readonly path: string;
  /** Users and whether it was dropped: for the keeper of folders alone. */
  users = 0;
  isDropped = false;
  readonly #handle: FileHandle;
  readonly #real: string;
  readonly #prefix: string;
  readonly #confinement: Confinement;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(path: string, real: string, handle: FileHandle, confinement: Confinement) {
    this.path = path;
    this.#real = real;
    this.#handle = handle;
    this.#confinement = confinement;
    this.#prefix = confinement === 'handles' ? `/proc/self/fd/${handle.fd}/` : `${real}/`;
  }

  /** What names an entry of this folder to the system; `''` is the folder itself. */
  at(name: string): string {
    // The path rule lies above; this is what containment rests on should anything get past it.
    if (name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
      throw new TypeError('an entry is named by one plain segment');
    }
    return this.#prefix + name;
  }

  /** Whether the opened folder still is what its path names: not moved, not replaced, not behind a link. */
  async isInPlace(): Promise<boolean> {
    if (this.#confinement === 'paths') return this.#isSamePath();
    try {
      // Synchronous because the kernel answers from memory: 5 us, a tenth of a trip through the thread pool.
      return readlinkSync(`/proc/self/fd/${this.#handle.fd}`) === this.#real;
    } catch {
      return false;
    }
  }

  /** The folder of this name, or undefined where there is none. @throws the system's error for anything but a folder. */
  async child(name: string): Promise<Folder | undefined> {
    try {
      const handle = await open(this.at(name), FOLDER_FLAGS);
      const path = this.path === '' ? name : `${this.path}/${name}`;
      return new Folder(path, `${this.#real}/${name}`, handle, this.#confinement);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async isLink(name: string): Promise<boolean> {
    const stats = await lstat(this.at(name)).catch(() => undefined);
    return stats?.isSymbolicLink() ?? false;
  }

  /** The folder's own facts. */
  stat() {
    return this.#handle.stat({ bigint: true });
  }

  /**
   * Makes the folder's entries as they are now durable. Whoever comes while a sync runs waits for the next one, which
   * all of them share: a sync that has begun may have missed the newcomer's entry.
   */
  sync(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        const running = this.#handle.sync();
        this.#running = running;
        this.#next = undefined;
        return running;
      });
    return this.#next;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #isSamePath(): Promise<boolean> {
    try {
      if ((await realpath(this.#real)) !== this.#real) return false;
      const [there, here] = await Promise.all([lstat(this.#real, { bigint: true }), this.stat()]);
      return there.ino === here.ino && there.dev === here.dev;
    } catch {
      return false;
    }
  }
}
