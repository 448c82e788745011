import type { Where } from 'chromadb';
import { ConnectorError, type FilterNode, type Scalar } from '../../../driver.ts';
import { arrayKey, halfKeys, halvesOf, itemKey, keyOf, nullKey } from './layout.ts';

/** A filter in Chroma's language, or whether every record matches or none, which that language has no words for. */
export type Compiled = Where | boolean;

type Order = {
  readonly op: 'gt' | 'gte' | 'lt' | 'lte';
  readonly field: string;
  readonly value: string | number;
  readonly path: string;
};

/**
 * The filter over the keys of `layout.ts`.
 *
 * Chroma has no negation but `$ne` and `$nin`, which also match records without the key: a negation is carried down to
 * these.
 *
 * @throws ConnectorError `unsupported` for `exists`, for an order of strings, and for an order that is negated.
 */
export function compile(node: FilterNode, negated = false): Compiled {
  switch (node.op) {
    case 'not':
      return compile(node.node, !negated);
    case 'and':
    case 'or': {
      const parts = node.nodes.map((child) => compile(child, negated));
      return (node.op === 'and') === negated ? or(parts) : and(parts);
    }
    case 'eq':
    case 'ne':
      return among(node.field, [node.value], (node.op === 'ne') !== negated);
    case 'in':
    case 'nin':
      return among(node.field, [...node.values], (node.op === 'nin') !== negated);
    case 'contains':
      return has(itemKey(node.field, node.value), negated);
    case 'containsAny':
    case 'containsAll': {
      // The operands are strings and numbers alone: the parser refuses the rest.
      const items = [...node.values].map((item) =>
        has(itemKey(node.field, item as string | number), negated),
      );
      if (node.op === 'containsAny') return negated ? and(items) : or(items);
      const all = [has(arrayKey(node.field), negated), ...items];
      return negated ? or(all) : and(all);
    }
    case 'exists':
      throw unsupported(node.path, 'exists', 'asks for presence, which Chroma cannot');
    default:
      if (negated) throw unsupported(node.path, 'not', 'is an order that is negated, which Chroma cannot');
      return inOrder({ op: node.op, field: node.field, value: node.value, path: node.path });
  }
}

function among(field: string, values: readonly Scalar[], negated: boolean): Compiled {
  const key = keyOf(field);
  const parts: Compiled[] = [];
  const isIn = (list: readonly (string | number | boolean)[]): void => {
    // A list of its own for each type: Chroma refuses one of several.
    if (list.length > 0) parts.push(where(key, { [negated ? '$nin' : '$in']: list }));
  };
  isIn(values.filter((value) => typeof value === 'string'));
  isIn(values.filter((value) => typeof value === 'boolean'));
  isIn(values.filter(Number.isSafeInteger) as number[]);
  if (values.includes(null)) parts.push(has(nullKey(field), negated));
  for (const value of values) {
    if (typeof value !== 'number' || Number.isSafeInteger(value)) continue;
    const [highKey, lowKey] = halfKeys(field);
    const [high, low] = halvesOf(value);
    const is = negated ? '$ne' : '$eq';
    const both = [where(highKey, { [is]: high }), where(lowKey, { [is]: low })];
    parts.push(negated ? or(both) : and(both));
  }
  return negated ? and(parts) : or(parts);
}

function inOrder({ op, field, value, path }: Order): Compiled {
  if (typeof value === 'string')
    throw unsupported(path, op, 'compares strings by order, which Chroma does not');
  const [highKey, lowKey] = halfKeys(field);
  const [high, low] = halvesOf(value);
  const strictly = op === 'gt' || op === 'gte' ? '$gt' : '$lt';
  return or([
    integersInOrder(op, keyOf(field), value),
    where(highKey, { [strictly]: high }),
    and([where(highKey, { $eq: high }), where(lowKey, { [`$${op}`]: low })]),
  ]);
}

/** The safe integers on that side of the value. Fractions that lie under the same key are found twice, never wrongly. */
function integersInOrder(op: Order['op'], key: string, value: number): Compiled {
  const isUp = op === 'gt' || op === 'gte';
  const isBeyond = Math.abs(value) > Number.MAX_SAFE_INTEGER;
  if (isBeyond && value > 0 === isUp) return false;
  if (isBeyond)
    return where(key, isUp ? { $gte: Number.MIN_SAFE_INTEGER } : { $lte: Number.MAX_SAFE_INTEGER });
  if (Number.isInteger(value)) return where(key, { [`$${op}`]: value });
  return where(key, isUp ? { $gte: Math.ceil(value) } : { $lte: Math.floor(value) });
}

function has(key: string, negated: boolean): Where {
  return where(key, negated ? { $ne: 1 } : { $eq: 1 });
}

// A computed key is a property of its own even when it is `__proto__`.
function where(key: string, condition: Readonly<Record<string, unknown>>): Where {
  return { [key]: condition } as Where;
}

function and(parts: readonly Compiled[]): Compiled {
  return joined('$and', parts, false);
}

function or(parts: readonly Compiled[]): Compiled {
  return joined('$or', parts, true);
}

/** Chroma's client joins two parts or more; `decisive` is the part that settles the whole by itself. */
function joined(operator: '$and' | '$or', parts: readonly Compiled[], decisive: boolean): Compiled {
  if (parts.includes(decisive)) return decisive;
  const open = parts.filter((part) => typeof part !== 'boolean');
  const [only] = open;
  if (only === undefined) return !decisive;
  return open.length === 1 ? only : ({ [operator]: open } as Where);
}

function unsupported(path: string, operator: string, message: string): ConnectorError {
  return new ConnectorError('unsupported', `${path}: ${message}`, {
    details: { capability: 'filter', missing: [operator] },
    issues: [{ path, message }],
  });
}
