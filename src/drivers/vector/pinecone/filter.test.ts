import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Filter, matches, type Metadata, parseFilter } from '../../../driver.ts';
import { compileFilter, numberField } from './filter.ts';
import { pineconeFilter } from './pinecone-filter.fixture.ts';
import { toPinecone } from './record.ts';

const key = fc.constantFrom('a', 'b', 'a.b', '$x', "it's", '__proto__', 'x'.repeat(300));
const scalar = fc.constantFrom(null, 0, -0, 1, 1.5, 2 ** 53, -1e308, true, false, '', '1', 'a', '*', '-');
const orderable = fc.constantFrom(0, -0, 1, 1.5, 2 ** 53, -1e308);
const item = fc.constantFrom(0, 1, '1', 'a', '');

const { filter } = fc.letrec<{ filter: Filter }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 4 },
    fc.tuple(field(), fc.constantFrom('$eq', '$ne'), scalar).map(condition),
    fc.tuple(field(), fc.constantFrom('$in', '$nin'), fc.array(scalar, { maxLength: 3 })).map(condition),
    fc.tuple(field(), fc.constantFrom('$gt', '$gte', '$lt', '$lte'), orderable).map(condition),
    fc.tuple(field(), fc.constant('$exists'), fc.boolean()).map(condition),
    fc.tuple(field(), fc.constant('$contains'), item).map(condition),
    fc
      .tuple(field(), fc.constantFrom('$containsAny', '$containsAll'), fc.array(item, { maxLength: 3 }))
      .map(condition),
    fc
      .tuple(fc.constantFrom('$and', '$or'), fc.array(tie('filter'), { maxLength: 3 }))
      .map(([operator, parts]) => ({ [operator]: parts })),
    tie('filter').map((part) => ({ $not: part })),
  ),
}));
const value = fc.oneof(scalar, fc.array(item, { maxLength: 3 }), fc.dictionary(key, scalar, { maxKeys: 2 }));
const metadata = fc.dictionary(key, value, { maxKeys: 4 }) as fc.Arbitrary<Metadata>;

/** A field that a filter can name; `$x` alone would be an operator. */
function field(): fc.Arbitrary<string> {
  return key.map((name) => (name.startsWith('$') ? `n.${name}` : name));
}

function condition([name, operator, operand]: readonly [string, string, unknown]): Filter {
  return Object.fromEntries([[name, { [operator]: operand }]]);
}

const found = (one: Filter, record: Metadata | undefined): boolean =>
  pineconeFilter(compileFilter(one))(
    toPinecone({ id: 'a', values: [1], ...(record && { metadata: record }) }).metadata,
  );

describe('a compiled filter', () => {
  it('means to Pinecone what it means to the reference, whatever it negates', () => {
    fc.assert(
      fc.property(filter, fc.option(metadata, { nil: undefined }), (one, record) => {
        expect(found(one, record)).toBe(matches(parseFilter(one), record));
      }),
      { numRuns: 3_000 },
    );
  });

  it('has no negation but those of Pinecone', () => {
    fc.assert(
      fc.property(filter, (one) => {
        const operators = [...JSON.stringify(compileFilter(one)).matchAll(/"(\$\w+)":/g)].map(
          ([, name]) => name,
        );
        const known = ['$and', '$or', '$in', '$nin', '$gt', '$gte', '$lt', '$lte', '$exists'];
        expect(known).toEqual(expect.arrayContaining(operators));
      }),
    );
  });

  it('asks a question that is not empty, though nothing is asked', () => {
    for (const all of [
      { $and: [] },
      { a: { $nin: [] } },
      { $not: { $or: [] } },
      { $or: [{ $and: [] }, { a: 1 }] },
    ])
      expect(compileFilter(all)).toEqual({ terms: { $in: ['*'] } });
    for (const none of [{ $or: [] }, { a: { $in: [] } }, { $not: { $and: [] } }, { a: { $containsAny: [] } }])
      expect(compileFilter(none)).toEqual({ terms: { $in: ['-'] } });
  });

  it('holds what the tenant wrote as values, and as names behind a prefix', () => {
    const text = { '"]}.$x': { $in: ["'; --"] }, $not: { 'b.$gt': { $gte: 0 } } };
    expect(compileFilter(text)).toEqual({
      $and: [
        { terms: { $in: [JSON.stringify(['is', '"]}.$x', "'; --"])] } },
        { $or: [{ 'n:b.$gt': { $lt: 0 } }, { 'n:b.$gt': { $exists: false } }] },
      ],
    });
  });

  it('refuses an order of strings, naming where', () => {
    expect(() => compileFilter({ a: { $gt: 'x' } })).toThrow(
      expect.objectContaining({ code: 'unsupported', message: expect.stringContaining('filter.a.$gt') }),
    );
  });
});

describe('the field of a number', () => {
  it('is never longer than Pinecone may take, nor that of another name', () => {
    const long = 'é'.repeat(1_024);
    const names = ['a', 'a.b', '$a', '__proto__', long, `${long}.a`, numberField(long)];
    const fields = names.map(numberField);
    expect(new Set(fields).size).toBe(names.length);
    for (const one of fields) {
      expect(Buffer.byteLength(one)).toBeLessThanOrEqual(130);
      expect(one).toMatch(/^n[:#]/);
    }
  });
});
