import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { Kysely, SqliteDialect, type SqliteDatabase, type SqliteStatement } from 'kysely';
import type { Engine } from './engine.ts';
import { checkFile, rememberFile } from './file-check.ts';
import { migrate } from './migrate.ts';
import type { Tables, Database } from './schema.ts';
import { isFull, sqliteError } from './sqlite-error.ts';

/** Pages kept by each of the two connections: together an eighth of what the process may take. */
const CACHE_KIB = 24 * 1024;
/** Statements kept compiled; the store has about forty, so this bounds a mistake rather than the working set. */
const MAX_STATEMENTS = 256;

/**
 * Opens a file, or `:memory:`, that can be trusted, and brings its schema up to date; closing it leaves what the next
 * opening trusts it by.
 *
 * @throws ConnectorError `internal` where it is damaged, `invalid_state` where a newer version wrote it, `unavailable`
 *   where it cannot be read or written.
 */
export async function openFile(file: string): Promise<Engine> {
  const inMemory = file === ':memory:';
  if (!inMemory) await checkFile(file);
  const sqlite = openSqlite(file);
  try {
    await migrate(sqlite.writer(null));
  } catch (error) {
    await sqlite.close();
    throw error;
  }
  return {
    ...sqlite,
    async close() {
      await sqlite.close();
      if (!inMemory) await rememberFile(file);
    },
  };
}

/**
 * Opens a file, or `:memory:`, and creates the file where there is none; its schema is left as it is.
 *
 * Reads have a connection of their own: WAL lets them go on while an import holds its transaction open across turns
 * of the event loop. In memory there is one connection for both.
 *
 * @throws ConnectorError `internal` where the file is damaged or no database, `unavailable` where it cannot be opened.
 */
export function openSqlite(file: string): Engine {
  const writing = connect(file, { readOnly: false });
  const writer = kysely(writing, file);
  if (file === ':memory:') return engine(writer, writer, [writing]);
  const reading = connect(file, { readOnly: true });
  // The writer goes last: the last connection that closes moves the log into the file and removes it.
  return engine(kysely(reading, file), writer, [reading, writing]);
}

/**
 * One consistent look at the database in a file, which this leaves as it is, the log of a process that was killed included.
 *
 * @throws ConnectorError as {@link openSqlite}.
 */
export function readSqlite(file: string): { readonly db: Database; close(): void } {
  try {
    const connection = new DatabaseSync(file, { timeout: 5_000, readOnly: true });
    try {
      connection.exec(`pragma cache_size = -${CACHE_KIB}; pragma trusted_schema = off; begin`);
    } catch (error) {
      connection.close();
      throw error;
    }
    return { db: kysely(connection, file), close: () => connection.close() };
  } catch (error) {
    throw sqliteError(error, file);
  }
}

function engine(reader: Database, writer: Database, connections: readonly DatabaseSync[]): Engine {
  return {
    reader: () => reader,
    writer: () => writer,
    peers: undefined,
    close: () => closeWhenIdle(writer, connections),
  };
}

/** Closes once the transaction that is under way has ended. */
async function closeWhenIdle(writer: Database, connections: readonly DatabaseSync[]): Promise<void> {
  await writer.connection().execute(async () => {
    for (const connection of connections) if (connection.isOpen) connection.close();
  });
}

function connect(file: string, { readOnly }: { readonly readOnly: boolean }): DatabaseSync {
  try {
    const db = new DatabaseSync(file, { timeout: 5_000, enableForeignKeyConstraints: true });
    try {
      // FULL: a power cut right after an acknowledged write loses nothing; NORMAL would lose the last writes.
      db.exec(`pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -${CACHE_KIB};`);
      // The log is moved into the file every 16 MiB, instead of 4: an import touches the same pages again and again.
      db.exec('pragma wal_autocheckpoint = 4000; pragma journal_size_limit = 67108864;');
      // The schema's own text may be damaged too: never run what it says about functions and virtual tables.
      db.exec('pragma trusted_schema = off');
      if (readOnly) db.exec('pragma query_only = on');
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    throw sqliteError(error, file);
  }
}

function kysely(db: DatabaseSync, file: string): Database {
  return new Kysely<Tables>({ dialect: new SqliteDialect({ database: new Port(db, file) }) });
}

/** What Kysely needs of a database: statements by their text, compiled once, errors as ours. */
class Port implements SqliteDatabase {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #statements = new Map<string, SqliteStatement>();
  #wasFull = false;

  constructor(db: DatabaseSync, file: string) {
    this.#db = db;
    this.#file = file;
  }

  close(): void {
    this.#db.close();
  }

  prepare(sql: string): SqliteStatement {
    if (this.#db.isOpen && !this.#db.isTransaction) {
      // After some failures, such as a full disk, SQLite has rolled back already; the first error is the one to report.
      if (sql === 'rollback') return NOTHING;
      if (this.#wasFull) this.#emptyLog();
    }
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#compile(sql);
    const [oldest] = this.#statements.keys();
    if (this.#statements.size >= MAX_STATEMENTS && oldest !== undefined) this.#statements.delete(oldest);
    this.#statements.set(sql, statement);
    return statement;
  }

  #compile(sql: string): SqliteStatement {
    // Every transaction of the store writes. Taking the lock at once is what makes two processes wait for one another
    // instead of failing when the second one writes after the first.
    const statement = this.#attempt(() => this.#db.prepare(sql === 'begin' ? 'begin immediate' : sql));
    // Kysely types parameters as unknown; the store binds nothing but text, integers and null.
    const values = (parameters: readonly unknown[]) => parameters as readonly SQLInputValue[];
    return {
      reader: statement.columns().length > 0,
      all: (parameters) => this.#attempt(() => statement.all(...values(parameters))),
      run: (parameters) => this.#attempt(() => statement.run(...values(parameters))),
      iterate: (parameters) => statement.iterate(...values(parameters)),
    };
  }

  #attempt<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      this.#wasFull ||= isFull(error);
      throw sqliteError(error, this.#file);
    }
  }

  /** On a full disk even a removal needs room in the log; most of what is in there only has to be moved into the file. */
  #emptyLog(): void {
    this.#wasFull = false;
    try {
      this.#db.exec('pragma wal_checkpoint(truncate)');
    } catch {
      // Still no room for it: the statement that comes next finds that out and says it.
    }
  }
}

const NOTHING: SqliteStatement = {
  reader: false,
  all: () => [],
  run: () => ({ changes: 0, lastInsertRowid: 0 }),
  iterate: () => [][Symbol.iterator](),
};
