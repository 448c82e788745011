const NEWLINE = 0x0a;

/** How much of a stream one slice takes. */
export type SliceLimits = {
  readonly lines: number;
  /** After so much time it ends with the line that it is in. */
  readonly ms: number;
};

/**
 * A stream of lines that is read slice by slice, each ending where a line does.
 *
 * Nothing is copied and nothing is kept but the chunk that a slice ends in.
 */
export class LineSlices {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);
  #line: number;
  #offset: number;

  /** @param from the number of the stream's first line, and its place in the file. */
  constructor(
    source: AsyncIterable<Uint8Array>,
    from: { readonly line: number; readonly offset: number } = { line: 1, offset: 0 },
  ) {
    this.#source = source[Symbol.asyncIterator]();
    this.#line = from.line;
    this.#offset = from.offset;
  }

  /** The number of the line that comes next, from 1. */
  get line(): number {
    return this.#line;
  }

  /** Where in the file that line starts, in bytes. */
  get offset(): number {
    return this.#offset;
  }

  /** Whether anything is left; waits for the source to say. */
  async more(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#source.next();
      if (done) return false;
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return true;
  }

  /** Passes lines over. */
  async skip(lines: number): Promise<void> {
    if (lines < 1) return;
    const passed = this.next({ lines, ms: Infinity });
    while (!(await passed.next()).done);
  }

  /** The bytes of the next slice; the next one may be asked for once it has ended. */
  async *next({ lines, ms }: SliceLimits): AsyncGenerator<Uint8Array> {
    const endsAt = performance.now() + ms;
    let left = lines;
    while (await this.more()) {
      const chunk = this.#rest;
      let end = -1;
      do {
        end = chunk.indexOf(NEWLINE, end + 1);
        if (end !== -1) {
          left = performance.now() < endsAt ? left - 1 : 0;
          this.#line += 1;
        }
      } while (end !== -1 && left > 0);
      const taken = end === -1 ? chunk : chunk.subarray(0, end + 1);
      this.#rest = chunk.subarray(taken.length);
      this.#offset += taken.length;
      yield taken;
      if (left <= 0) return;
    }
  }
}
