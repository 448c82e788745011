import { expect, it } from 'vitest';
import { parseFilter, type Filter } from '../../../driver.ts';
import { FILTERS } from '../../../testing/vector-corpus.ts';
import { conditionOf } from './filter.ts';

function compiled(filter: Filter) {
  const values: (string | readonly string[])[] = [];
  const text = conditionOf(parseFilter(filter), (value) => `$${values.push(value)}`);
  return { text, values };
}

it('binds every key and every value, and splices none', () => {
  const words = new Set(
    'metadata text jsonb jsonb_typeof array string number COLLATE C AND OR NOT ANY IS NULL TRUE FALSE'.split(
      ' ',
    ),
  );
  for (const filter of FILTERS) {
    const { text, values } = compiled(filter);
    const used = new Set(text.match(/\$\d+/g));
    expect(used.size, JSON.stringify(filter)).toBe(values.length);
    const foreign = text.replaceAll(/\$\d+/g, '').match(/[^\s()[\]{}'":=<>@#,-]+/g) ?? [];
    expect(foreign.filter((word) => !words.has(word))).toEqual([]);
  }
});

it('binds the keys of a field once, however often it is asked about', () => {
  expect(compiled({ 'a.b': { $gt: 1, $lt: 2 } }).values).toEqual(['a', 'b', '1', '2']);
});

it('follows keys by a way that takes none for a position in an array', () => {
  expect(compiled({ 'a.0': 'x' })).toEqual({
    text: '(((metadata -> $1::text -> $2::text) = $3::jsonb) IS TRUE)',
    values: ['a', '0', '"x"'],
  });
});
