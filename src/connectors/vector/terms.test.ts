import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CORPUS, FILTERS } from '../../testing/vector-corpus.ts';
import type { Filter, Metadata } from './driver.ts';
import { matches, orderOfStrings, parseFilter } from './filter.ts';
import { inTerms, numbersOf, termsOf, type TermFilter } from './terms.ts';

/** What a backend does that has a list of strings and some numbers with each record. */
function holds(
  filter: TermFilter,
  terms: ReadonlySet<string>,
  numbers: ReadonlyMap<string, number>,
): boolean {
  switch (filter.op) {
    case 'and':
      return filter.nodes.every((node) => holds(node, terms, numbers));
    case 'or':
      return filter.nodes.some((node) => holds(node, terms, numbers));
    case 'not':
      return !holds(filter.node, terms, numbers);
    case 'any':
      return filter.terms.some((term) => terms.has(term));
  }
  const found = numbers.get(filter.field);
  if (found === undefined) return false;
  if (filter.op === 'gt') return found > filter.value;
  if (filter.op === 'gte') return found >= filter.value;
  return filter.op === 'lt' ? found < filter.value : found <= filter.value;
}

function byTerms(filter: Filter, metadata: Metadata | undefined): boolean {
  const numbers = new Map(numbersOf(metadata).map(({ field, value }) => [field, value]));
  return holds(inTerms(parseFilter(filter)), new Set(termsOf(metadata)), numbers);
}

const withoutOrders = FILTERS.filter((filter) => !orderOfStrings(parseFilter(filter)));

it.each(withoutOrders.map((filter, i) => [i, JSON.stringify(filter).slice(0, 100), filter] as const))(
  'means what the reference means, filter %i: %s',
  (_i, _text, filter) => {
    const node = parseFilter(filter);
    const found = CORPUS.filter(({ metadata }) => byTerms(filter, metadata));
    expect(found).toEqual(CORPUS.filter(({ metadata }) => matches(node, metadata)));
  },
);

it('means what the reference means, whatever the filter and the record', () => {
  const key = fc.constantFrom('a', 'b', '', '__proto__', '$a', '"', 'a.b', 'constructor');
  const scalar = fc.oneof(
    fc.constantFrom(
      '',
      '1',
      'true',
      'null',
      'a',
      'x'.repeat(300),
      1,
      0,
      -0,
      2 ** 53,
      5e-324,
      true,
      false,
      null,
    ),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed()),
  );
  const item = scalar.filter((value) => typeof value === 'string' || typeof value === 'number');
  const metadata: fc.Arbitrary<Metadata> = fc.letrec<{ object: Metadata }>((tie) => ({
    object: fc
      .array(
        fc.tuple(key, fc.oneof({ maxDepth: 3 }, scalar, fc.array(item, { maxLength: 4 }), tie('object'))),
        {
          maxLength: 4,
        },
      )
      // Unlike an assignment, this makes __proto__ a key like any other.
      .map((entries) => Object.fromEntries(entries) as Metadata),
  })).object;
  const field = fc.array(key, { minLength: 1, maxLength: 3 }).map((keys) => keys.join('.'));
  const number = fc.oneof(
    fc.constantFrom(0, -0, 1, 2 ** 53),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  const condition = fc.oneof(
    fc.record({ $eq: scalar }),
    fc.record({ $ne: scalar }),
    fc.record({ $in: fc.array(scalar) }),
    fc.record({ $nin: fc.array(scalar) }),
    fc.record({ $exists: fc.boolean() }),
    fc.record({ $contains: item }),
    fc.record({ $containsAny: fc.array(item) }),
    fc.record({ $containsAll: fc.array(item, { maxLength: 3 }) }),
    fc.record({ $gt: number }),
    fc.record({ $lte: number }),
    fc.record({ $gte: number, $lt: number }),
  );
  const filter: fc.Arbitrary<Filter> = fc.letrec<{ filter: Filter }>((tie) => ({
    filter: fc.oneof(
      { maxDepth: 2, withCrossShrink: true },
      fc
        .tuple(field, condition)
        .filter(([name]) => !name.startsWith('$'))
        .map(([name, one]) => Object.fromEntries([[name, one]])),
      fc.record({ $and: fc.array(tie('filter'), { maxLength: 3 }) }),
      fc.record({ $or: fc.array(tie('filter'), { maxLength: 3 }) }),
      fc.record({ $not: tie('filter') }),
    ),
  })).filter;
  fc.assert(
    fc.property(filter, metadata, (asked, data) => {
      expect(byTerms(asked, data)).toBe(matches(parseFilter(asked), data));
    }),
    { numRuns: 2_000 },
  );
});

describe('termsOf', () => {
  it('says what each field is, once, and what its items are', () => {
    expect(termsOf({ a: 1, b: ['x', 'x', 2], c: { d: null } })).toEqual([
      '["exists","a"]',
      '["is","a",1]',
      '["exists","b"]',
      '["array","b"]',
      '["has","b","x"]',
      '["has","b",2]',
      '["exists","c"]',
      '["exists","c.d"]',
      '["is","c.d",null]',
    ]);
    expect(termsOf(undefined)).toEqual([]);
    expect(termsOf({})).toEqual([]);
  });

  it('never holds a term of more than 256 bytes, and keeps long ones apart', () => {
    const texts = ['x'.repeat(300), `${'x'.repeat(300)}y`, 'é'.repeat(200), `${'é'.repeat(199)}e`];
    const terms = texts.flatMap((text) => termsOf({ a: text, [text]: 1, b: [text] }));
    for (const term of terms) expect(Buffer.byteLength(term)).toBeLessThanOrEqual(256);
    const long = terms.filter((term) => /^sha256:[\w-]{43}$/.test(term));
    // Of each text: that `a` is it, that its field exists and is 1, and that `b` holds it.
    expect(new Set(long).size).toBe(4 * texts.length);
  });

  it('cannot be led to take a text for a digest', () => {
    const [, long = ''] = termsOf({ a: 'x'.repeat(300) });
    expect(long).toMatch(/^sha256:/);
    expect(termsOf({ a: long })).not.toContain(long);
    expect(termsOf({ [long]: long })).not.toContain(long);
  });

  it('leaves out what no filter reaches: keys with a dot, and what lies below them', () => {
    expect(termsOf({ 'a.b': 1, c: { 'd.e': { f: 1 } } })).toEqual(['["exists","c"]']);
    expect(numbersOf({ 'a.b': 1, c: { 'd.e': { f: 1 } } })).toEqual([]);
  });
});

describe('numbersOf', () => {
  it('holds the numbers by field, and none of those in arrays', () => {
    expect(numbersOf({ a: 1, b: '2', c: [3], d: { e: -0.5, f: null } })).toEqual([
      { field: 'a', value: 1 },
      { field: 'd.e', value: -0.5 },
    ]);
    expect(numbersOf(undefined)).toEqual([]);
  });
});

describe('inTerms', () => {
  it.each(['$gt', '$gte', '$lt', '$lte'])('refuses %s of a string, at its path', (operator) => {
    const filter = { $and: [{ b: 1 }, { $not: { a: { [operator]: 'x' } } }] };
    expect(() => inTerms(parseFilter(filter))).toThrow(
      expect.objectContaining({
        code: 'unsupported',
        details: { capability: 'orderedStrings', missing: [operator.slice(1)] },
        issues: [expect.objectContaining({ path: `filter.$and[1].$not.a.${operator}` })],
      }),
    );
  });

  it('keeps what is empty', () => {
    expect(inTerms(parseFilter({ $and: [] }))).toEqual({ op: 'and', nodes: [] });
    expect(inTerms(parseFilter({ $or: [] }))).toEqual({ op: 'or', nodes: [] });
    expect(inTerms(parseFilter({ a: { $in: [] } }))).toEqual({ op: 'any', terms: [] });
  });

  it('asks for the same terms as records have, long ones and -0 among them', () => {
    const text = 'x'.repeat(300);
    expect(inTerms(parseFilter({ [text]: text }))).toEqual({
      op: 'any',
      terms: [termsOf({ [text]: text })[1]],
    });
    expect(inTerms(parseFilter({ a: -0 }))).toEqual({ op: 'any', terms: [termsOf({ a: 0 })[1]] });
  });
});
