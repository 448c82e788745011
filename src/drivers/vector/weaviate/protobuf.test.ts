import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, count, decoded, double, message, packed, text, unpacked } from './protobuf.ts';

describe('a message', () => {
  it('holds what was put into it', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.nat({ max: Number.MAX_SAFE_INTEGER }),
        fc.double({ noNaN: true }),
        fc.uint8Array(),
        (words, number, decimal, raw) => {
          const inner = message(text(1, words), bytes(200, raw));
          const fields = decoded(
            Buffer.from(message(count(15, number), double(16, decimal), bytes(3, inner))),
          );
          expect(fields.number(15)).toBe(number);
          expect(fields.number(16)).toBe(decimal);
          expect(fields.message(3)?.text(1)).toBe(words);
          expect(fields.message(3)?.bytes(200)).toEqual(Buffer.from(raw));
        },
      ),
    );
  });

  it('has 0 and nothing where a field is not there', () => {
    const fields = decoded(Buffer.alloc(0));
    expect([fields.number(1), fields.text(1), fields.message(1), fields.all(1)]).toEqual([
      0,
      undefined,
      undefined,
      [],
    ]);
  });

  it('that is cut off anywhere is an error, or a shorter message, and never a crash', () => {
    const whole = Buffer.from(message(text(1, 'abc'), count(2, 300), double(3, 0.5)));
    const outcomes = Array.from({ length: whole.length }, (_, i) => {
      try {
        decoded(whole.subarray(0, i));
        return i;
      } catch (error) {
        expect(error).toMatchObject({ code: 'backend_error' });
        return undefined;
      }
    });
    expect(outcomes.filter((one) => one !== undefined)).toEqual([0, 5, 8]);
  });

  it('of anything at all is read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (raw) => {
        try {
          decoded(Buffer.from(raw)).message(1);
        } catch (error) {
          expect(error).toMatchObject({ code: 'backend_error' });
        }
      }),
    );
  });
});

it('vectors are little-endian float32', () => {
  expect(packed([1, -2]).toString('hex')).toBe('0000803f000000c0');
  expect(unpacked(packed([0.1, 3]))).toEqual([Math.fround(0.1), 3]);
});
