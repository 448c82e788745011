/** A multiple of 256 KiB, as resumable uploads want it; the size that Google recommends at least. */
export const CHUNK_BYTES = 8 * 2 ** 20;

/** A part of some content; only the last may be smaller than {@link CHUNK_BYTES}, and even empty. */
export type Chunk = { readonly bytes: Uint8Array; readonly isLast: boolean };

/**
 * The content in parts of one size. The memory of a part is filled again as soon as the next is asked for, as that of
 * the source's own chunks may be.
 */
export async function* chunksOf(content: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Chunk> {
  if (content instanceof Uint8Array) return yield* slicesOf(content);
  const memory = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let filledBytes = 0;
  for await (const piece of content) {
    for (let at = 0; at < piece.byteLength;) {
      if (filledBytes === CHUNK_BYTES) {
        yield { bytes: memory, isLast: false };
        filledBytes = 0;
      }
      const part = piece.subarray(at, at + CHUNK_BYTES - filledBytes);
      memory.set(part, filledBytes);
      filledBytes += part.byteLength;
      at += part.byteLength;
    }
  }
  yield { bytes: memory.subarray(0, filledBytes), isLast: true };
}

function* slicesOf(content: Uint8Array): Generator<Chunk> {
  for (let at = 0; ; at += CHUNK_BYTES) {
    const isLast = at + CHUNK_BYTES >= content.byteLength;
    yield { bytes: content.subarray(at, at + CHUNK_BYTES), isLast };
    if (isLast) return;
  }
}
