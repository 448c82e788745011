import {
  spanOf,
  cancelled,
  ConnectorError,
  type ByteRange,
  type ClientListOptions,
  type ClientWriteOptions,
  type Clock,
  type FileClient,
  type FileInfo,
  type FilePage,
  type Note,
  type OpenContext,
  type OpenedFile,
  type WriteResult,
} from '../../../driver.ts';
import { Contents, type StoredFile } from './contents.ts';
import { forgetRemoved, hold, type Held } from './kept.ts';
import { fileInfo, listPage } from './list.ts';
import type { MemoryOptions } from './options.ts';
import { isProcessFull, MIB, Room } from './room.ts';

/** Small chunks are gathered up to this; no chunk that is read is longer. */
const CHUNK_BYTES = 256 * 1024;
/** What `readBytes` makes one array of at most. */
const MAX_BYTES_AT_ONCE = 2 ** 30;

type Context = Pick<OpenContext, 'connectorId' | 'folder' | 'clock'>;

/** A client over the files of a connector, as far as this process has kept them. */
export async function openMemory({ max_mb }: MemoryOptions, context: Context): Promise<FileClient> {
  const { connectorId, folder, clock } = context;
  return new MemoryFiles(await hold(connectorId, folder, clock.now()), max_mb * MIB, clock);
}

class MemoryFiles implements FileClient {
  readonly #held: Held;
  #contents: Contents;
  readonly #maxBytes: number;
  readonly #clock: Clock;

  constructor(held: Held, maxBytes: number, clock: Clock) {
    this.#held = held;
    this.#contents = held.contents;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
  }

  async list(path: string, options: ClientListOptions): Promise<FilePage> {
    return listPage(this.#contents, path, options);
  }

  async stat(path: string): Promise<FileInfo> {
    return fileInfo(path, this.#require(path));
  }

  async readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array> {
    const file = this.#require(path);
    const { start, length } = spanOf(range, file.size);
    if (length > MAX_BYTES_AT_ONCE)
      throw new ConnectorError('payload_too_large', 'the file is too large to be read at once; stream it', {
        details: { maxBytes: MAX_BYTES_AT_ONCE },
      });
    const content = new Uint8Array(length);
    let done = 0;
    for (const piece of piecesOf(file, start, length)) {
      stopIfAborted(signal);
      content.set(piece, done);
      done += piece.byteLength;
    }
    return content;
  }

  async readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile> {
    const file = this.#require(path);
    const { start, length } = spanOf(range, file.size);
    return { info: fileInfo(path, file), body: copies(file, start, length, signal) };
  }

  async write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    const { contentType } = options;
    const metadata = options.metadata && Object.freeze({ ...options.metadata });
    this.#contents.check(path, options);
    const contents = this.#contents;
    const { chunks, size } = await this.#take(path, content, signal);
    let held = size;
    try {
      await this.#held.mark();
      stopIfAborted(signal);
      const { etag } = await withRoom(() => {
        // Nothing is waited for in here, so that what holds now is what is replaced, and nobody else takes the room.
        contents.check(path, options);
        contents.release(held);
        held = 0;
        const lastModified = new Date(this.#clock.now());
        return contents.put(path, { chunks, size, lastModified, contentType, metadata }, this.#maxBytes);
      });
      return { path, size, etag };
    } finally {
      contents.release(held);
    }
  }

  async delete(path: string): Promise<boolean> {
    return this.#contents.remove(path);
  }

  async copy(from: string, to: string): Promise<WriteResult> {
    const { etag, ...file } = this.#require(from);
    if (from === to) return { path: to, size: file.size, etag };
    const lastModified = new Date(this.#clock.now());
    const copied = await withRoom(() => this.#contents.put(to, { ...file, lastModified }, this.#maxBytes));
    return { path: to, size: copied.size, etag: copied.etag };
  }

  async move(from: string, to: string): Promise<WriteResult> {
    const file = this.#require(from);
    this.#contents.rename(from, to, file, this.#maxBytes);
    return { path: to, size: file.size, etag: file.etag };
  }

  async check(): Promise<readonly Note[]> {
    const megabytes = (bytes: number) => Math.ceil(bytes / MIB);
    const message = `files are kept in the memory of this process and are gone when it ends; ${megabytes(this.#contents.usedBytes)} of ${megabytes(this.#maxBytes)} MB are used`;
    return [{ level: 'warn', message }];
  }

  async close(): Promise<void> {
    this.#held.letGo();
    // Whoever still knows this client must not keep the files of a connector that was removed.
    this.#contents = new Contents(0, new Room(0));
  }

  #require(path: string): StoredFile {
    const file = this.#contents.find(path);
    if (file === undefined) throw new ConnectorError('not_found', 'there is no such file');
    return file;
  }

  /** A copy of the content, for which room is held. */
  async #take(path: string, content: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal) {
    const contents = this.#contents;
    const chunks: Uint8Array[] = [];
    let size = 0;
    const reserve = async (bytes: number) => {
      stopIfAborted(signal);
      await withRoom(() => contents.reserve(path, bytes, this.#maxBytes));
      size += bytes;
    };
    try {
      if (content instanceof Uint8Array) {
        await reserve(content.byteLength);
        chunks.push(new Uint8Array(content));
        return { chunks, size };
      }
      const gathered = new Uint8Array(CHUNK_BYTES);
      let used = 0;
      const flush = () => {
        if (used > 0) chunks.push(gathered.slice(0, used));
        used = 0;
      };
      for await (const chunk of content) {
        await reserve(chunk.byteLength);
        if (used + chunk.byteLength > CHUNK_BYTES) flush();
        if (chunk.byteLength > CHUNK_BYTES / 4) {
          flush();
          chunks.push(new Uint8Array(chunk));
        } else {
          gathered.set(chunk, used);
          used += chunk.byteLength;
        }
      }
      flush();
      return { chunks, size };
    } catch (error) {
      contents.release(size);
      throw error;
    }
  }
}

/** Takes room of the process; where there is none, what removed connectors left is forgotten before it is said so. */
async function withRoom<T>(take: () => T): Promise<T> {
  try {
    return take();
  } catch (error) {
    if (!isProcessFull(error)) throw error;
    await forgetRemoved();
    return take();
  }
}

/** The bytes that were asked for, as they lie there. */
function* piecesOf({ chunks }: StoredFile, start: number, length: number): Generator<Uint8Array> {
  let at = 0;
  for (const chunk of chunks) {
    const from = Math.max(start - at, 0);
    const to = Math.min(start + length - at, chunk.byteLength);
    for (let piece = from; piece < to; piece += CHUNK_BYTES)
      yield chunk.subarray(piece, Math.min(piece + CHUNK_BYTES, to));
    at += chunk.byteLength;
    if (at >= start + length) return;
  }
}

/** The same for a reader, who may do with them as he likes. */
async function* copies(
  file: StoredFile,
  start: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (const piece of piecesOf(file, start, length)) {
    stopIfAborted(signal);
    yield piece.slice();
  }
}

function stopIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw cancelled(signal);
}
