import { createHash } from 'node:crypto';
import { inTerms, parseFilter, type Filter, type TermFilter } from '../../../driver.ts';

/** A boolean expression of Milvus, and the values that its placeholders stand for. */
export type Expression = {
  readonly filter: string;
  readonly exprValues: { readonly [name: string]: string | string[] };
};

/** No id is empty, so these two are true and false of every record. */
export const EVERYTHING = 'id != ""';
const NOTHING = 'id == ""';

/**
 * The filter as an expression over `terms` and `numbers`.
 *
 * Every value is bound by a template, https://milvus.io/docs/filtering-templating.md (read 2026-11-25); the text holds
 * nothing but our own words, names of placeholders and digests of field names.
 *
 * @throws ConnectorError `unsupported` for an order of strings.
 */
export function expressionOf(filter: Filter): Expression {
  const exprValues: Record<string, string | string[]> = {};
  const bind = (value: string | string[]): string => {
    const name = `v${Object.keys(exprValues).length}`;
    exprValues[name] = value;
    return `{${name}}`;
  };
  const spell = (node: TermFilter): string => {
    switch (node.op) {
      case 'and':
      case 'or': {
        if (node.nodes.length === 0) return node.op === 'and' ? EVERYTHING : NOTHING;
        return `(${node.nodes.map(spell).join(node.op === 'and' ? ' AND ' : ' OR ')})`;
      }
      case 'not':
        return `(NOT (${spell(node.node)}))`;
      case 'any': {
        const [first, ...more] = node.terms;
        // An empty list is not a value that a template takes: https://github.com/milvus-io/milvus/issues/51617.
        if (first === undefined) return NOTHING;
        if (more.length === 0) return `ARRAY_CONTAINS(terms, ${bind(first)})`;
        return `ARRAY_CONTAINS_ANY(terms, ${bind([...node.terms])})`;
      }
      default: {
        const key = numberKey(node.field);
        const has = `ARRAY_CONTAINS(terms, ${bind(numberTerm(key))})`;
        return `(${has} AND numbers["${key}"] ${ORDER[node.op]} ${bind(sortable(node.value))})`;
      }
    }
  };
  return { filter: spell(inTerms(parseFilter(filter))), exprValues };
}

const ORDER = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

/** The key of a field in `numbers`: a digest, because a key stands in the text of the expression. */
export function numberKey(field: string): string {
  return createHash('sha256').update(field).digest('base64url').slice(0, 22);
}

/**
 * The term of a record whose `numbers` has the key. What a comparison says of a key that is missing, and `NOT` of that,
 * has changed between versions (https://github.com/milvus-io/milvus/issues/50699); a term is there or it is not.
 */
export function numberTerm(key: string): string {
  return `number:${key}`;
}

/**
 * A number as 16 characters that sort as the numbers do.
 *
 * Numbers themselves would not be exact: JSON in Milvus holds whole ones as 64-bit integers and others as doubles, and
 * the SDK binds 1e308 as an integer, which it is in JavaScript and which 64 bits cut to 2^63.
 */
export function sortable(value: number): string {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value === 0 ? 0 : value); // -0 is 0 to the filter language
  const bits = view.getBigUint64(0);
  const ordered = bits >> 63n === 1n ? bits ^ 0xffff_ffff_ffff_ffffn : bits ^ (1n << 63n);
  return ordered.toString(16).padStart(16, '0');
}
