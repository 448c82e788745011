import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LineSlices } from './line-slices.ts';

async function* cut(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function text(content: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

it('cuts after every so many lines, however the source comes, and knows where each slice starts', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom('', 'a', '{"é":1}', 'long '.repeat(20))),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 50 }),
      fc.boolean(),
      async (given, lines, size, endsWithNewline) => {
        const whole = given.join('\n') + (endsWithNewline ? '\n' : '');
        const slices = new LineSlices(cut(whole, size));
        const parts: string[] = [];
        while (await slices.more()) {
          const read = parts.join('');
          expect(slices.offset).toBe(Buffer.byteLength(read));
          expect(slices.line).toBe(read.split('\n').length);
          parts.push(await text(slices.next({ lines, ms: Infinity })));
        }
        expect(parts.join('')).toBe(whole);
        for (const part of parts.slice(0, -1)) expect(part.split('\n')).toHaveLength(lines + 1);
      },
    ),
  );
});

it('goes on after the lines that it passes over, and counts from where it is told', async () => {
  const slices = new LineSlices(cut('a\nb\nc\nd\n', 3), { line: 11, offset: 100 });
  await slices.skip(2);
  expect([slices.line, slices.offset]).toEqual([13, 104]);
  expect(await text(slices.next({ lines: 9, ms: Infinity }))).toBe('c\nd\n');
});

it('ends with the line that it is in when its time is over', async () => {
  const slices = new LineSlices(cut('aaaa\nb\nc\n', 2));
  expect(await text(slices.next({ lines: 9, ms: 0 }))).toBe('aaaa\n');
  expect(slices.line).toBe(2);
});
