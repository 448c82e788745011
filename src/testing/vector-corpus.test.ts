import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import type { FilterOperator } from '../connectors/vector/driver.ts';
import { operatorsOf, orderOfStrings, parseFilter } from '../connectors/vector/filter.ts';
import { checkRecords } from '../connectors/vector/records.ts';
import { CORPUS, FILTERS, NEEDS } from './vector-corpus.ts';

it('holds at least 150 filters, each once', () => {
  // JSON would take -0 for 0.
  const distinct = new Set(FILTERS.map((filter) => inspect(filter, { depth: 20, maxArrayLength: null })));
  expect(distinct.size).toBe(FILTERS.length);
  expect(distinct.size).toBeGreaterThanOrEqual(150);
});

it('asks for every operator, and for orders of strings, in several filters', () => {
  const nodes = FILTERS.map((filter) => parseFilter(filter));
  // A closed table: its keys are the operators.
  for (const operator of Object.keys(NEEDS) as FilterOperator[]) {
    expect(nodes.filter((node) => operatorsOf(node).has(operator)).length).toBeGreaterThanOrEqual(5);
  }
  expect(nodes.filter((node) => orderOfStrings(node)).length).toBeGreaterThanOrEqual(30);
});

it('holds only records that a connector accepts, each with an id of its own', async () => {
  await expect(checkRecords(CORPUS, { dimension: 3, metric: 'cosine' })).resolves.toHaveLength(CORPUS.length);
  expect(new Set(CORPUS.map(({ id }) => id)).size).toBe(CORPUS.length);
});

it('names the smallest filter that needs each operator', () => {
  for (const [operator, filter] of Object.entries(NEEDS)) {
    const needed = [...operatorsOf(parseFilter(filter)).keys()];
    expect(needed).toEqual(operator === 'not' ? ['not', 'and'] : [operator]);
  }
});
