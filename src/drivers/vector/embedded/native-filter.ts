import type { FilterNode, Scalar } from '../../../driver.ts';

/** Fields that the index can filter by itself: path → the type of the values that it holds. */
export type IndexedFields = Readonly<Record<string, 'string' | 'number' | 'boolean'>>;

/** Longer strings are not in the index; they equal no operand that is. */
const MAX_STRING_LENGTH = 128;
const MAX_ITEMS = 100;

/** The index's column of each field. Its own names, so that no key of a user's is part of a filter's text. */
export function columnsOf(fields: IndexedFields): ReadonlyMap<string, string> {
  return new Map(
    Object.keys(fields)
      .sort()
      .map((field, i) => [field, `f${i}`]),
  );
}

/**
 * A value as the index holds it, or `undefined` where it holds none: of another type, or a long string.
 *
 * All are text of letters and digits, so that no value can end the quotes it stands in. A number is its float64 in
 * order-preserving hex: equal and ordered exactly as the number is.
 */
export function encoded(value: unknown, type: IndexedFields[string]): string | undefined {
  if (typeof value !== type) return undefined;
  if (typeof value === 'boolean') return value ? 'b1' : 'b0';
  if (typeof value === 'string')
    return value.length <= MAX_STRING_LENGTH ? `s${Buffer.from(value).toString('hex')}` : undefined;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(Number(value) + 0);
  // Positive numbers get the sign bit set, negative ones all bits flipped: then the bytes sort as the numbers do.
  const flip = (bytes[0] ?? 0) & 0x80 ? 0xff : 0x00;
  const ordered = bytes.map((byte, i) => (i === 0 ? byte ^ (flip || 0x80) : byte ^ flip));
  return `n${Buffer.from(ordered).toString('hex')}`;
}

/** The filter in the index's own language, or `undefined` where that could not say exactly the same. */
export function nativeFilter(node: FilterNode, fields: IndexedFields): string | undefined {
  const columns = columnsOf(fields);

  const compile = (at: FilterNode, negated: boolean): string | undefined => {
    if (at.op === 'not') return compile(at.node, !negated);
    if ('nodes' in at) {
      const parts = at.nodes.map((child) => compile(child, negated));
      if (parts.length === 0 || parts.includes(undefined)) return undefined;
      return `(${parts.join((at.op === 'and') === negated ? ' or ' : ' and ')})`;
    }
    const column = columns.get(at.field);
    const type = Object.hasOwn(fields, at.field) ? fields[at.field] : undefined;
    if (column === undefined || type === undefined) return undefined;
    const literal = (value: Scalar): string | undefined => {
      const text = encoded(value, type);
      return text === undefined ? undefined : `'${text}'`;
    };
    // Absent and foreign values are null in the index, and null is in no comparison: every negation must ask for it.
    const compare = (operator: string, opposite: string, value: Scalar): string | undefined => {
      const text = literal(value);
      if (text === undefined) return undefined;
      return negated
        ? `(${column} is null or ${column} ${opposite} ${text})`
        : `(${column} ${operator} ${text})`;
    };
    switch (at.op) {
      case 'eq':
        return compare('=', '!=', at.value);
      case 'ne':
        return compile({ ...at, op: 'eq' }, !negated);
      case 'nin':
        return compile({ ...at, op: 'in' }, !negated);
      case 'in': {
        const items = [...at.values].map((value) => compare('=', '!=', value));
        if (items.length === 0 || items.length > MAX_ITEMS || items.includes(undefined)) return undefined;
        return `(${items.join(negated ? ' and ' : ' or ')})`;
      }
      case 'gt':
        return type === 'number' ? compare('>', '<=', at.value) : undefined;
      case 'gte':
        return type === 'number' ? compare('>=', '<', at.value) : undefined;
      case 'lt':
        return type === 'number' ? compare('<', '>=', at.value) : undefined;
      case 'lte':
        return type === 'number' ? compare('<=', '>', at.value) : undefined;
      default:
        return undefined;
    }
  };

  return compile(node, false);
}
