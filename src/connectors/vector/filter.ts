import { ConnectorError, invalidField } from '../../errors/error.ts';
import type { FilterOperator, Metadata } from './driver.ts';

/**
 * The portable filter language and its reference meaning.
 *
 * - A field is a path of keys joined by dots; only own properties of objects are followed. A metadata key that itself
 *   holds a dot is stored and returned, but no filter reaches it. Arrays are not indexed by position.
 * - `$eq` and its kin compare scalars, without coercion; an array or object equals no scalar, `null` equals only `null`,
 *   and an absent field equals nothing. 0 and -0 are equal.
 * - `$gt $gte $lt $lte` compare numbers with numbers and strings with strings, the latter by code point (the order of
 *   their UTF-8 bytes, which every backend can do); any other pair does not match.
 * - `$exists` asks for presence: `null`, arrays and objects are present.
 * - `$contains $containsAny $containsAll` match arrays alone, by element; `$containsAny: []` matches nothing,
 *   `$containsAll: []` every array.
 * - `$and $or` take a list of filters, `$not` a filter, or a condition where it stands under a field.
 */
export type Scalar = string | number | boolean | null;

type At = {
  /** Where the operator stands in the filter that was parsed. */
  readonly path: string;
};
/** A parsed filter: what a driver compiles into its own language. */
export type FilterNode = At &
  (
    | { readonly op: 'and' | 'or'; readonly nodes: readonly FilterNode[] }
    | { readonly op: 'not'; readonly node: FilterNode }
    | { readonly op: 'eq' | 'ne'; readonly field: string; readonly value: Scalar }
    | {
        readonly op: 'gt' | 'gte' | 'lt' | 'lte' | 'contains';
        readonly field: string;
        readonly value: string | number;
      }
    | { readonly op: 'in' | 'nin'; readonly field: string; readonly values: ReadonlySet<Scalar> }
    | {
        readonly op: 'containsAny' | 'containsAll';
        readonly field: string;
        readonly values: ReadonlySet<Scalar>;
      }
    | { readonly op: 'exists'; readonly field: string; readonly value: boolean }
  );

const MAX_DEPTH = 8;
const MAX_NODES = 256;
const MAX_ITEMS = 1_000;
const MAX_FIELD_LENGTH = 1_024;

/**
 * The filter as a tree, every limit checked: 8 levels of `$and $or $not` and fields, 256 nodes, 1,000 items in a list.
 *
 * @throws ConnectorError `invalid_argument` with the path of what is wrong, below `path`.
 */
export function parseFilter(filter: unknown, path = 'filter'): FilterNode {
  let nodes = 0;

  const count = <N extends FilterNode>(node: N): N => {
    nodes += 1;
    if (nodes > MAX_NODES) throw invalidField(path, `holds more than ${MAX_NODES} nodes`);
    return node;
  };

  const all = (parts: readonly FilterNode[], at: string): FilterNode => {
    const [only] = parts;
    return parts.length === 1 && only ? only : count({ op: 'and', nodes: parts, path: at });
  };

  const parse = (value: unknown, at: string, depth: number): FilterNode => {
    if (depth > MAX_DEPTH) throw invalidField(at, `is more than ${MAX_DEPTH} levels deep`);
    const entries = entriesOf(value, at, 'is a filter: an object of fields and operators');
    return all(
      entries.map(([key, child]) => {
        const here = `${at}.${key}`;
        if (key === '$and' || key === '$or') {
          const parts = list(child, here).map((item, i) => parse(item, `${here}[${i}]`, depth + 1));
          return count({ op: key === '$and' ? 'and' : 'or', nodes: parts, path: here });
        }
        if (key === '$not') return count({ op: 'not', node: parse(child, here, depth + 1), path: here });
        if (key.startsWith('$')) throw invalidField(here, 'is not an operator; expected $and, $or or $not');
        if (key.length > MAX_FIELD_LENGTH)
          throw invalidField(at, `names a field of more than ${MAX_FIELD_LENGTH} characters`);
        if (!key.isWellFormed()) throw invalidField(at, 'names a field with half a surrogate pair');
        return condition(key, child, here, depth);
      }),
      at,
    );
  };

  const condition = (field: string, value: unknown, at: string, depth: number): FilterNode => {
    if (depth > MAX_DEPTH) throw invalidField(at, `is more than ${MAX_DEPTH} levels deep`);
    if (isScalar(value)) return count({ op: 'eq', field, value: scalar(value, at), path: at });
    const entries = entriesOf(value, at, 'is a string, a number, a boolean, null or an object of operators');
    if (entries.length === 0) throw invalidField(at, 'holds at least one operator');
    return all(
      entries.map(([key, operand]) => {
        const here = `${at}.${key}`;
        if (key === '$not') {
          return count({ op: 'not', node: condition(field, operand, here, depth + 1), path: here });
        }
        return count(comparison(field, key, operand, here));
      }),
      at,
    );
  };

  return parse(filter, path, 1);
}

function comparison(field: string, operator: string, operand: unknown, path: string): FilterNode {
  switch (operator) {
    case '$eq':
    case '$ne':
      return { op: operator === '$eq' ? 'eq' : 'ne', field, value: scalar(operand, path), path };
    case '$gt':
      return { op: 'gt', field, value: ordered(operand, path), path };
    case '$gte':
      return { op: 'gte', field, value: ordered(operand, path), path };
    case '$lt':
      return { op: 'lt', field, value: ordered(operand, path), path };
    case '$lte':
      return { op: 'lte', field, value: ordered(operand, path), path };
    case '$contains':
      return { op: 'contains', field, value: ordered(operand, path), path };
    case '$in':
      return { op: 'in', field, values: scalars(operand, path, scalar), path };
    case '$nin':
      return { op: 'nin', field, values: scalars(operand, path, scalar), path };
    case '$containsAny':
      return { op: 'containsAny', field, values: scalars(operand, path, ordered), path };
    case '$containsAll':
      return { op: 'containsAll', field, values: scalars(operand, path, ordered), path };
    case '$exists':
      if (typeof operand !== 'boolean') throw invalidField(path, 'is true or false');
      return { op: 'exists', field, value: operand, path };
    default:
      throw invalidField(
        path,
        operator.startsWith('$')
          ? 'is not an operator'
          : 'is not an operator; a nested field is written with dots, as in a.b',
      );
  }
}

function entriesOf(value: unknown, path: string, expected: string): readonly [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidField(path, expected);
  return Object.entries(value);
}

function list(value: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidField(path, 'is a list');
  if (value.length > MAX_ITEMS) throw invalidField(path, `holds at most ${MAX_ITEMS} items`);
  return value;
}

function scalars<S extends Scalar>(
  value: unknown,
  path: string,
  read: (item: unknown, path: string) => S,
): ReadonlySet<S> {
  return new Set(list(value, path).map((item, i) => read(item, `${path}[${i}]`)));
}

function isScalar(value: unknown): boolean {
  return value === null || typeof value !== 'object';
}

function scalar(value: unknown, path: string): Scalar {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string' || typeof value === 'number') return ordered(value, path);
  throw invalidField(path, 'is a string, a number, a boolean or null');
}

function ordered(value: unknown, path: string): string | number {
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return value;
    throw invalidField(path, 'is a finite number');
  }
  if (typeof value !== 'string') throw invalidField(path, 'is a string or a number');
  // Half a surrogate pair has no UTF-8 form, so no backend can hold or compare it.
  if (!value.isWellFormed()) throw invalidField(path, 'holds half a surrogate pair');
  return value;
}

/** The operators that the filter needs, each with the path where it first stands. Several conditions need `and`. */
export function operatorsOf(node: FilterNode): ReadonlyMap<FilterOperator, string> {
  const found = new Map<FilterOperator, string>();
  const visit = (at: FilterNode): void => {
    if (!found.has(at.op)) found.set(at.op, at.path);
    if (at.op === 'not') visit(at.node);
    else if (at.op === 'and' || at.op === 'or') at.nodes.forEach(visit);
  };
  visit(node);
  return found;
}

/** The first comparison of strings by order. */
export function orderOfStrings(node: FilterNode): FilterNode | undefined {
  if (node.op === 'not') return orderOfStrings(node.node);
  if ('nodes' in node) return node.nodes.map(orderOfStrings).find((found) => found !== undefined);
  return 'value' in node && ORDERS.has(node.op) && typeof node.value === 'string' ? node : undefined;
}
const ORDERS: ReadonlySet<string> = new Set(['gt', 'gte', 'lt', 'lte']);

/** Whether the metadata matches: the meaning that every backend is held to. */
export function matches(node: FilterNode, metadata: Metadata | undefined): boolean {
  return evaluate(node, (field) => valueAt(metadata, field));
}

/** {@link matches} for whoever keeps the fields elsewhere than in one object; an absent field is `undefined`. */
export function evaluate(node: FilterNode, lookup: (field: string) => unknown): boolean {
  switch (node.op) {
    case 'and':
      return node.nodes.every((child) => evaluate(child, lookup));
    case 'or':
      return node.nodes.some((child) => evaluate(child, lookup));
    case 'not':
      return !evaluate(node.node, lookup);
  }
  const found = lookup(node.field);
  switch (node.op) {
    case 'eq':
      return found === node.value;
    case 'ne':
      return found !== node.value;
    // `has` compares as === does but for NaN, which neither metadata nor a filter can hold; an object is in no set.
    case 'in':
      return node.values.has(found as Scalar);
    case 'nin':
      return !node.values.has(found as Scalar);
    case 'exists':
      return (found !== undefined) === node.value;
    case 'contains':
      return Array.isArray(found) && found.includes(node.value);
    case 'containsAny':
      return Array.isArray(found) && found.some((item) => node.values.has(item));
    case 'containsAll':
      return Array.isArray(found) && containsAll(found, node.values);
    default:
      return inOrder(node.op, found, node.value);
  }
}

function containsAll(found: readonly unknown[], wanted: ReadonlySet<unknown>): boolean {
  const has = new Set(found);
  return [...wanted].every((item) => has.has(item));
}

function inOrder(op: 'gt' | 'gte' | 'lt' | 'lte', found: unknown, value: string | number): boolean {
  let order: number;
  if (typeof found === 'number' && typeof value === 'number') order = found - value;
  else if (typeof found === 'string' && typeof value === 'string') order = compareCodePoints(found, value);
  else return false;
  if (op === 'gt') return order > 0;
  if (op === 'gte') return order >= 0;
  return op === 'lt' ? order < 0 : order <= 0;
}

/** Negative, 0 or positive, as `a` lies before, at or after `b` in code-point order; `<` orders by code unit instead. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above all of the BMP, yet lie below 0xE000 to 0xFFFF as code units. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** The value at a dotted path of own properties, `undefined` where there is none. */
export function valueAt(metadata: Metadata | undefined, field: string): unknown {
  if (!field.includes('.')) return own(metadata, field);
  return field.split('.').reduce<unknown>(own, metadata);
}

function own(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

/** The distinct fields that the filter asks about. */
export function fieldsOf(node: FilterNode): ReadonlySet<string> {
  const fields = new Set<string>();
  const visit = (at: FilterNode): void => {
    if (at.op === 'not') visit(at.node);
    else if ('nodes' in at) at.nodes.forEach(visit);
    else fields.add(at.field);
  };
  visit(node);
  return fields;
}

/**
 * @throws ConnectorError `unsupported` when the filter needs an operator that is not among those of `supported`, or an
 *   order of strings where there is none.
 */
export function checkOperators(
  node: FilterNode,
  supported: { readonly filter: readonly FilterOperator[]; readonly orderedStrings: boolean },
): void {
  const missing = [...operatorsOf(node)].filter(([operator]) => !supported.filter.includes(operator));
  const order = supported.orderedStrings ? undefined : orderOfStrings(node);
  if (missing.length === 0 && order) {
    throw new ConnectorError('unsupported', `${order.path}: this backend has no order of strings`, {
      details: { capability: 'orderedStrings', missing: [order.op] },
      issues: [{ path: order.path, message: 'compares strings by order, which this backend does not' }],
    });
  }
  if (missing.length === 0) return;
  const names = missing.map(([operator]) => operator);
  throw new ConnectorError('unsupported', `filter operators not supported: ${names.join(', ')}`, {
    details: { capability: 'filter', missing: names },
    issues: missing.map(([, path]) => ({ path, message: 'is not supported by this backend' })),
  });
}
