import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FrameReader } from './frames.ts';

const NONCE = Buffer.from('0123456789abcdef');

function framed(body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([NONCE, length, body]);
}

/** Everything that a reader says about a stream that arrives in pieces of the given sizes. */
function read(stream: Buffer, sizes: readonly number[], maxFrameBytes = 1000) {
  const output: Buffer[] = [];
  const frames: string[] = [];
  const reader = new FrameReader(NONCE, maxFrameBytes, {
    output: (bytes) => output.push(Buffer.from(bytes)),
    frame: (body) => frames.push(body.toString('hex')),
  });
  let at = 0;
  for (const size of [...sizes, stream.length]) {
    reader.push(stream.subarray(at, at + size));
    at += size;
  }
  return { output: Buffer.concat(output), frames };
}

it('tells frames from output however the stream is cut', () => {
  const bytes = fc.uint8Array({ maxLength: 60 }).map((value) => Buffer.from(value));
  const pieces = fc.array(fc.tuple(bytes, bytes), { maxLength: 6 });
  fc.assert(
    fc.property(pieces, fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 30 }), (parts, sizes) => {
      // A last frame, because the reader keeps back what may be the beginning of a nonce.
      const all = [...parts, [Buffer.from('end'), Buffer.from('last')]] as const;
      const stream = Buffer.concat(all.flatMap(([output, body]) => [output, framed(body)]));
      const seen = read(stream, sizes);
      expect(seen.frames).toEqual(all.map(([, body]) => body.toString('hex')));
      expect(seen.output.equals(Buffer.concat(all.map(([output]) => output)))).toBe(true);
    }),
  );
});

it('takes what looks like a frame with another nonce for output', () => {
  const fake = Buffer.concat([Buffer.from('0123456789abcdeX'), Buffer.from([0, 0, 0, 2]), Buffer.from('{}')]);
  const seen = read(Buffer.concat([fake, framed(Buffer.from('{}'))]), [7, 11]);
  expect(seen.frames).toEqual([Buffer.from('{}').toString('hex')]);
  expect(seen.output.equals(fake)).toBe(true);
});

it('takes the beginning of a nonce for output when nothing follows, and of a frame that was cut off nothing', () => {
  const output: string[] = [];
  const reader = new FrameReader(NONCE, 1000, {
    output: (bytes) => void output.push(bytes.toString()),
    frame: () => {},
  });
  reader.push(Buffer.from('last words 0123'));
  reader.end();
  expect(output.join('')).toBe('last words 0123');
  reader.push(framed(Buffer.from('{}')).subarray(0, -1));
  reader.end();
  expect(output.join('')).toBe('last words 0123');
});

it('refuses a frame over the limit before it is held in memory', () => {
  expect(() => read(framed(Buffer.alloc(11)), [25], 10)).toThrow(RangeError);
});
