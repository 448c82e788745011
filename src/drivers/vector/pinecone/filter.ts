import { createHash } from 'node:crypto';
import { type Filter, inTerms, parseFilter, type TermFilter } from '../../../driver.ts';

/** The list of terms of a record. */
export const TERMS = 'terms';
/** A term of every record, so that no record lacks the list. Those of metadata are JSON arrays or digests. */
export const ALWAYS = '*';
/** A term of no record. */
const NEVER = '-';

/** A filter as Pinecone reads it. */
export type PineconeFilter =
  | { readonly $and: readonly PineconeFilter[] }
  | { readonly $or: readonly PineconeFilter[] }
  | { readonly [field: string]: { readonly [operator: string]: unknown } };

const MAX_FIELD_BYTES = 128;
const OPPOSITE = { gt: '$lte', gte: '$lt', lt: '$gte', lte: '$gt' } as const;

/**
 * The field that holds a record's number by the filter's name of it, for comparisons by order.
 *
 * Pinecone takes every name that does not start with `$`; nothing is said of their length, so a long one is a digest.
 */
export function numberField(field: string): string {
  if (Buffer.byteLength(field) <= MAX_FIELD_BYTES) return `n:${field}`;
  return `n#${createHash('sha256').update(field).digest('base64url')}`;
}

/**
 * The filter in Pinecone's language, which has no negation of a condition: it is pushed down to the terms.
 *
 * @throws ConnectorError `unsupported` for an order of strings.
 */
export function compileFilter(filter: Filter): PineconeFilter {
  const compiled = compile(inTerms(parseFilter(filter)), false);
  // Pinecone says nothing of empty lists, nor of an empty filter, so both constants are questions about terms.
  if (compiled === true) return { [TERMS]: { $in: [ALWAYS] } };
  if (compiled === false) return { [TERMS]: { $in: [NEVER] } };
  return compiled;
}

function compile(node: TermFilter, negated: boolean): PineconeFilter | boolean {
  switch (node.op) {
    case 'not':
      return compile(node.node, !negated);
    case 'and':
    case 'or': {
      const all = (node.op === 'and') !== negated;
      return join(
        node.nodes.map((child) => compile(child, negated)),
        all,
      );
    }
    case 'any':
      if (node.terms.length === 0) return negated;
      // On a list, $in asks for any of its items and $nin for none of them.
      return { [TERMS]: { [negated ? '$nin' : '$in']: node.terms } };
    default: {
      const field = numberField(node.field);
      if (!negated) return { [field]: { [`$${node.op}`]: node.value } };
      return { $or: [{ [field]: { [OPPOSITE[node.op]]: node.value } }, { [field]: { $exists: false } }] };
    }
  }
}

/** All of the parts, or any of them; what is true or false whatever the record is left out. */
function join(parts: readonly (PineconeFilter | boolean)[], all: boolean): PineconeFilter | boolean {
  if (parts.includes(!all)) return !all;
  const rest = parts.filter((part) => typeof part !== 'boolean');
  const [first] = rest;
  if (first === undefined) return all;
  if (rest.length === 1) return first;
  return all ? { $and: rest } : { $or: rest };
}
