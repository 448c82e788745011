import type { ClientRequest } from 'node:http';

/** Small chunks are gathered up to this, so that a source of many is sent in few writes. */
const GATHER_BYTES = 256 * 1024;
/** A stream that ends before this is sent as bytes: its length is then known, which some servers insist on. */
const SHORT_BYTES = 256 * 1024;

export type Content = Uint8Array | AsyncIterable<Uint8Array>;

/** The content in memory where it is bytes or short, and otherwise all of the stream. */
export async function shortened(content: Content): Promise<Content> {
  if (content instanceof Uint8Array) return content;
  const iterator = content[Symbol.asyncIterator]();
  const start: Buffer[] = [];
  for (let bytes = 0; bytes < SHORT_BYTES;) {
    const step = await iterator.next();
    if (step.done) return Buffer.concat(start);
    // Copied, because a source may fill the same memory again.
    start.push(Buffer.from(step.value));
    bytes += step.value.byteLength;
  }
  return resumed(start, iterator);
}

async function* resumed(
  start: readonly Buffer[],
  iterator: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* start;
    yield* { [Symbol.asyncIterator]: () => iterator };
  } finally {
    await iterator.return?.();
  }
}

/** Bytes as they pass, and how many they were. */
export class Counted implements AsyncIterable<Uint8Array> {
  bytes = 0;
  readonly #content: AsyncIterable<Uint8Array>;

  constructor(content: AsyncIterable<Uint8Array>) {
    this.#content = content;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#content) {
      this.bytes += chunk.byteLength;
      yield chunk;
    }
  }
}

/**
 * Sends all chunks, each when the one before has left, and ends the request. Stops where the request is no more, or is
 * answered already: that is a refusal.
 */
export async function sendChunks(request: ClientRequest, content: AsyncIterable<Uint8Array>): Promise<void> {
  let isAnswered = false;
  request.once('response', () => {
    isAnswered = true;
  });
  // Not by its event, which would come too late: a request that is destroyed calls back before, again and again.
  const isOver = () => isAnswered || request.destroyed;
  const write = async (bytes: Uint8Array) => {
    if (bytes.byteLength > 0 && !isOver()) await written(request, bytes);
  };
  const gathered = Buffer.allocUnsafeSlow(GATHER_BYTES);
  let used = 0;
  for await (const chunk of content) {
    const isLarge = chunk.byteLength > GATHER_BYTES / 4;
    if (isLarge || used + chunk.byteLength > GATHER_BYTES) {
      await write(gathered.subarray(0, used));
      used = 0;
    }
    if (isLarge) await write(chunk);
    else {
      gathered.set(chunk, used);
      used += chunk.byteLength;
    }
    if (isOver()) return;
  }
  await write(gathered.subarray(0, used));
  if (!isOver()) request.end();
}

function written(request: ClientRequest, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      request.off('close', done).off('response', done);
      resolve();
    };
    // A request that broke down, or that is answered already, may never call back.
    request.once('close', done).once('response', done);
    request.write(bytes, done);
  });
}
