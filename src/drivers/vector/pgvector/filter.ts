import type { FilterNode } from '../../../driver.ts';

/** Binds a value and answers its place in the statement, such as `$2`. */
export type Bind = (value: string | readonly string[]) => string;

/**
 * The filter as a condition that is true or false and never null, so that `NOT` means what it says.
 *
 * Keys and values are all bound. A field is followed by `->` with a key of type text, which answers null for arrays;
 * `#>` would take a key of digits for a position in one. Scalars are compared as jsonb: numbers exactly, as decimals,
 * and never equal to a string of the same digits. PostgreSQL stores no NUL, so what holds one is equal to nothing.
 */
export function conditionOf(node: FilterNode, bind: Bind): string {
  const fields = new Map<string, string>();
  const valueOf = (field: string): string => {
    const known = fields.get(field);
    if (known !== undefined) return known;
    const keys = field.split('.').map((key) => (hasNul(key) ? 'NULL::text' : `${bind(key)}::text`));
    const value = `(${['metadata', ...keys].join(' -> ')})`;
    fields.set(field, value);
    return value;
  };
  const json = (value: unknown): string => `${bind(JSON.stringify(value))}::jsonb`;
  const jsons = (values: readonly unknown[]): string =>
    `ANY (${bind(values.map((value) => JSON.stringify(value)))}::jsonb[])`;

  const isTrue = (condition: string): string => `((${condition}) IS TRUE)`;
  const contains = (value: string, items: string): string =>
    `jsonb_typeof(${value}) = 'array' AND ${value} @> ${items}`;

  const compile = (at: FilterNode): string => {
    switch (at.op) {
      case 'and':
        return at.nodes.length === 0 ? 'TRUE' : `(${at.nodes.map(compile).join(' AND ')})`;
      case 'or':
        return at.nodes.length === 0 ? 'FALSE' : `(${at.nodes.map(compile).join(' OR ')})`;
      case 'not':
        return `(NOT ${compile(at.node)})`;
      case 'ne':
        return `(NOT ${compile({ ...at, op: 'eq' })})`;
      case 'nin':
        return `(NOT ${compile({ ...at, op: 'in' })})`;
      case 'exists':
        return `(${valueOf(at.field)} IS ${at.value ? 'NOT NULL' : 'NULL'})`;
      case 'eq':
        return hasNul(at.value) ? 'FALSE' : isTrue(`${valueOf(at.field)} = ${json(at.value)}`);
      case 'in': {
        const values = [...at.values].filter((value) => !hasNul(value));
        return isTrue(`${valueOf(at.field)} = ${jsons(values)}`);
      }
      // An array contains another that holds each of its items; scalars beside arrays are kept out by the type.
      case 'contains':
        return hasNul(at.value) ? 'FALSE' : isTrue(contains(valueOf(at.field), json([at.value])));
      case 'containsAny': {
        const items = [...at.values].filter((item) => !hasNul(item)).map((item) => [item]);
        return isTrue(contains(valueOf(at.field), jsons(items)));
      }
      case 'containsAll': {
        const items = [...at.values];
        return items.some(hasNul) ? 'FALSE' : isTrue(contains(valueOf(at.field), json(items)));
      }
      default:
        return isTrue(inOrder(at.op, valueOf(at.field), at.value));
    }
  };

  const SIGNS = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;
  const inOrder = (op: keyof typeof SIGNS, value: string, operand: string | number): string => {
    if (typeof operand === 'number')
      return `jsonb_typeof(${value}) = 'number' AND ${value} ${SIGNS[op]} ${json(operand)}`;
    const end = operand.indexOf('\0');
    // Nothing stored holds a NUL, and nothing sorts before it: what lies beside `a\0…` lies as strictly beside `a`.
    const sign = end < 0 ? SIGNS[op] : op === 'gt' || op === 'gte' ? '>' : '<=';
    const text = end < 0 ? operand : operand.slice(0, end);
    // The order of UTF-8 bytes is that of code points, whatever the language of the database.
    return `jsonb_typeof(${value}) = 'string' AND (${value} #>> '{}') COLLATE "C" ${sign} ${bind(text)}::text`;
  };

  return compile(node);
}

function hasNul(value: unknown): boolean {
  return typeof value === 'string' && value.includes('\0');
}
