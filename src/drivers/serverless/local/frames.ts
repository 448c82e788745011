const HEADER_BYTES = 4;

/**
 * Tells the frames of the bootstrap from what the function itself writes to the same stream: a frame begins with a nonce
 * that the function cannot know. Everything else is output.
 */
export class FrameReader {
  readonly #nonce: Buffer;
  readonly #maxFrameBytes: number;
  readonly #output: (bytes: Buffer) => void;
  readonly #frame: (body: Buffer) => void;
  /** What arrived and is neither output nor a whole frame yet. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  /** Bytes that must have arrived before it is worth looking again. */
  #neededBytes = 1;

  constructor(
    nonce: Buffer,
    maxFrameBytes: number,
    on: { readonly output: (bytes: Buffer) => void; readonly frame: (body: Buffer) => void },
  ) {
    this.#nonce = nonce;
    this.#maxFrameBytes = maxFrameBytes;
    this.#output = on.output;
    this.#frame = on.frame;
  }

  /** @throws RangeError for a frame over the limit; nothing after it can be trusted. */
  push(chunk: Buffer): void {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    if (this.#pendingBytes < this.#neededBytes) return;
    let rest = this.#pending.length === 1 ? chunk : Buffer.concat(this.#pending);
    for (;;) {
      const at = rest.indexOf(this.#nonce);
      // A nonce may be cut in two: its length less one stays.
      const outputBytes = at >= 0 ? at : Math.max(0, rest.length - this.#nonce.length + 1);
      if (outputBytes > 0) this.#output(rest.subarray(0, outputBytes));
      rest = rest.subarray(outputBytes);
      const headBytes = this.#nonce.length + HEADER_BYTES;
      if (at < 0 || rest.length < headBytes) return this.#keep(rest, at < 0 ? 1 : headBytes);
      const bodyBytes = rest.readUInt32BE(this.#nonce.length);
      if (bodyBytes > this.#maxFrameBytes)
        throw new RangeError(`a frame is at most ${this.#maxFrameBytes} bytes`);
      if (rest.length < headBytes + bodyBytes) return this.#keep(rest, headBytes + bodyBytes);
      this.#frame(rest.subarray(headBytes, headBytes + bodyBytes));
      rest = rest.subarray(headBytes + bodyBytes);
    }
  }

  /** Nothing follows: what was kept back as the possible beginning of a nonce is output after all. */
  end(): void {
    const rest = Buffer.concat(this.#pending);
    this.#keep(Buffer.alloc(0), 1);
    if (rest.length > 0 && !rest.includes(this.#nonce)) this.#output(rest);
  }

  #keep(rest: Buffer, neededBytes: number): void {
    this.#pending = rest.length > 0 ? [rest] : [];
    this.#pendingBytes = rest.length;
    this.#neededBytes = neededBytes;
  }
}

/** A frame as the bootstrap reads it: four bytes of length, big end first, then JSON. */
export function frameOf(value: unknown): Buffer {
  return textFrame(JSON.stringify(value));
}

/** The same of a text as it is. */
export function textFrame(json: string): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + Buffer.byteLength(json));
  frame.writeUInt32BE(frame.length - HEADER_BYTES, 0);
  frame.write(json, HEADER_BYTES);
  return frame;
}
