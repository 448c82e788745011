import { createHash } from 'node:crypto';
import { numbersOf, termsOf, type Metadata, type TermFilter } from '../../../driver.ts';
import type { Where } from './messages.ts';

/**
 * Filters as the presence and absence of terms in one list that no object is without. So none of what Weaviate means by
 * null, by an absent property or by a tokenized text decides anything. Order is left to properties of numbers.
 */

/** The property that holds the terms. */
export const TERMS = 'terms';

/** In every object's list, so that there is a filter for all of them. */
const EVERY = '["record"]';
const NONE = '["none"]';

const NOT_IN_ORDER = { gt: 'lte', gte: 'lt', lt: 'gte', lte: 'gt' } as const;

/** Matches every object. */
export const everything: Where = { op: 'containsAny', property: TERMS, values: [EVERY] };
const nothing: Where = { op: 'containsAny', property: TERMS, values: [NONE] };

/** What the list of a record holds: never nothing. */
export function allTerms(metadata: Metadata | undefined): readonly string[] {
  const numbers = numbersOf(metadata).map(({ field }) => isNumber(field));
  return [EVERY, ...termsOf(metadata), ...numbers];
}

/**
 * The property that holds a field's numbers. Weaviate's names are `[_A-Za-z][_0-9A-Za-z]{0,230}`
 * (https://docs.weaviate.io/weaviate/config-refs/collections, read 2026-11-25), fields may be anything.
 */
export function numberProperty(field: string): string {
  return `n_${createHash('sha256').update(field).digest('hex').slice(0, 32)}`;
}

/** The properties of numbers that a record has, with their values. */
export function numberProperties(metadata: Metadata | undefined): Readonly<Record<string, number>> {
  // Adding 0 makes 0 of -0: their bits differ, and it is by its bits that an index may order them.
  return Object.fromEntries(
    numbersOf(metadata).map(({ field, value }) => [numberProperty(field), value + 0]),
  );
}

/** Whether the filter asks for an order. */
export function asksForOrder(filter: TermFilter): boolean {
  if (filter.op === 'not') return asksForOrder(filter.node);
  if (filter.op === 'and' || filter.op === 'or') return filter.nodes.some(asksForOrder);
  return filter.op !== 'any';
}

/**
 * The filter in Weaviate's language. Negations are pushed down to the terms.
 *
 * @param properties those of the collection: a number in a property that it does not have is a number that no record
 *   has.
 */
export function compile(filter: TermFilter, properties: ReadonlySet<string>, negated = false): Where {
  switch (filter.op) {
    case 'not':
      return compile(filter.node, properties, !negated);
    case 'and':
    case 'or': {
      const all = (filter.op === 'and') !== negated;
      const operands = filter.nodes.map((node) => compile(node, properties, negated));
      const [only] = operands;
      if (!only) return all ? everything : nothing;
      return operands.length === 1 ? only : { op: all ? 'and' : 'or', operands };
    }
    case 'any':
      if (filter.terms.length === 0) return negated ? everything : nothing;
      return { op: negated ? 'containsNone' : 'containsAny', property: TERMS, values: filter.terms };
    default: {
      const { op, field, value } = filter;
      const property = numberProperty(field);
      if (!properties.has(property)) return negated ? everything : nothing;
      if (!negated) return { op, property, value: value + 0 };
      const other: Where = { op: NOT_IN_ORDER[op], property, value: value + 0 };
      return {
        op: 'or',
        operands: [other, { op: 'containsNone', property: TERMS, values: [isNumber(field)] }],
      };
    }
  }
}

function isNumber(field: string): string {
  const term = JSON.stringify(['number', field]);
  // As long as `termsOf` makes them: a longer one is its digest.
  return Buffer.byteLength(term) <= 256
    ? term
    : `sha256:${createHash('sha256').update(term).digest('base64url')}`;
}
