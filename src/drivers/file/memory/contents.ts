import { randomBytes } from 'node:crypto';
import { ConnectorError, type ClientWriteOptions, type FileMetadata } from '../../../driver.ts';
import { MIB, type Room } from './room.ts';
import { SortedPaths } from './sorted-paths.ts';

/** What a file takes besides its content and its path, about. */
const OVERHEAD_BYTES = 256;

/** A file as it is kept: none of it ever changes, so whoever reads it reads one content. */
export type StoredFile = {
  readonly chunks: readonly Uint8Array[];
  readonly size: number;
  readonly etag: string;
  readonly lastModified: Date;
  readonly contentType?: string | undefined;
  readonly metadata?: FileMetadata | undefined;
};

/** The files of one connector. Whatever changes them does so in one step. */
export class Contents {
  readonly paths = new SortedPaths();
  readonly startedAt: Date;
  readonly #files = new Map<string, StoredFile>();
  // Tags of an earlier process must not match.
  readonly #mark = randomBytes(4).toString('hex');
  #changes = 0;
  #usedBytes = 0;
  /** What writes in progress have taken in. */
  #pendingBytes = 0;
  /** What is used and pending here is taken of it; undefined once the contents are forgotten. */
  #room: Room | undefined;

  constructor(nowMs: number, room: Room) {
    this.startedAt = new Date(nowMs);
    this.#room = room;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get isEmpty(): boolean {
    return this.#files.size === 0;
  }

  find(path: string): StoredFile | undefined {
    return this.#files.get(path);
  }

  /** @throws ConnectorError `already_exists` or `conflict`. */
  check(path: string, { ifNoneMatch, ifMatch }: ClientWriteOptions): void {
    const there = this.#files.get(path);
    if (ifNoneMatch === '*' && there !== undefined)
      throw new ConnectorError('already_exists', 'there is a file');
    if (ifMatch !== undefined && there?.etag !== ifMatch)
      throw new ConnectorError('conflict', 'the file does not have the etag that was given');
  }

  /**
   * Holds room for more of a file that is being written, whose predecessor goes when it is whole.
   *
   * @throws ConnectorError `payload_too_large` of this connector, or of the process.
   */
  reserve(path: string, bytes: number, maxBytes: number): void {
    const replaced = this.#files.get(path);
    const goes = replaced === undefined ? 0 : costOf(path, replaced);
    if (this.#usedBytes - goes + this.#pendingBytes + bytes > maxBytes) throw full(maxBytes);
    this.#room?.take(bytes);
    this.#pendingBytes += bytes;
  }

  release(bytes: number): void {
    this.#room?.take(-bytes);
    this.#pendingBytes -= bytes;
  }

  /** Gives back the room of all files, for which nobody asks any more. */
  forget(): void {
    this.#room?.take(-this.#usedBytes - this.#pendingBytes);
    this.#room = undefined;
  }

  /** Puts a file in its place, with a tag that none has had. */
  put(path: string, file: Omit<StoredFile, 'etag'>, maxBytes: number): StoredFile {
    this.#changes += 1;
    return this.#replace(path, { ...file, etag: `${this.#mark}-${this.#changes.toString(36)}` }, maxBytes);
  }

  /** Gives a file another name. */
  rename(from: string, to: string, file: StoredFile, maxBytes: number): void {
    if (from === to) return;
    this.remove(from);
    try {
      this.#replace(to, file, maxBytes);
    } catch (error) {
      this.#replace(from, file, Number.POSITIVE_INFINITY);
      throw error;
    }
  }

  /** False where there was none. */
  remove(path: string): boolean {
    const file = this.#files.get(path);
    if (file === undefined) return false;
    this.#files.delete(path);
    this.paths.remove(path);
    this.#use(-costOf(path, file));
    return true;
  }

  #replace(path: string, file: StoredFile, maxBytes: number): StoredFile {
    const replaced = this.#files.get(path);
    const goes = replaced === undefined ? 0 : costOf(path, replaced);
    const more = costOf(path, file) - goes;
    if (this.#usedBytes + more > maxBytes) throw full(maxBytes);
    this.#use(more);
    this.#files.set(path, file);
    if (replaced === undefined) this.paths.add(path);
    return file;
  }

  #use(bytes: number): void {
    this.#room?.take(bytes);
    this.#usedBytes += bytes;
  }
}

function costOf(path: string, { size, metadata }: StoredFile): number {
  const described = metadata === undefined ? 0 : JSON.stringify(metadata).length;
  return size + described + path.length + OVERHEAD_BYTES;
}

function full(maxBytes: number): ConnectorError {
  return new ConnectorError(
    'payload_too_large',
    `the files of this connector take at most ${maxBytes / MIB} MB (max_mb)`,
    { details: { maxBytes } },
  );
}
