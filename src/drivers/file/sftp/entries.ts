import { byteOrder, type Clock, type EntryKey } from '../../../driver.ts';
import { isMissing, statusOf, NO_SUCH_FILE } from './errors.ts';
import type { Attributes, Exchange, Handle, Listed } from './exchange.ts';
import type { ServerTime } from './server-time.ts';
import type { Session } from './session.ts';
import { isAbandoned, isTemporary } from './temporary.ts';
import { walkToFolder } from './walk.ts';

/** Entries kept from one pass over a folder: what bounds the memory of a listing, however large the folder is. */
const WINDOW = 32_768;
/** Entries of all windows that are kept for the next pages. */
const MAX_KEPT = 2 * WINDOW;
/** How old the facts of a kept window may become: a file that is changed in place does not change its folder. */
const FRESH_MS = 15_000;
const MAX_NAME_BYTES = 255;
/** Answers asked for at once; OpenSSH puts 100 names into one. */
const READS_AT_ONCE = 4;

export type Entry = Pick<Attributes, 'size' | 'mtime'>;
type Keyed = readonly [key: EntryKey, entry: Entry];

type Window = {
  /** Of the folder, in the second of which nothing can change any more; undefined where something may have. */
  readonly mtime: number | undefined;
  readonly readAtMs: number;
  /** Holds every key after this one, up to its own last. */
  readonly after: EntryKey;
  readonly entries: readonly Keyed[];
  readonly isLast: boolean;
};

/** What reading a folder needs to be told. */
export type Reading = {
  readonly exchange: Exchange;
  readonly session: Session;
  /** Told of unfinished writes that nobody will finish. */
  readonly onAbandoned: (path: string) => void;
};

/**
 * The entries of folders in order, in constant memory: a pass over a folder keeps the {@link WINDOW} smallest names
 * after a given one, and the next pages are served from them for as long as the folder has not changed.
 */
export class Entries {
  readonly #clock: Clock;
  readonly #time: ServerTime;
  readonly #windows = new Map<string, Window>();
  /** When folders were first seen with the time that they have. */
  readonly #seen = new Map<string, { readonly mtime: number; readonly atMs: number }>();
  #cancelForgetting: (() => void) | undefined;

  constructor(clock: Clock, time: ServerTime) {
    this.#clock = clock;
    this.#time = time;
  }

  /** The entries after `after`, in order. Links, pipes, devices and unfinished writes are none. */
  async *after(reading: Reading, path: string, after: EntryKey): AsyncGenerator<Keyed> {
    for (let from = after; ;) {
      const window = await this.#window(reading, path, from);
      if (window === undefined) return;
      for (const entry of window.entries) {
        if (byteOrder(entry[0], from) > 0) yield entry;
      }
      const last = window.entries.at(-1);
      if (window.isLast || last === undefined) return;
      from = last[0];
    }
  }

  close(): void {
    this.#cancelForgetting?.();
    this.#windows.clear();
  }

  async #window(reading: Reading, path: string, after: EntryKey): Promise<Window | undefined> {
    const folder = await walkToFolder(reading.exchange, reading.session, path);
    if (folder === undefined) return undefined;
    const kept = this.#windows.get(path);
    this.#windows.delete(path);
    if (kept !== undefined && this.#covers(kept, folder.mtime, after)) {
      this.#keep(path, kept);
      return kept;
    }
    const isSettled = this.#isSettled(path, folder.mtime);
    const readAtMs = this.#clock.monotonicMs();
    try {
      const scanned = await scan(reading, path, after);
      const window = { ...scanned, mtime: isSettled ? folder.mtime : undefined, readAtMs, after };
      if (isSettled) this.#keep(path, window);
      return window;
    } catch (error) {
      // It was removed in between.
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  #covers({ mtime, readAtMs, after, entries, isLast }: Window, mtimeNow: number, from: EntryKey): boolean {
    const last = entries.at(-1);
    return (
      mtime === mtimeNow &&
      this.#clock.monotonicMs() - readAtMs < FRESH_MS &&
      byteOrder(after, from) <= 0 &&
      (isLast || (last !== undefined && byteOrder(from, last[0]) < 0))
    );
  }

  /**
   * Whether a change of the folder from now on is sure to show in its time, which has whole seconds: where that second
   * is over, by what is known of the server's clock or because the folder has had the time for longer than a second.
   */
  #isSettled(path: string, mtime: number): boolean {
    if (this.#time.isOver(mtime)) return true;
    const nowMs = this.#clock.monotonicMs();
    const seen = this.#seen.get(path);
    if (seen?.mtime === mtime) return nowMs - seen.atMs > 1000;
    this.#seen.delete(path);
    this.#seen.set(path, { mtime, atMs: nowMs });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > 1000 && oldest !== undefined) this.#seen.delete(oldest);
    return false;
  }

  #keep(path: string, window: Window): void {
    this.#windows.set(path, window);
    this.#cancelForgetting ??= this.#clock.inBackground(FRESH_MS, () => {
      this.#cancelForgetting = undefined;
      this.#windows.clear();
    });
    let count = [...this.#windows.values()].reduce((sum, { entries }) => sum + entries.length + 1, 0);
    for (const [oldest, { entries }] of this.#windows) {
      if (count <= MAX_KEPT + 2) return;
      this.#windows.delete(oldest);
      count -= entries.length + 1;
    }
  }
}

async function scan(
  { exchange, session, onAbandoned }: Reading,
  path: string,
  after: EntryKey,
): Promise<Pick<Window, 'entries' | 'isLast'>> {
  let entries: Keyed[] = [];
  let bound: EntryKey | undefined;
  const cut = () => {
    entries.sort(([a], [b]) => byteOrder(a, b));
    // Two names that are the same once they are text, of which only one is.
    entries = entries.filter(([key], i) => key !== entries[i - 1]?.[0]);
    if (entries.length <= WINDOW) return;
    entries = entries.slice(0, WINDOW);
    bound = entries.at(-1)?.[0];
  };
  const prefix = path === '' ? '' : `${path}/`;
  for await (const { filename, attrs } of namesIn(exchange, session.at(path))) {
    if (!attrs.isDirectory() && !attrs.isFile()) continue;
    if (isTemporary(filename)) {
      if (attrs.isFile() && isAbandoned(filename, attrs.mtime)) onAbandoned(prefix + filename);
      continue;
    }
    const key = attrs.isDirectory() ? `${filename}/` : filename;
    if (byteOrder(key, after) <= 0) continue;
    if (bound !== undefined && byteOrder(key, bound) > 0) continue;
    // A name that is not UTF-8 reaches us with this character in it, and names nothing, or another, when it is sent back.
    const own = filename.includes('\ufffd') ? await lookAt(exchange, session.at(prefix + filename)) : attrs;
    if (own?.isDirectory() !== attrs.isDirectory()) continue;
    entries.push([key, { size: own.isFile() ? own.size : 0, mtime: own.mtime }]);
    if (entries.length === 2 * WINDOW) cut();
  }
  cut();
  return { entries, isLast: bound === undefined };
}

/** The names in a folder as the server answers them; ones that are no name, which only a broken server answers, are left out. */
export async function* namesIn(exchange: Exchange, folder: string): AsyncGenerator<Listed> {
  const handle = await exchange.opendir(folder);
  try {
    for (let isDone = false; !isDone;) {
      const answers = await Promise.all(
        Array.from({ length: READS_AT_ONCE }, () => nextNames(exchange, handle)),
      );
      isDone = answers.some((names) => names === undefined);
      for (const names of answers) {
        for (const listed of names ?? []) if (isName(listed.filename)) yield listed;
      }
    }
  } finally {
    exchange.release(handle);
  }
}

/** Undefined at the end. */
async function nextNames(exchange: Exchange, handle: Handle): Promise<readonly Listed[] | undefined> {
  try {
    return await exchange.readdir(handle);
  } catch (error) {
    if (statusOf(error) === END_OF_FILE) return undefined;
    throw error;
  }
}

const END_OF_FILE = 1;

/** One that a path may have in it: what is longer is no file system's, and would be kept until it is all of the memory. */
function isName(text: string): boolean {
  if (text === '' || text === '.' || text === '..' || text.includes('/') || text.includes('\0')) return false;
  return text.length * 3 <= MAX_NAME_BYTES || Buffer.byteLength(text) <= MAX_NAME_BYTES;
}

async function lookAt(exchange: Exchange, path: string): Promise<Attributes | undefined> {
  try {
    return await exchange.lstat(path);
  } catch (error) {
    if (statusOf(error) === NO_SUCH_FILE) return undefined;
    throw error;
  }
}
