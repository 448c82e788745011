import type { Schemas } from '@qdrant/js-client-rest';

/** A request that Qdrant refuses, with its status and its words. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

type Payload = Readonly<Record<string, unknown>>;
type At = {
  /** The path of the payload in its point: empty, or that of a nested filter. */
  readonly prefix: string;
  /** Fields with a payload index; a filter over another one is refused, as in strict mode. */
  readonly indexed: ReadonlySet<string>;
  readonly id: string | undefined;
};
type Condition = Schemas['Condition'];

/**
 * Whether a point matches a filter, as Qdrant documents it; a condition that is not implemented here is refused.
 *
 * https://qdrant.tech/documentation/search/filtering/ (read 2026-11-25), section by section.
 */
export function matchesFilter(filter: Schemas['Filter'], payload: Payload, at: At): boolean {
  const holds = (condition: Condition): boolean => matches(condition, payload, at);
  // Every condition is evaluated, so that one over a field without an index is refused in any order.
  const must = listed<Condition>(filter.must).map(holds);
  const mustNot = listed<Condition>(filter.must_not).map(holds);
  const should = listed<Condition>(filter.should).map(holds);
  const { conditions = [], min_count = 0 } = (filter.min_should ?? {}) as Partial<Schemas['MinShould']>;
  const minShould = conditions.map(holds);
  return (
    must.every(Boolean) &&
    !mustNot.some(Boolean) &&
    // An empty list is no condition: `check_should` in
    // https://github.com/qdrant/qdrant/blob/master/lib/segment/src/payload_storage/query_checker.rs (read 2026-11-25).
    (should.length === 0 || should.some(Boolean)) &&
    minShould.filter(Boolean).length >= min_count
  );
}

function matches(condition: Condition, payload: Payload, at: At): boolean {
  if ('key' in condition) return matchesField(condition, payload, at);
  if ('nested' in condition) {
    // "as if the nested filter was applied to a single element of the array at a time"
    const key = condition.nested.key.replace(/\[\]$/, '');
    const inside = { prefix: `${at.prefix}${key}[].`, indexed: at.indexed, id: undefined };
    const elements = valuesAt(payload, `${key}[]`).filter(isObject);
    // The conditions of a filter over nothing are still checked.
    if (elements.length === 0) matchesFilter(condition.nested.filter, {}, inside);
    return elements.map((element) => matchesFilter(condition.nested.filter, element, inside)).some(Boolean);
  }
  if ('has_id' in condition) {
    if (at.id === undefined) throw new Refusal(400, 'has_id is not supported within a nested filter');
    return condition.has_id.includes(at.id);
  }
  if ('is_empty' in condition) {
    // "either does not exist, or has null or [] value"
    const found = rawAt(payload, condition.is_empty.key);
    return found === undefined || found === null || (Array.isArray(found) && found.length === 0);
  }
  // "exists and has NULL value"
  if ('is_null' in condition) return rawAt(payload, condition.is_null.key) === null;
  if (Object.keys(condition).every((key) => ['must', 'must_not', 'should', 'min_should'].includes(key)))
    return matchesFilter(condition as Schemas['Filter'], payload, at);
  throw new Refusal(501, `the double does not know ${Object.keys(condition).join()}`);
}

function matchesField(condition: Schemas['FieldCondition'], payload: Payload, at: At): boolean {
  const { key, match, range, ...others } = condition;
  // Both in one are OR without an index and either of them with one: https://github.com/qdrant/qdrant/issues/9066
  // (read 2026-11-25). Nobody should count on that.
  if (Object.keys(others).length > 0 || (match && range))
    throw new Refusal(501, `the double does not know ${Object.keys(condition).join()}`);
  const path = `${at.prefix}${key}`;
  if (!at.indexed.has(path))
    throw new Refusal(400, `Bad request: Index required but not found for "${path}"`);
  // "If several values are stored, at least one of them should match the condition."
  const values = valuesAt(payload, key).flatMap((value): unknown => value);
  if (match) return values.some((value) => matchesValue(match as Schemas['Match'], value));
  return values.some((value) => inRange(range, value));
}

function matchesValue(match: Schemas['Match'], value: unknown): boolean {
  // "You can apply it to keyword, integer and bool payloads."
  if ('value' in match) return sameKind(match.value) && match.value === value;
  if ('any' in match) return (match.any as readonly unknown[]).filter(sameKind).includes(value);
  if ('except' in match) return !(match.except as readonly unknown[]).filter(sameKind).includes(value);
  throw new Refusal(501, `the double does not know match ${Object.keys(match).join()}`);
}

function sameKind(value: unknown): boolean {
  if (typeof value === 'number' && !Number.isInteger(value))
    throw new Refusal(400, 'match takes no decimals');
  return true;
}

/** "Can be applied to float and integer payloads." */
function inRange(range: Schemas['FieldCondition']['range'], value: unknown): boolean {
  const { gt, gte, lt, lte } = range as Schemas['Range'];
  if (typeof value !== 'number') return false;
  return (
    (gt ?? -Infinity) < value &&
    value < (lt ?? Infinity) &&
    (gte ?? -Infinity) <= value &&
    value <= (lte ?? Infinity)
  );
}

/** The values at a path of keys joined by dots; `[]` after a key takes the elements of an array one by one. */
function valuesAt(payload: Payload, path: string): readonly unknown[] {
  return path.split('.').reduce<readonly unknown[]>(
    (from, part) => {
      const key = part.replace(/\[\]$/, '');
      const found = from.flatMap((value) =>
        isObject(value) && Object.hasOwn(value, key) ? [value[key]] : [],
      );
      return part.endsWith('[]') ? found.flatMap((value) => (Array.isArray(value) ? value : [])) : found;
    },
    [payload],
  );
}

function rawAt(payload: Payload, path: string): unknown {
  return valuesAt(payload, path)[0];
}

function isObject(value: unknown): value is Payload {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listed<T>(value: unknown): readonly T[] {
  if (value === null || value === undefined) return [];
  return (Array.isArray(value) ? value : [value]) as readonly T[];
}
