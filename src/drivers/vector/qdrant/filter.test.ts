import { describe, expect, it } from 'vitest';
import { compiled } from './filter.ts';
import { orderedNumber } from './numbers.ts';
import { matchesFilter } from './qdrant-filter.fixture.ts';

describe('a filter', () => {
  it('asks for terms and numbers, and holds names and values of the tenant as values alone', () => {
    const text = JSON.stringify(compiled({ 'a"]}.$x[]': { $in: ["'; --", 1] }, 'b.c': { $gte: 0 } }));
    expect(text).toContain(JSON.stringify(JSON.stringify(['is', 'a"]}.$x[]', "'; --"])));
    const keys = [...text.matchAll(/"key":"((?:[^"\\]|\\.)*)"/g)].map(([, key]) => key);
    expect(new Set(keys)).toEqual(new Set(['terms', 'numbers', 'field', 'high', 'low']));
  });

  it('finds nothing by an empty list, which in Qdrant is no condition', () => {
    const point = { prefix: '', indexed: new Set(['terms']), id: 'a' };
    expect(matchesFilter({ should: [] }, {}, point)).toBe(true);
    for (const filter of [{ $or: [] }, { a: { $in: [] } }, { a: { $containsAny: [] } }])
      expect(matchesFilter(compiled(filter), {}, point)).toBe(false);
    for (const filter of [{ $and: [] }, { a: { $nin: [] } }, { $not: { $or: [] } }])
      expect(matchesFilter(compiled(filter), {}, point)).toBe(true);
  });

  it('refuses an order of strings, naming where', () => {
    expect(() => compiled({ a: { $gt: 'x' } })).toThrow(
      expect.objectContaining({ code: 'unsupported', message: expect.stringContaining('filter.a.$gt') }),
    );
  });
});

describe('a number as two integers', () => {
  const inOrder = [
    -Number.MAX_VALUE,
    -(2 ** 53),
    -1.577_777_777_777_000_1,
    -1,
    -Number.MIN_VALUE,
    0,
    Number.MIN_VALUE,
    0.1,
    0.1 + Number.EPSILON / 16,
    1,
    1.577_777_777_777,
    1.577_777_777_777_000_1,
    2 ** 53,
    2 ** 53 + 2,
    Number.MAX_VALUE,
  ];

  it('is in the order of the numbers, neighbours included', () => {
    const whole = inOrder.map((value) => {
      const { high, low } = orderedNumber(value);
      return (BigInt(high) << 32n) | BigInt(low);
    });
    expect(whole).toEqual(whole.toSorted((a, b) => (a < b ? -1 : 1)));
    expect(new Set(whole).size).toBe(inOrder.length);
  });

  it('is one for 0 and -0', () => {
    expect(orderedNumber(-0)).toEqual(orderedNumber(0));
  });
});
