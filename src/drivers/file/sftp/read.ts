import {
  nameOf,
  spanOf,
  asConnectorError,
  type ByteRange,
  ConnectorError,
  type FileInfo,
  type OpenedFile,
} from '../../../driver.ts';
import { linkRefused, noSuchFile } from './errors.ts';
import { type Attributes, Exchange, type Handle } from './exchange.ts';
import type { Session } from './session.ts';
import { refuseTemporary } from './temporary.ts';
import { walk } from './walk.ts';

/** What `readBytes` takes into memory at most. */
const MAX_BYTES_AT_ONCE = 2 ** 30;
/** One request and its answer; OpenSSH takes up to 255 KiB, and ssh2 cuts it smaller for servers that take less. */
const CHUNK_BYTES = 128 * 1024;
/** Requests under way for one file: 2 MiB, which is what the SSH channel lets through without being asked again. */
const READS_AT_ONCE = 16;

/** The facts of a regular file. @throws ConnectorError `not_found`, also for a folder; `invalid_argument` for a link. */
export async function statFile(exchange: Exchange, session: Session, path: string): Promise<FileInfo> {
  refuseTemporary(path);
  const { last } = await walk(exchange, session, path);
  if (last?.isSymbolicLink()) throw linkRefused();
  // A pipe or a device is not opened either: the server would wait for its other end, and all calls with it.
  if (!last?.isFile()) throw noSuchFile();
  return infoOf(path, last);
}

/** The whole file, or the range, in memory. */
export async function readBytes(
  exchange: Exchange,
  session: Session,
  path: string,
  range: ByteRange | undefined,
): Promise<Uint8Array> {
  const { handle, info } = await openFile(exchange, session, path);
  try {
    const { start, length } = spanOf(range, info.size);
    if (length > MAX_BYTES_AT_ONCE)
      throw new ConnectorError('payload_too_large', 'the file is too large to be read at once; stream it', {
        details: { maxBytes: MAX_BYTES_AT_ONCE },
      });
    const bytes = new Uint8Array(length);
    const view = Buffer.from(bytes.buffer);
    let next = 0;
    const work = async () => {
      for (let from = next; from < length; from = next) {
        next += CHUNK_BYTES;
        await readWhole(exchange, handle, view.subarray(from, next), start + from);
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, work));
    return bytes;
  } finally {
    exchange.release(handle);
  }
}

/** The file's facts and an open body over it. The body owns the handle and the exchange. */
export async function readStream(
  session: Session,
  path: string,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<OpenedFile> {
  const exchange = new Exchange(session.connection, session.clock, signal);
  try {
    const { handle, info } = await openFile(exchange, session, path);
    try {
      const { start, length } = spanOf(range, info.size);
      return { info, body: new RemoteBody(exchange, handle, start, length) };
    } catch (error) {
      exchange.release(handle);
      throw error;
    }
  } catch (error) {
    exchange.end();
    throw error;
  }
}

/** Opens a regular file; its facts are those of what was opened, whatever has happened to its name since. */
export async function openFile(
  exchange: Exchange,
  session: Session,
  path: string,
): Promise<{ readonly handle: Handle; readonly info: FileInfo }> {
  await statFile(exchange, session, path);
  const handle = await exchange.open(session.at(path), 'r');
  try {
    const attributes = await exchange.fstat(handle);
    if (!attributes.isFile()) throw noSuchFile();
    return { handle, info: infoOf(path, attributes) };
  } catch (error) {
    exchange.release(handle);
    throw error;
  }
}

export function infoOf(path: string, { size, mtime }: Attributes): FileInfo {
  return { name: nameOf(path), path, size, lastModified: new Date(mtime * 1000), isDirectory: false };
}

/** Fills `into`, however little the server gives at a time. */
async function readWhole(exchange: Exchange, handle: Handle, into: Buffer, position: number): Promise<void> {
  for (let done = 0; done < into.length;) {
    const bytes = await exchange.read(handle, into, done, into.length - done, position + done);
    if (bytes === 0) throw new ConnectorError('unavailable', 'the file became shorter while it was read');
    done += bytes;
  }
}

/**
 * An open file as chunks, the next ones being on their way while one is used. An object and not a generator: one that
 * was never started would not free its handle when it is ended.
 */
class RemoteBody implements AsyncIterableIterator<Uint8Array> {
  readonly #exchange: Exchange;
  readonly #handle: Handle;
  readonly #ahead: Promise<Buffer>[] = [];
  readonly #end: number;
  #position: number;
  #isEnded = false;
  #failure: ConnectorError | undefined;

  constructor(exchange: Exchange, handle: Handle, start: number, length: number) {
    this.#exchange = exchange;
    this.#handle = handle;
    this.#position = start;
    this.#end = start + length;
    // An aborted body may never be asked for anything again; one that is must not look as if it were complete.
    exchange.onEnd((failure) => {
      this.#failure = failure;
      this.#free();
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#isEnded) this.#readAhead();
    const chunk = this.#ahead.shift();
    if (chunk === undefined) {
      if (this.#failure !== undefined && this.#position < this.#end) throw this.#failure;
      return this.return();
    }
    try {
      const value = await chunk;
      // A reader that counts may never ask for more than there is: the last chunk frees the handle.
      if (this.#ahead.length === 0 && this.#position >= this.#end) this.#free();
      return { done: false, value };
    } catch (error) {
      this.#failure = asConnectorError(error);
      this.#ahead.length = 0;
      this.#free();
      throw error;
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#ahead.length = 0;
    this.#position = this.#end;
    this.#free();
    return { done: true, value: undefined };
  }

  #readAhead(): void {
    while (this.#ahead.length < READS_AT_ONCE && this.#position < this.#end) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, this.#end - this.#position));
      const reading = readWhole(this.#exchange, this.#handle, chunk, this.#position).then(() => chunk);
      // It may fail while nobody waits for it; whoever asks for it then gets the failure.
      reading.catch(() => {});
      this.#ahead.push(reading);
      this.#position += chunk.length;
    }
  }

  #free(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#exchange.release(this.#handle);
    this.#exchange.end();
  }
}
