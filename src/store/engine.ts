import { type RawBuilder, type SelectQueryBuilder, sql } from 'kysely';
import type { Peers } from './peers.ts';
import type { Database } from './schema.ts';

/**
 * The database behind a store: what the statements of the store are run on.
 *
 * A tenant's rows are asked for in the name of the tenant; `null` is an administrator's code path, which sees all. On
 * PostgreSQL the database itself holds statements to that, on SQLite their conditions do.
 */
export type Engine = {
  /** For single reads. */
  reader(tenantId: string | null): Database;
  /** For writes and transactions. */
  writer(tenantId: string | null): Database;
  /** The processes that use the database at the same time; undefined where this one has it to itself. */
  readonly peers: Peers | undefined;
  close(): Promise<void>;
};

/** Where the SQL of one database differs from that of another. */
export type Words = {
  /** One member of a JSON text: a string as it is, an object as JSON, null where it is null. */
  json<T>(column: 'outcome', member: string): RawBuilder<T | null>;
  /** The texts of a JSON array, for `in`: one statement serves however many there are. */
  listed(json: string): RawBuilder<string>;
  /** The members of a JSON object of texts, as rows of `key` and `value`. */
  members(json: string): RawBuilder<unknown>;
  /** Holds the rows that are read until the transaction ends. */
  hold<Q extends AnySelect>(query: Q): Q;
  /** The same, and steps over those that another transaction holds. */
  holdFree<Q extends AnySelect>(query: Q): Q;
  /** Lets no other transaction past the same words until this one ends. Undefined where no two transactions run at once. */
  queue(db: Database, ...words: readonly string[]): Promise<unknown> | undefined;
};

// The kind of query does not matter here, only that it may be locked.
type AnySelect = Pick<SelectQueryBuilder<never, never, unknown>, 'forNoKeyUpdate'>;

/** Transactions of SQLite that write run one after another, so there is nothing to hold. */
const SQLITE: Words = {
  json: (column, member) => sql`json_extract(${sql.ref(column)}, ${sql.lit(`$.${member}`)})`,
  listed: (json) => sql`(select value from json_each(${json}))`,
  members: (json) => sql`json_each(${json})`,
  hold: (query) => query,
  holdFree: (query) => query,
  queue: () => undefined,
};

// Escapes that JSON.stringify makes of what is no text to PostgreSQL: NUL, and halves of a pair of surrogates.
const NO_TEXT = String.raw`\\u(0000|d[89a-f][0-9a-f]{2})`;

const POSTGRES: Words = {
  json: (column, member) =>
    sql`regexp_replace(${sql.ref(column)}, ${sql.lit(NO_TEXT)}, '\\\\ufffd', 'g')::json ->> ${sql.lit(member)}`,
  listed: (json) => sql`(select json_array_elements_text(${json}::json))`,
  members: (json) =>
    sql`(select key collate "C" as key, value collate "C" as value from json_each_text(${json}::json)) as members`,
  // Not `for update`: whoever adds rows below one that is held need not wait. The methods are those of the query that came in, and so is what they answer.
  hold: (query) => query.forNoKeyUpdate() as unknown as typeof query,
  holdFree: (query) => query.forNoKeyUpdate().skipLocked() as unknown as typeof query,
  queue: (db, ...words) =>
    sql`select pg_advisory_xact_lock(hashtextextended(${JSON.stringify(words)}, 0))`.execute(db),
};

/** The words of the database that `db` is. */
export function wordsOf(db: Database): Words {
  return isPostgres(db) ? POSTGRES : SQLITE;
}

export function isPostgres(db: Database): boolean {
  // Of the two, only PostgreSQL has schema changes in transactions by Kysely's account.
  return db.getExecutor().adapter.supportsTransactionalDdl ?? false;
}
