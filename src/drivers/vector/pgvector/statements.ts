import { parseFilter, type ClientQuery, type DistanceMetric, type Filter } from '../../../driver.ts';
import { vectorBytes } from './binary.ts';
import { conditionOf } from './filter.ts';
import type { Statement, Value } from './pool.ts';

// What each operator answers: https://github.com/pgvector/pgvector#querying (read 2026-11-25). `<=>` is 1 - cos and
// `<#>` the negated product, because indexes only ascend; `<->` is the distance itself.
const OPERATORS = { cosine: '<=>', euclidean: '<->', dot: '<#>' } as const satisfies Record<
  DistanceMetric,
  string
>;

/** The raw score of what the operator answers. */
export function rawScoreOf(metric: DistanceMetric, distance: number): number {
  if (metric === 'euclidean') return distance;
  return (metric === 'cosine' ? 1 : 0) - distance;
}

export type SearchPlan = {
  /** The quoted name with its schema. */
  readonly table: string;
  readonly metric: DistanceMetric;
  /** Bytes of the table up to which it is searched row by row; `Infinity` never uses the index, 0 always. */
  readonly exactBytes: number;
  readonly limit: number;
};

/** Positions of the columns that {@link searchStatement} answers; the values come last. */
export const COLUMN = { id: 0, distance: 1, isIndexed: 2, norm: 3, text: 4, metadata: 5 } as const;

// As many names as there are numbers of matches up to here, so that a connection keeps a bounded number of plans.
const MAX_NAMED_LIMIT = 101;

/**
 * The nearest rows.
 *
 * Row by row: exactly the first `limit`, ties by id. By the index: about the first `limit`, in no order. Which of the two
 * is decided in the statement itself by the size of the table, so it is never a matter of statistics that are late.
 */
export function searchStatement(
  { table, metric, exactBytes, limit }: SearchPlan,
  vector: readonly number[] | Float32Array,
  { filter, includeMetadata, includeValues }: Omit<ClientQuery, 'topK'>,
): Statement {
  const { condition, values } = conditions(filter, [vectorBytes(vector)]);
  const distance = `embedding ${OPERATORS[metric]} $1`;
  const part = (isIndexed: boolean, when: string): string => {
    const columns = [
      'id',
      `(${distance}) AS distance`,
      String(isIndexed),
      // The length is only asked for where a product may have lost digits.
      metric === 'dot' ? 'vector_norm(embedding)' : 'NULL::float8',
      'text',
      includeMetadata ? 'metadata' : 'NULL::jsonb',
      includeValues ? 'vector_send(embedding)' : 'NULL::bytea',
    ];
    // An order by an expression of the distance is one that no index has.
    const order = isIndexed ? distance : `(${distance}) + 0, id`;
    return `(SELECT ${columns.join(', ')} FROM ${table} WHERE ${when} AND ${condition} ORDER BY ${order} LIMIT ${limit})`;
  };
  const isSmall = `(SELECT pg_table_size('${table}'::regclass) <= ${exactBytes})`;
  let text: string;
  if (exactBytes === Infinity) text = part(false, 'TRUE');
  else if (exactBytes === 0) text = part(true, 'TRUE');
  else text = `${part(false, isSmall)} UNION ALL ${part(true, `NOT ${isSmall}`)}`;
  const isNamed = filter === undefined && limit <= MAX_NAMED_LIMIT;
  const flags = `${includeMetadata ? 'm' : ''}${includeValues ? 'v' : ''}`;
  const how = exactBytes === Infinity ? 'exact' : exactBytes === 0 ? 'indexed' : 'search';
  return { text, values, name: isNamed ? `${how}_${limit}${flags}` : undefined };
}

/** A condition that holds everywhere where there is no filter, and the values before it with those it binds. */
export function conditions(
  filter: Filter | undefined,
  before: readonly Value[] = [],
): { readonly condition: string; readonly values: readonly Value[] } {
  const values = [...before];
  const bind = (value: string | readonly string[]): string => `$${values.push(value)}`;
  return { condition: filter ? conditionOf(parseFilter(filter), bind) : 'TRUE', values };
}

export function upsertStatement(table: string, values: readonly Value[]): Statement {
  return {
    name: 'upsert',
    text: `INSERT INTO ${table} (id, embedding, metadata, text)
      SELECT * FROM unnest($1::text[], $2::vector[], $3::jsonb[], $4::text[])
      ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding, metadata = EXCLUDED.metadata, text = EXCLUDED.text`,
    values,
  };
}

/**
 * Removes the rows that fulfil the condition. They are locked in the order of their ids, as upserts lock them: two
 * callers who want the same rows never wait for each other.
 */
export function deleteStatement(
  table: string,
  { condition, values }: ReturnType<typeof conditions>,
  name?: string,
): Statement {
  return {
    name,
    text: `WITH doomed AS (SELECT id FROM ${table} WHERE ${condition} ORDER BY id FOR UPDATE)
      DELETE FROM ${table} AS t USING doomed WHERE t.id = doomed.id`,
    values,
  };
}
