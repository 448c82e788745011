import { createHash } from 'node:crypto';
import { ConnectorError } from '../../errors/error.ts';
import type { Metadata } from './driver.ts';
import type { FilterNode } from './filter.ts';

/**
 * Metadata as terms, for backends whose own comparisons coerce, look into arrays, or cannot tell null from absent.
 *
 * Every test of the filter language but order is the presence or absence of terms, so a backend that has a list of
 * strings with each record, and can ask whether it holds one, answers exactly. Order needs numbers as well, see
 * {@link numbersOf}.
 */
const MAX_TERM_BYTES = 256;

type Kind = 'exists' | 'is' | 'array' | 'has';

/** The terms of one record, each once. */
export function termsOf(metadata: Metadata | undefined): readonly string[] {
  const terms = new Set<string>();
  walk(metadata, (field, value) => {
    terms.add(term('exists', field));
    if (Array.isArray(value)) {
      terms.add(term('array', field));
      for (const item of value) terms.add(term('has', field, item));
    } else if (typeof value !== 'object' || value === null) terms.add(term('is', field, value));
  });
  return [...terms];
}

/** The numbers of one record by field, for what compares by order; those inside arrays are not among them. */
export function numbersOf(
  metadata: Metadata | undefined,
): readonly { readonly field: string; readonly value: number }[] {
  const numbers: { readonly field: string; readonly value: number }[] = [];
  walk(metadata, (field, value) => {
    if (typeof value === 'number') numbers.push({ field, value });
  });
  return numbers;
}

/** A filter over terms: what is left for a driver to spell in its backend's language. */
export type TermFilter =
  | { readonly op: 'and' | 'or'; readonly nodes: readonly TermFilter[] }
  | { readonly op: 'not'; readonly node: TermFilter }
  /** At least one of the terms is there; none of no terms is. */
  | { readonly op: 'any'; readonly terms: readonly string[] }
  | { readonly op: 'gt' | 'gte' | 'lt' | 'lte'; readonly field: string; readonly value: number };

/**
 * The filter in terms. Empty lists are kept: an `and` of nothing matches everything, an `or` or `any` of nothing none.
 *
 * @throws ConnectorError `unsupported` for an order of strings, which terms do not have.
 */
export function inTerms(node: FilterNode): TermFilter {
  const not = (one: TermFilter): TermFilter => ({ op: 'not', node: one });
  switch (node.op) {
    case 'and':
    case 'or':
      return { op: node.op, nodes: node.nodes.map(inTerms) };
    case 'not':
      return not(inTerms(node.node));
    case 'eq':
      return any([term('is', node.field, node.value)]);
    case 'ne':
      return not(any([term('is', node.field, node.value)]));
    case 'in':
      return any([...node.values].map((value) => term('is', node.field, value)));
    case 'nin':
      return not(any([...node.values].map((value) => term('is', node.field, value))));
    case 'exists': {
      const exists = any([term('exists', node.field)]);
      return node.value ? exists : not(exists);
    }
    case 'contains':
      return any([term('has', node.field, node.value)]);
    case 'containsAny':
      return any([...node.values].map((value) => term('has', node.field, value)));
    case 'containsAll': {
      const nodes = [...node.values].map((value) => any([term('has', node.field, value)]));
      return { op: 'and', nodes: [any([term('array', node.field)]), ...nodes] };
    }
    default: {
      const { op, field, value, path } = node;
      if (typeof value === 'number') return { op, field, value };
      throw new ConnectorError('unsupported', `${path}: this backend has no order of strings`, {
        details: { capability: 'orderedStrings', missing: [op] },
        issues: [{ path, message: 'compares strings by order, which this backend does not' }],
      });
    }
  }
}

function any(terms: readonly string[]): TermFilter {
  return { op: 'any', terms };
}

/** One term; a long one is its digest, so that every term is an index key in every backend. */
function term(kind: Kind, field: string, value?: unknown): string {
  const text = JSON.stringify(value === undefined ? [kind, field] : [kind, field, value]);
  if (Buffer.byteLength(text) <= MAX_TERM_BYTES) return text;
  return `sha256:${createHash('sha256').update(text).digest('base64url')}`;
}

/** Visits everything that a filter's field can name, objects and arrays among them. */
function walk(metadata: Metadata | undefined, visit: (field: string, value: unknown) => void): void {
  const into = (value: unknown, prefix: string): void => {
    for (const [key, child] of Object.entries(value as Metadata)) {
      // A filter's field is split at its dots, so no field reaches a key that holds one.
      if (key.includes('.')) continue;
      const field = prefix + key;
      visit(field, child);
      if (typeof child === 'object' && child !== null && !Array.isArray(child)) into(child, `${field}.`);
    }
  };
  if (metadata) into(metadata, '');
}
