/** A record's metadata, as Pinecone takes it. */
export type DoubleMetadata = Readonly<Record<string, unknown>>;

/** What Pinecone answers with code 3, `INVALID_ARGUMENT`. */
export class InvalidArgument extends Error {}

type Test = (metadata: DoubleMetadata) => boolean;

// "Each $in or $nin operator accepts at most 10,000 values": https://docs.pinecone.io/reference/api/database-limits
const MAX_VALUES = 10_000;

/**
 * Pinecone's filter language, by https://docs.pinecone.io/guides/search/filter-by-metadata and, for lists,
 * https://docs.pinecone.io/guides/assistant/file-metadata (both read 2026-11-25): a test of a list holds when one of
 * its items passes; `$ne` and `$nin` when none does. Nothing is said there of what they mean for a field that is
 * absent, nor of empty lists, so here the first does not match and the second is refused: a driver must need neither.
 *
 * @throws InvalidArgument for anything else.
 */
export function pineconeFilter(filter: unknown): Test {
  const tests = entries(filter, 'a filter').map(([key, value]) => {
    if (key === '$and') return every(list(value).map(pineconeFilter));
    if (key === '$or') return some(list(value).map(pineconeFilter));
    if (key.startsWith('$')) throw new InvalidArgument(`${key} is not an operator`);
    const conditions = isObject(value) ? entries(value, key) : ([['$eq', value]] as const);
    return every(conditions.map(([operator, operand]) => condition(key, operator, operand)));
  });
  return every(tests);
}

function condition(field: string, operator: string, operand: unknown): Test {
  const at = (metadata: DoubleMetadata) => (Object.hasOwn(metadata, field) ? metadata[field] : undefined);
  const any = (test: (item: unknown) => boolean): Test => {
    return (metadata) => [at(metadata)].flat().some((item) => item !== undefined && test(item));
  };
  const none = (test: (item: unknown) => boolean): Test => {
    const found = any(test);
    return (metadata) => at(metadata) !== undefined && !found(metadata);
  };
  switch (operator) {
    case '$eq':
      return any((item) => item === scalar(operand));
    case '$ne':
      return none((item) => item === scalar(operand));
    case '$in':
      return any(oneOf(operand));
    case '$nin':
      return none(oneOf(operand));
    case '$gt':
      return any(number(operand, (item, value) => item > value));
    case '$gte':
      return any(number(operand, (item, value) => item >= value));
    case '$lt':
      return any(number(operand, (item, value) => item < value));
    case '$lte':
      return any(number(operand, (item, value) => item <= value));
    case '$exists':
      if (typeof operand !== 'boolean') throw new InvalidArgument('$exists takes a boolean');
      return (metadata) => (at(metadata) !== undefined) === operand;
    default:
      throw new InvalidArgument(`${operator} is not an operator`);
  }
}

function oneOf(operand: unknown): (item: unknown) => boolean {
  const values = new Set(list(operand).map(scalar));
  if (values.size > MAX_VALUES) throw new InvalidArgument(`a list holds at most ${MAX_VALUES} values`);
  return (item) => values.has(item);
}

function number(
  operand: unknown,
  test: (item: number, value: number) => boolean,
): (item: unknown) => boolean {
  if (typeof operand !== 'number') throw new InvalidArgument('an order takes a number');
  return (item) => typeof item === 'number' && test(item, operand);
}

function scalar(operand: unknown): unknown {
  if (!['string', 'number', 'boolean'].includes(typeof operand))
    throw new InvalidArgument('a value is a string, a number or a boolean');
  return operand;
}

function list(operand: unknown): readonly unknown[] {
  if (!Array.isArray(operand) || operand.length === 0)
    throw new InvalidArgument('a list holds at least one item');
  return operand;
}

function entries(value: unknown, what: string): readonly (readonly [string, unknown])[] {
  if (!isObject(value) || Object.keys(value).length === 0)
    throw new InvalidArgument(`${what} is an object with at least one member`);
  return Object.entries(value);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function every(tests: readonly Test[]): Test {
  return (metadata) => tests.every((test) => test(metadata));
}

function some(tests: readonly Test[]): Test {
  return (metadata) => tests.some((test) => test(metadata));
}
