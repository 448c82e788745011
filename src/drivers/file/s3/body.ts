import type { Readable } from 'node:stream';
import { ConnectorError } from '../../../driver.ts';

/** The body of an answer, a stream of Node's. */
export type Source = Pick<Readable, 'destroy' | 'on' | 'read'>;

export type FileBodyOptions = {
  readonly source: Source;
  /** What the answer's headers promise. */
  readonly lengthBytes: number;
  readonly signal: AbortSignal;
  readonly failed: (error: unknown) => ConnectorError;
};

/**
 * The body of an answer as chunks. An object and not a generator: one that was never started would keep its connection
 * when it is ended. Not by the stream's own iterator either, whose second promise for each chunk is measurable.
 */
export class FileBody implements AsyncIterableIterator<Uint8Array> {
  readonly #source: Source;
  readonly #signal: AbortSignal;
  readonly #failed: (error: unknown) => ConnectorError;
  #leftBytes: number;
  /** Nothing more will come. */
  #isOver = false;
  #error: unknown;
  #isEnded = false;
  #wake = (): void => {};

  constructor({ source, lengthBytes, signal, failed }: FileBodyOptions) {
    this.#source = source;
    this.#leftBytes = lengthBytes;
    this.#signal = signal;
    this.#failed = failed;
    const over = (error?: unknown) => {
      this.#isOver = true;
      this.#error ??= error;
      this.#wake();
    };
    source.on('readable', () => this.#wake());
    source.on('end', () => over());
    source.on('error', over);
    source.on('close', () => over());
    signal.addEventListener('abort', this.#end, { once: true });
    if (signal.aborted) this.#end();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      if (this.#signal.aborted) throw this.#failed(this.#signal.reason);
      if (this.#isEnded) return { done: true, value: undefined };
      const chunk: unknown = this.#source.read();
      if (chunk instanceof Uint8Array) {
        this.#leftBytes -= chunk.byteLength;
        if (this.#leftBytes < 0) throw this.#broken(cutOff());
        return { done: false, value: chunk };
      }
      if (this.#error !== undefined) throw this.#broken(this.#error);
      if (this.#isOver && this.#leftBytes > 0) throw this.#broken(cutOff());
      if (this.#isOver) this.#end();
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#end();
    return { done: true, value: undefined };
  }

  #broken(error: unknown): ConnectorError {
    this.#end();
    return this.#failed(error);
  }

  readonly #end = (): void => {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#signal.removeEventListener('abort', this.#end);
    // Whatever is left is not worth reading for the sake of the connection, which goes with it.
    this.#source.destroy();
    this.#wake();
  };
}

/** All of a body as one. By events, because iterating takes a tenth of the time of a small file. */
export function collected(source: Source, lengthBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  let filled = 0;
  return new Promise((resolve, reject) => {
    source.on('data', (chunk: Uint8Array) => {
      if (filled + chunk.byteLength > lengthBytes) return reject(cutOff());
      bytes.set(chunk, filled);
      filled += chunk.byteLength;
    });
    source.on('end', () => (filled === lengthBytes ? resolve(bytes) : reject(cutOff())));
    source.on('error', reject);
    // What came before is what counts; after neither, nothing will come.
    source.on('close', () => reject(cutOff()));
  });
}

function cutOff(): ConnectorError {
  return new ConnectorError('unavailable', 'the backend sent less or more of the file than it said');
}
