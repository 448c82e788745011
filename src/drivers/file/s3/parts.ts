/** A piece of a file, all but the last of one size. */
export type Part = { readonly bytes: Uint8Array; readonly isLast: boolean };

/** The least that memory is taken for: most streams are small. */
const FIRST_BYTES = 64 * 1024;

/** Memory of whole parts that can be filled again, so that a long stream does not take new memory for each. */
export type SpareParts = Uint8Array[];

/** The parts of what lies in memory, without copying it. */
export function* partsOfBytes(bytes: Uint8Array, partBytes: number): Generator<Part> {
  let at = 0;
  do {
    const end = Math.min(at + partBytes, bytes.byteLength);
    yield { bytes: bytes.subarray(at, end), isLast: end === bytes.byteLength };
    at = end;
  } while (at < bytes.byteLength);
}

/**
 * The parts of a stream, each a copy of its own: a source may fill its memory again once it is asked for more. A part is
 * handed out when there is more to come after it, or nothing.
 */
export async function* partsOfStream(
  content: AsyncIterable<Uint8Array>,
  partBytes: number,
  spare: SpareParts,
): AsyncGenerator<Part> {
  let part = spare.pop() ?? Buffer.allocUnsafeSlow(Math.min(FIRST_BYTES, partBytes));
  let filled = 0;
  for await (const chunk of content) {
    let taken = 0;
    while (taken < chunk.byteLength) {
      if (filled === partBytes) {
        yield { bytes: part, isLast: false };
        part = spare.pop() ?? Buffer.allocUnsafeSlow(partBytes);
        filled = 0;
      }
      const wanted = Math.min(partBytes, filled + chunk.byteLength - taken);
      if (wanted > part.byteLength) part = grown(part, filled, wanted, partBytes);
      part.set(chunk.subarray(taken, taken + wanted - filled), filled);
      taken += wanted - filled;
      filled = wanted;
    }
  }
  yield { bytes: part.subarray(0, filled), isLast: true };
}

function grown(part: Uint8Array, filled: number, wanted: number, partBytes: number): Uint8Array {
  const larger = Buffer.allocUnsafeSlow(Math.min(partBytes, Math.max(wanted, part.byteLength * 4)));
  larger.set(part.subarray(0, filled));
  return larger;
}
