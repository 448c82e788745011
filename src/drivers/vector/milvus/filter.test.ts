import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { orderOfStrings } from '../../../connectors/vector/filter.ts';
import { matches, parseFilter, type Filter } from '../../../driver.ts';
import { CORPUS, FILTERS } from '../../../testing/vector-corpus.ts';
import { compileExpression } from './expression.fixture.ts';
import { expressionOf, sortable } from './filter.ts';
import { rowsOf } from './records.ts';

const ROWS = rowsOf(CORPUS).parts.flat();
const TYPES = { id: 'VarChar', terms: 'Array', numbers: 'JSON' };

function found(filter: Filter, missing: 'unknown' | 'false'): readonly string[] {
  const { filter: text, exprValues: bound } = expressionOf(filter);
  const predicate = compileExpression(text, { bound, types: TYPES, missing });
  return ROWS.filter((row) => predicate(row) === true).map(({ id }) => id);
}

describe('a filter as an expression', () => {
  const able = FILTERS.filter((filter) => !orderOfStrings(parseFilter(filter)));

  for (const missing of ['unknown', 'false'] as const) {
    it(`finds what the reference finds where a comparison with a missing key is ${missing}`, () => {
      for (const filter of able) {
        const node = parseFilter(filter);
        const expected = CORPUS.filter(({ metadata }) => matches(node, metadata)).map(({ id }) => id);
        expect(found(filter, missing), JSON.stringify(filter)).toEqual(expected);
      }
    });
  }

  it('keeps what is not a number out of NOT over a comparison', () => {
    const expected = CORPUS.filter(
      ({ metadata }) => !(typeof metadata?.['a'] === 'number' && metadata['a'] > 0),
    );
    for (const missing of ['unknown', 'false'] as const)
      expect(found({ $not: { a: { $gt: 0 } } }, missing)).toEqual(expected.map(({ id }) => id));
  });

  it('holds no word of the caller in its text', () => {
    const evil = `x"] == 1 OR id != "" //'{v9}`;
    const { filter, exprValues } = expressionOf({
      [evil]: evil,
      $or: [
        { [evil]: { $in: [evil, 1, null] } },
        { [evil]: { $gt: 1, $lte: 2 } },
        { a: { $containsAll: [evil] } },
      ],
    });
    expect(
      filter.replaceAll(
        /AND|OR|ARRAY_CONTAINS(_ANY)?|terms|numbers\["[\w-]{22}"\]|\{v\d+\}|>|<=|[(), ]/g,
        '',
      ),
    ).toBe('');
    expect(JSON.stringify(exprValues)).toContain('OR id');
  });

  it('binds no empty list, which Milvus refuses', () => {
    const filters: readonly Filter[] = [
      { a: { $in: [] } },
      { a: { $containsAny: [] } },
      { $or: [] },
      { $and: [] },
      { a: { $containsAll: [] } },
    ];
    for (const filter of filters)
      for (const value of Object.values(expressionOf(filter).exprValues)) expect(value).not.toHaveLength(0);
  });

  it('refuses an order of strings', () => {
    expect(() => expressionOf({ a: { $gt: 'x' } })).toThrowError(
      expect.objectContaining({
        code: 'unsupported',
        message: expect.stringContaining('filter.a.$gt') as string,
      }),
    );
  });
});

describe('a number as text', () => {
  it('sorts as the numbers do', () => {
    const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(finite, finite, (a, b) => {
        const order = a === b ? 0 : a < b ? -1 : 1;
        expect(Math.sign(Buffer.compare(Buffer.from(sortable(a)), Buffer.from(sortable(b))))).toBe(order);
      }),
    );
  });

  it('is exact at the edges', () => {
    const edges = [-1e308, -1.5, -5e-324, 0, 5e-324, 0.1, 1, 2 ** 53, 2 ** 53 + 2, 2 ** 63, 1e308];
    expect(edges.map(sortable)).toEqual(edges.map(sortable).toSorted());
    expect(new Set(edges.map(sortable)).size).toBe(edges.length);
    expect(sortable(-0)).toBe(sortable(0));
  });
});
