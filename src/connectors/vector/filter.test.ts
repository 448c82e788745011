import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Filter, Metadata } from './driver.ts';
import { checkOperators, compareCodePoints, fieldsOf, matches, operatorsOf, parseFilter } from './filter.ts';

const holds = (filter: Filter, metadata?: Metadata): boolean => matches(parseFilter(filter), metadata);
const refused = (filter: unknown): unknown => {
  try {
    parseFilter(filter);
  } catch (error) {
    return error;
  }
  return undefined;
};
const json = (text: string): Filter => JSON.parse(text);
const nested = (depth: number): Filter => (depth === 1 ? { a: 1 } : { $not: nested(depth - 1) });

describe('parseFilter', () => {
  it.each([
    ['a list', [], 'filter'],
    ['text', 'a = 1', 'filter'],
    ['null', null, 'filter'],
    ['an unknown operator', { a: { $regex: 'x' } }, 'filter.a.$regex'],
    ['an unknown operator at the top', { $where: 'x' }, 'filter.$where'],
    ['an unknown operator in a branch', { $or: [{ a: 1 }, { b: { $like: 1 } }] }, 'filter.$or[1].b.$like'],
    ['a nested object', { a: { b: 1 } }, 'filter.a.b'],
    ['a list as a value', { a: [1] }, 'filter.a'],
    ['no operator', { a: {} }, 'filter.a'],
    ['undefined', { a: undefined }, 'filter.a'],
    ['NaN', { a: { $gt: NaN } }, 'filter.a.$gt'],
    ['an infinite number in a list', { a: { $in: [1, Infinity] } }, 'filter.a.$in[1]'],
    ['an order of booleans', { a: { $lt: true } }, 'filter.a.$lt'],
    ['presence that is not a boolean', { a: { $exists: 1 } }, 'filter.a.$exists'],
    ['$in without a list', { a: { $in: 'x' } }, 'filter.a.$in'],
    ['$and without a list', { $and: { a: 1 } }, 'filter.$and'],
    ['$not with a list', { $not: [] }, 'filter.$not'],
    ['an object as an operand', { a: { $eq: { b: 1 } } }, 'filter.a.$eq'],
    ['null in $containsAny', { a: { $containsAny: [null] } }, 'filter.a.$containsAny[0]'],
    ['half a surrogate pair', { a: '\ud800' }, 'filter.a'],
    ['1,001 items', { a: { $in: Array.from({ length: 1001 }, (_, i) => i) } }, 'filter.a.$in'],
    ['257 nodes', { $or: Array.from({ length: 256 }, () => ({ a: 1 })) }, 'filter'],
  ])('refuses %s, naming where it stands', (_, filter, path) => {
    expect(refused(filter)).toMatchObject({ code: 'invalid_argument', issues: [{ path }] });
  });

  it('takes 8 levels, 256 nodes and 1,000 items, and refuses a ninth level', () => {
    expect(refused(nested(8))).toBeUndefined();
    expect(refused({ $or: Array.from({ length: 255 }, () => ({ a: 1 })) })).toBeUndefined();
    expect(refused({ a: { $in: Array.from({ length: 1000 }, (_, i) => i) } })).toBeUndefined();
    expect(refused(nested(9))).toMatchObject({ code: 'invalid_argument' });
  });

  it('refuses a filter that holds itself instead of exhausting the stack', () => {
    const filter: Record<string, unknown> = {};
    filter['$not'] = filter;
    expect(refused(filter)).toMatchObject({ code: 'invalid_argument' });
  });

  it('treats __proto__ and constructor as fields like any other', () => {
    expect(holds(json('{"__proto__":"x"}'), {})).toBe(false);
    expect(holds(json('{"__proto__":"x"}'), json('{"__proto__":"x"}') as Metadata)).toBe(true);
    expect(holds({ constructor: { $exists: true } }, {})).toBe(false);
    expect(holds({ 'a.constructor.name': { $exists: true } }, { a: {} })).toBe(false);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it('names each operator that it needs and where, several conditions as and', () => {
    const node = parseFilter({ a: 1, $or: [{ b: { $gt: 1 } }, { c: { $not: { $in: [1] } } }] });
    expect(Object.fromEntries(operatorsOf(node))).toEqual({
      and: 'filter',
      eq: 'filter.a',
      or: 'filter.$or',
      gt: 'filter.$or[0].b.$gt',
      not: 'filter.$or[1].c.$not',
      in: 'filter.$or[1].c.$not.$in',
    });
    expect([...fieldsOf(node)]).toEqual(['a', 'b', 'c']);
    expect(() =>
      checkOperators(node, { filter: ['and', 'eq', 'or', 'gt', 'in'], orderedStrings: true }),
    ).toThrow(
      expect.objectContaining({
        code: 'unsupported',
        details: { capability: 'filter', missing: ['not'] },
        issues: [expect.objectContaining({ path: 'filter.$or[1].c.$not' })],
      }),
    );
  });
});

describe('matches', () => {
  it.each<[Filter, Metadata | undefined, boolean]>([
    [{}, undefined, true],
    [{ a: 1 }, undefined, false],
    [{ a: 1, b: 2 }, { a: 1, b: 2 }, true],
    [{ a: 1, b: 2 }, { a: 1, b: 3 }, false],
    [{ a: { $gt: 1, $lt: 3 } }, { a: 2 }, true],
    [{ a: { $gt: 1, $lt: 3 } }, { a: 3 }, false],
    [{ a: '1' }, { a: 1 }, false],
    [{ a: true }, { a: 1 }, false],
    [{ a: 0 }, { a: false }, false],
    [{ a: 0 }, { a: -0 }, true],
    [{ a: { $in: [0] } }, { a: -0 }, true],
    [{ a: '' }, { a: '' }, true],
    [{ a: null }, { a: null }, true],
    [{ a: null }, {}, false],
    [{ a: { $ne: null } }, {}, true],
    [{ a: { $ne: 1 } }, {}, true],
    [{ a: { $nin: [1] } }, {}, true],
    [{ $not: { a: { $gt: 1 } } }, {}, true],
    [{ a: { $not: { $gt: 1 } } }, { a: 'x' }, true],
    [{ a: { $in: [] } }, { a: 1 }, false],
    [{ a: { $nin: [] } }, { a: 1 }, true],
    [{ $or: [] }, { a: 1 }, false],
    [{ $and: [] }, undefined, true],
    [{ a: { $in: [null] } }, { a: null }, true],
    [{ a: { $in: [null] } }, {}, false],
    [{ a: { $exists: true } }, { a: null }, true],
    [{ a: { $exists: true } }, { a: { b: 1 } }, true],
    [{ a: { $exists: false } }, {}, true],
    [{ 'a.b': 1 }, { a: { b: 1 } }, true],
    [{ 'a.b': 1 }, { 'a.b': 1 }, false],
    [{ 'a.0': 'x' }, { a: ['x'] }, false],
    [{ 'a.length': 1 }, { a: ['x'] }, false],
    [{ 'a..b': 1 }, { a: { '': { b: 1 } } }, true],
    [{ a: 'x' }, { a: ['x'] }, false],
    [{ a: { $ne: 'x' } }, { a: ['x'] }, true],
    [{ a: { $contains: 'x' } }, { a: ['y', 'x'] }, true],
    [{ a: { $contains: 1 } }, { a: ['1'] }, false],
    [{ a: { $contains: 'x' } }, { a: 'xyz' }, false],
    [{ a: { $containsAny: ['p', 'x'] } }, { a: ['x'] }, true],
    [{ a: { $containsAny: [] } }, { a: ['x'] }, false],
    [{ a: { $containsAll: ['x', 1] } }, { a: [1, 2, 'x'] }, true],
    [{ a: { $containsAll: ['x', 3] } }, { a: [1, 2, 'x'] }, false],
    [{ a: { $containsAll: [] } }, { a: [] }, true],
    [{ a: { $containsAll: [] } }, {}, false],
    [{ a: { $gt: 1 } }, { a: '2' }, false],
    [{ a: { $lte: 'b' } }, { a: 'b' }, true],
    [{ a: { $lt: 'b' } }, { a: 'a😀' }, true],
    [{ a: { $gt: '\uffff' } }, { a: '😀' }, true],
    [{ a: { $gt: 2 ** 53 } }, { a: 2 ** 53 + 2 }, true],
    [{ a: { $lt: -1e308 } }, { a: 1e308 }, false],
    [{ $or: [{ a: 1 }, { a: 2 }] }, { a: 2 }, true],
    [{ $and: [{ a: 1 }, { $or: [{ b: 1 }, { b: 2 }] }] }, { a: 1, b: 2 }, true],
  ])('%j on %j is %s', (filter, metadata, expected) => {
    expect(holds(filter, metadata)).toBe(expected);
  });

  const scalar = fc.oneof(
    fc.constantFrom('', '1', 'a', '😀'),
    fc.integer({ min: -1, max: 2 }),
    fc.boolean(),
    fc.constant(null),
  );
  const metadata = fc.dictionary(
    fc.constantFrom('a', 'b', '__proto__'),
    fc.oneof(scalar, fc.array(fc.constantFrom('a', 1))),
  );
  const field = fc.constantFrom('a', 'b', '__proto__', 'a.b');

  it('answers the negated operators as the exact opposite', () => {
    fc.assert(
      fc.property(field, metadata, scalar, fc.array(scalar), (name, data, value, values) => {
        const on = (condition: Filter): boolean => holds(Object.fromEntries([[name, condition]]), data);
        expect(on({ $ne: value })).toBe(!on({ $eq: value }));
        expect(on({ $nin: values })).toBe(!on({ $in: values }));
        expect(on({ $not: { $in: values } })).toBe(!on({ $in: values }));
        expect(on({ $in: values })).toBe(values.some((item) => on({ $eq: item })));
        expect(on({ $exists: false })).toBe(!on({ $exists: true }));
      }),
    );
  });

  it('orders strings as their UTF-8 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(Math.sign(compareCodePoints(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
  });

  it('never throws anything but a refusal, and never touches a prototype', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true }), (filter) => {
        const error = refused(filter);
        if (error !== undefined) expect(error).toMatchObject({ code: 'invalid_argument' });
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
    );
  });
});
