import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { spanOf, type ByteRange, ConnectorError, type FileInfo } from '../../../driver.ts';
import { fileInfo, folderAndName } from './entry.ts';
import { fileError, linkRefused, noSuchFile, stopIfAborted } from './errors.ts';
import type { Root } from './root.ts';

// Bare descriptors: a FileHandle costs a small read 12 us of 90.
const openFile = promisify(fs.open);
const closeFile = promisify(fs.close);
const readInto = promisify(fs.read);
/** A pipe or a device in the root is not waited for; it is turned away once it is known for what it is. */
const READ_FLAGS = fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;
/** What `readBytes` takes into memory at most. */
export const MAX_BYTES_AT_ONCE = 2 ** 30;
/** A process that reads 256 MB so grows by 34 to 54 MB; by 62 to 91 with a quarter, half, twice or four times as much. */
const CHUNK_BYTES = 512 * 1024;

type Opened = { readonly fd: number; readonly stats: fs.BigIntStats };

/** The whole file, or the range, in memory. */
export async function readBytes(
  root: Root,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { fd, stats } = await openRegular(root, path);
  try {
    const { start, length } = spanOf(range, Number(stats.size));
    if (length > MAX_BYTES_AT_ONCE) {
      throw new ConnectorError('payload_too_large', 'the file is too large to be read at once; stream it', {
        details: { maxBytes: MAX_BYTES_AT_ONCE },
      });
    }
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      stopIfAborted(signal);
      const { bytesRead } = await readInto(fd, bytes, done, length - done, start + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } catch (error) {
    throw fileError(error);
  } finally {
    await closeFile(fd);
  }
}

/** The file's facts and an open body over it. The body owns the descriptor. */
export async function readStream(
  root: Root,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<{ readonly info: FileInfo; readonly body: AsyncIterable<Uint8Array> }> {
  const { fd, stats } = await openRegular(root, path);
  try {
    stopIfAborted(signal);
    const { start, length } = spanOf(range, Number(stats.size));
    return { info: fileInfo(path, stats), body: new FileBody(fd, start, length, signal) };
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
}

async function openRegular(root: Root, path: string): Promise<Opened> {
  const [parent, name] = folderAndName(path);
  try {
    return await root.use(parent, {}, async (folder) => {
      const fd = await openFile(folder.at(name), READ_FLAGS);
      try {
        // Synchronous because opening has just brought the facts into memory; it saves a fifth of a small read.
        const stats = fs.fstatSync(fd, { bigint: true });
        if (!stats.isFile()) throw noSuchFile();
        if (root.confinement === 'paths' && !(await folder.isInPlace())) throw linkRefused();
        return { fd, stats };
      } catch (error) {
        await closeFile(fd);
        throw error;
      }
    });
  } catch (error) {
    throw fileError(error);
  }
}

/**
 * An open file as chunks, the next one being read while the last is used. An object and not a generator: one that was
 * never started would not free its descriptor when it is ended.
 */
class FileBody implements AsyncIterableIterator<Uint8Array> {
  readonly #fd: number;
  readonly #signal: AbortSignal;
  #position: number;
  #left: number;
  #ahead: Promise<Uint8Array> | undefined;
  #closing: Promise<void> | undefined;

  constructor(fd: number, start: number, length: number, signal: AbortSignal) {
    this.#fd = fd;
    this.#position = start;
    this.#left = length;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    stopIfAborted(this.#signal);
    if (this.#closing !== undefined || this.#left === 0) return this.return();
    try {
      const chunk = await (this.#ahead ?? this.#read());
      this.#position += chunk.byteLength;
      this.#left -= chunk.byteLength;
      this.#ahead = undefined;
      // A reader that counts may never ask for more than there is: the last chunk frees the descriptor.
      if (this.#left === 0) void this.return();
      else if (this.#closing === undefined) void this.#read();
      return { done: false, value: chunk };
    } catch (error) {
      await this.return();
      stopIfAborted(this.#signal);
      throw fileError(error);
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#closing ??= this.#close();
    await this.#closing;
    return { done: true, value: undefined };
  }

  readonly #onAbort = () => void this.return();

  #read(): Promise<Uint8Array> {
    const reading = this.#readChunk(this.#position, Math.min(this.#left, CHUNK_BYTES));
    // It may fail while nobody waits for it; whoever asks for it then gets the failure.
    reading.catch(() => {});
    this.#ahead = reading;
    return reading;
  }

  async #readChunk(position: number, length: number): Promise<Uint8Array> {
    const chunk = Buffer.allocUnsafeSlow(length);
    const { bytesRead } = await readInto(this.#fd, chunk, 0, length, position);
    if (bytesRead > 0) return chunk.subarray(0, bytesRead);
    throw new ConnectorError('unavailable', 'the file became shorter while it was read');
  }

  async #close(): Promise<void> {
    // A descriptor that is closed under a running read could be another file's by the time the read begins.
    await this.#ahead?.catch(() => {});
    // Nothing was written through it, so a failure to close it says nothing that anyone could use.
    await closeFile(this.#fd).catch(() => {});
  }
}
