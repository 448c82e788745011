import { ConnectorError } from '../../../driver.ts';
import { failureOf, type Answer } from './http.ts';

type BodyOptions = {
  /** Bytes at the beginning that were not asked for. */
  readonly skip: number;
  /** Bytes after these that were. */
  readonly bytes: number;
  readonly signal: AbortSignal;
};

/**
 * The bytes of an answer that were asked for, and no fewer. An object and not a generator: one that was never started
 * would not close its connection when it is ended.
 */
export class Body implements AsyncIterableIterator<Uint8Array> {
  /** How many it has in all. */
  readonly bytes: number;
  readonly #answer: Answer;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #signal: AbortSignal;
  #skip: number;
  #left: number;
  #first: Uint8Array | undefined;

  constructor(answer: Answer, { skip, bytes, signal }: BodyOptions) {
    this.bytes = bytes;
    this.#answer = answer;
    this.#chunks = answer[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>; // no encoding is set, so they are buffers
    this.#signal = signal;
    this.#skip = skip;
    this.#left = bytes;
    if (bytes === 0) void this.#drain();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Waits for the first bytes: a server may open the file only now. */
  async begin(): Promise<void> {
    const step = await this.next();
    if (!step.done) this.#first = step.value;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const first = this.#first;
    if (first !== undefined) {
      this.#first = undefined;
      return { done: false, value: first };
    }
    try {
      while (this.#left > 0) {
        const step = await this.#chunks.next();
        if (step.done) throw new ConnectorError('unavailable', 'the backend ended the file before its end');
        const skipped = Math.min(this.#skip, step.value.byteLength);
        this.#skip -= skipped;
        const chunk = step.value.subarray(skipped, skipped + this.#left);
        this.#left -= chunk.byteLength;
        if (this.#left === 0) void this.#drain();
        if (chunk.byteLength > 0) return { done: false, value: chunk };
      }
      return { done: true, value: undefined };
    } catch (error) {
      await this.return();
      throw failureOf(error, this.#signal);
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    // Once it was read to its end this leaves the connection as it is.
    this.#answer.destroy();
    return { done: true, value: undefined };
  }

  /** Has the connection kept where the answer ends here, and closed where it goes on. */
  async #drain(): Promise<void> {
    const step = await this.#chunks.next().catch(() => undefined);
    if (step?.done !== true) this.#answer.destroy();
  }
}
