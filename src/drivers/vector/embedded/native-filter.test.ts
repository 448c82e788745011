import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Filter, parseFilter } from '../../../driver.ts';
import { encoded, nativeFilter } from './native-filter.ts';

const FIELDS = { s: 'string', n: 'number', 'a.b': 'boolean' } as const;
const native = (filter: Filter): string | undefined => nativeFilter(parseFilter(filter), FIELDS);

describe('encoded', () => {
  it('orders and equates numbers as numbers are', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.double({ noNaN: true }), (a, b) => {
        const [x = '', y = ''] = [encoded(a, 'number'), encoded(b, 'number')];
        expect(x < y).toBe(a < b);
        expect(x === y).toBe(a === b);
      }),
    );
  });

  it('is letters and digits whatever the value is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 128 }), (text) => {
        expect(encoded(text, 'string') ?? 's').toMatch(/^s[0-9a-f]*$/);
      }),
    );
  });

  it('holds no value of another type', () => {
    expect(encoded('1', 'number')).toBeUndefined();
    expect(encoded(1, 'string')).toBeUndefined();
    expect(encoded(null, 'boolean')).toBeUndefined();
    expect(encoded(['x'], 'string')).toBeUndefined();
  });
});

describe('nativeFilter', () => {
  it('quotes nothing of what it is given', () => {
    expect(native({ s: "'" })).toBe("(f2 = 's27')");
  });

  it('asks for absent values wherever a negation must match them', () => {
    expect(native({ s: { $ne: 'a' } })).toBe("(f2 is null or f2 != 's61')");
    expect(native({ $not: { $or: [{ s: 'a' }, { 'a.b': true }] } })).toBe(
      "((f2 is null or f2 != 's61') and (f0 is null or f0 != 'b1'))",
    );
    expect(native({ n: { $not: { $gt: 0 } } })).toBe("(f1 is null or f1 <= 'n8000000000000000')");
  });

  it.each<Filter>([
    { other: 1 },
    { s: 1 },
    { s: null },
    { s: { $gt: 'a' } },
    { s: { $exists: true } },
    { s: { $in: [] } },
    { s: { $in: ['a', 1] } },
    { s: { $contains: 'a' } },
    { s: 'x'.repeat(129) },
    { $and: [{ s: 'a' }, { other: 1 }] },
    { $or: [] },
    { constructor: 'x' },
  ])('leaves %j to the exact evaluation', (filter) => {
    expect(native(filter)).toBeUndefined();
  });
});
