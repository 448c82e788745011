import { opendir } from 'node:fs/promises';
import { byteOrder, type EntryKey } from '../../../driver.ts';
import { stopIfAborted } from './errors.ts';
import type { Folder } from './folder.ts';
import type { Root } from './root.ts';
import { isTemporary } from './temporary.ts';

/** Names kept from one pass over a folder: what bounds the memory of a listing, however large the folder is. */
const WINDOW = 8192;
/** Windows kept for the next page, each of a folder that is larger than one. */
const MAX_WINDOWS = 2;
/** A change this close to a pass might have been made after it within one step of the file system's clock. */
const SETTLED_MS = 100;

type Window = {
  /** The folder and its state; undefined where it may be changing. */
  readonly stamp: string | undefined;
  /** Holds every key after this one, up to its own last. */
  readonly after: EntryKey;
  readonly keys: readonly EntryKey[];
  readonly isLast: boolean;
};

/**
 * The entries of folders in order, in constant memory: a pass over a folder keeps the {@link WINDOW} smallest names
 * after a given one, and the next pages are served from them for as long as the folder has not changed.
 */
export class Entries {
  readonly #root: Root;
  readonly #windows = new Map<string, Window>();

  constructor(root: Root) {
    this.#root = root;
  }

  /** The keys after `after`, in order. Links, pipes, devices and unfinished writes are no entries. */
  async *after(path: string, after: EntryKey, signal: AbortSignal): AsyncGenerator<EntryKey> {
    for (let from = after; ;) {
      const window = await this.#window(path, from, signal);
      for (const key of window.keys) {
        if (byteOrder(key, from) > 0) yield key;
      }
      const last = window.keys.at(-1);
      if (window.isLast || last === undefined) return;
      from = last;
    }
  }

  #window(path: string, after: EntryKey, signal: AbortSignal): Promise<Window> {
    return this.#root.use(path, {}, async (folder) => {
      const { ino, mtimeNs, mtimeMs } = await folder.stat();
      const stamp = `${ino}-${mtimeNs}`;
      const kept = this.#windows.get(path);
      this.#windows.delete(path);
      const last = kept?.keys.at(-1);
      const covers =
        kept !== undefined &&
        last !== undefined &&
        kept.stamp === stamp &&
        byteOrder(kept.after, after) <= 0 &&
        byteOrder(after, last) < 0;
      const window = covers
        ? kept
        : await scan(folder, after, Date.now() - Number(mtimeMs) > SETTLED_MS ? stamp : undefined, signal);
      if (window.stamp !== undefined && window.keys.length === WINDOW) this.#keep(path, window);
      return window;
    });
  }

  #keep(path: string, window: Window): void {
    this.#windows.set(path, window);
    const [oldest] = this.#windows.keys();
    if (this.#windows.size > MAX_WINDOWS && oldest !== undefined) this.#windows.delete(oldest);
  }
}

async function scan(
  folder: Folder,
  after: EntryKey,
  stamp: string | undefined,
  signal: AbortSignal,
): Promise<Window> {
  let keys: EntryKey[] = [];
  let bound: EntryKey | undefined;
  const cut = () => {
    keys.sort(byteOrder);
    if (keys.length <= WINDOW) return;
    keys = keys.slice(0, WINDOW);
    bound = keys.at(-1);
  };
  for await (const entry of await opendir(folder.at(''), { bufferSize: 1024 })) {
    stopIfAborted(signal);
    if (!entry.isDirectory() && !entry.isFile()) continue;
    if (isTemporary(entry.name)) continue;
    const key = entry.isDirectory() ? `${entry.name}/` : entry.name;
    if (byteOrder(key, after) <= 0) continue;
    if (bound !== undefined && byteOrder(key, bound) > 0) continue;
    keys.push(key);
    if (keys.length === 2 * WINDOW) cut();
  }
  cut();
  return { stamp, after, keys, isLast: bound === undefined };
}
