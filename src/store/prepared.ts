import { sql, type Compilable, type CompiledQuery, type QueryResult, type RawBuilder } from 'kysely';
import { type Words, wordsOf } from './engine.ts';
import type { Database } from './schema.ts';

/** Runs a compiled query with these values. */
export type Prepared<Values, Row> = (db: Database, values: Values) => Promise<QueryResult<Row>>;

/** Makes the place of a value in a query that is compiled before there is one: `value('tenantId')`. */
export type Value<Values> = <K extends keyof Values>(key: K) => Values[K];

/**
 * A query that is compiled once, at first use, and then only bound and run.
 *
 * For what is called often: Kysely takes longer to compile a point read than SQLite to answer it.
 */
export function prepared<Values extends object, Row>(
  build: (db: Database, value: Value<Values>) => Compilable<Row> | RawBuilder<Row>,
): Prepared<Values, Row> {
  // The cast is the trick: Kysely keeps whatever it is given as a parameter, and bound() replaces each one.
  const run = compiledOnce((db) => build(db, (key) => new Slot(key) as never).compile(db));
  return (db, values) => run(db, [values]);
}

/** An insert of exactly `count` rows with these columns, compiled once. */
export function preparedInsert<Row extends object>(
  table: string,
  columns: readonly (keyof Row & string)[],
  count: number,
): Prepared<readonly Row[], never> {
  return compiledOnce((db) => insertStatement(table, columns, count).compile(db));
}

function compiledOnce<Row>(compile: (db: Database) => CompiledQuery<Row>): Prepared<readonly object[], Row> {
  // The same words all through, so that there is one text of a query for each kind of database.
  const known = new Map<Words, CompiledQuery<Row>>();
  return (db, rows) => {
    const words = wordsOf(db);
    let compiled = known.get(words);
    if (!compiled) known.set(words, (compiled = compile(db)));
    return execute(db, compiled, bound(compiled.parameters, rows));
  };
}

type Execute = (query: CompiledQuery) => Promise<QueryResult<unknown>>;

const shortcuts = new WeakMap<Database, Execute>();

/** Lets what is prepared run on `db` past Kysely, whose way to a connection costs a seventh of a read of PostgreSQL. */
export function shortcut(db: Database, run: Execute): Database {
  shortcuts.set(db, run);
  return db;
}

function execute<Row>(
  db: Database,
  compiled: CompiledQuery<Row>,
  parameters: readonly unknown[],
): Promise<QueryResult<Row>> {
  // What is compiled once here, PostgreSQL does well to keep compiled too.
  const query: CompiledQuery<Row> = Object.assign({ ...compiled, parameters }, { isKept: true });
  const run = shortcuts.get(db);
  // A row is what the query's own type says, whichever way it comes.
  return run ? (run(query) as Promise<QueryResult<Row>>) : db.executeQuery(query);
}

function insertStatement(table: string, columns: readonly string[], count: number) {
  const rows = Array.from({ length: count }, (_, row) => {
    return sql`(${sql.join(columns.map((column) => new Slot(column, row)))})`;
  });
  const names = sql.join(columns.map((column) => sql.ref(column)));
  return sql<never>`insert into ${sql.table(table)} (${names}) values ${sql.join(rows)}`;
}

/** Stands for one value of one row. */
class Slot {
  readonly key: PropertyKey;
  readonly row: number;
  constructor(key: PropertyKey, row = 0) {
    this.key = key;
    this.row = row;
  }
}

function bound(parameters: readonly unknown[], rows: readonly object[]): unknown[] {
  return parameters.map((parameter) => {
    if (!(parameter instanceof Slot)) return parameter;
    // Slots are made from the keys of Values alone, and rows are Values.
    return (rows[parameter.row] as Readonly<Record<PropertyKey, unknown>>)[parameter.key];
  });
}
