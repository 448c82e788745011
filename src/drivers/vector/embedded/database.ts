import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { ConnectorError, type DistanceMetric } from '../../../driver.ts';
import { databaseError, DATABASE_FILE, damaged } from './database-error.ts';
import type { PageRequest } from './protocol.ts';

const SCHEMA_VERSION = 1;
/** 'crve': tells our file from any other SQLite database. */
const APPLICATION_ID = 0x63727665;
/** A page of a listing ends early at so many bytes: texts and vectors may be long. */
const PAGE_BYTES = 16 * 2 ** 20;
const NO_VALUES = new Uint8Array(0);
/** Up to this size the whole file is checked at opening, indexes against tables included. */
const FULL_CHECK_BYTES = 64 * 2 ** 20;

export type NewRow = {
  readonly id: string;
  readonly values: Uint8Array;
  /** JSON. */
  readonly metadata: string | null;
  readonly text: string | null;
};
export type Row = NewRow & { readonly slot: number; readonly change: number };
/** Rows one after another by their slots; values are empty where they were not asked for. */
export type Page = { readonly rows: readonly Row[]; readonly next: number | null };
export type VectorRow = { readonly slot: number; readonly change: number; readonly values: Float32Array };
export type MetadataRow = { readonly slot: number; readonly metadata: string | null };

const SCHEMA: readonly string[] = [
  `CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE records (
    slot INTEGER PRIMARY KEY, id TEXT NOT NULL, change INTEGER NOT NULL,
    values_crc INTEGER NOT NULL, fields_crc INTEGER NOT NULL, metadata TEXT, text TEXT, "values" BLOB NOT NULL)`,
  `CREATE UNIQUE INDEX records_id ON records (id)`,
  `CREATE UNIQUE INDEX records_change ON records (change)`,
  `CREATE TABLE removed (slot INTEGER PRIMARY KEY, change INTEGER NOT NULL)`,
];
const UPSERT = `
  INSERT INTO records (slot, id, change, values_crc, fields_crc, metadata, text, "values") VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (slot) DO UPDATE SET change = excluded.change, values_crc = excluded.values_crc,
    fields_crc = excluded.fields_crc, metadata = excluded.metadata, text = excluded.text, "values" = excluded."values"`;

/**
 * The truth about one collection: one SQLite database that this process alone has open.
 *
 * A row is found by its `slot`, a number that is used again once its record is gone; each write has a `change` number
 * that only grows. Each row carries checksums, because SQLite itself does not notice a flipped bit inside a value.
 */
export class Database {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #dimension: number;

  /**
   * @throws ConnectorError `invalid_state` where another process has it open, it is of a newer version, or it holds
   *   vectors of another dimension or metric; `internal` where it is damaged; `unavailable` where the disk fails.
   */
  constructor(folder: string, dimension: number, metric: DistanceMetric) {
    this.#dimension = dimension;
    const file = path.join(folder, DATABASE_FILE);
    const owner = path.join(folder, 'vectors.pid');
    try {
      mkdirSync(folder, { recursive: true });
      this.#db = new DatabaseSync(file);
    } catch (error) {
      throw databaseError(error);
    }
    try {
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
      this.#db.exec('PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF');
      this.#db.exec('BEGIN EXCLUSIVE; COMMIT');
      this.#prepare({ file, metric, known: existsSync(owner) });
      writeOwner(owner);
    } catch (error) {
      this.#db.close();
      throw databaseError(error, () => readOwner(owner));
    }
  }

  #prepare({
    file,
    metric,
    known,
  }: {
    readonly file: string;
    readonly metric: DistanceMetric;
    /** Whether it was opened before, and so must hold something. */
    readonly known: boolean;
  }): void {
    const version = this.#number('PRAGMA user_version');
    const application = this.#number('PRAGMA application_id');
    if (version === 0 && this.#number('SELECT count(*) FROM sqlite_schema') === 0) {
      // SQLite takes a file that was cut to nothing for a new one.
      if (known) throw damaged();
      this.transaction(() => {
        this.#db.exec(SCHEMA.join(';'));
        this.#db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}; PRAGMA application_id = ${APPLICATION_ID}`);
        this.setFact('dimension', String(this.#dimension));
        this.setFact('metric', metric);
      });
      return;
    }
    if (application !== APPLICATION_ID)
      throw new ConnectorError('internal', `${DATABASE_FILE} is not a vector database of ours`);
    if (version > SCHEMA_VERSION) {
      throw new ConnectorError(
        'invalid_state',
        `${DATABASE_FILE} has version ${version}, this program reads up to ${SCHEMA_VERSION}; upgrade it`,
      );
    }
    const check = statSync(file).size <= FULL_CHECK_BYTES ? 'integrity_check' : 'quick_check';
    if (Object.values(this.#get(`PRAGMA ${check}(1)`) ?? {})[0] !== 'ok') throw damaged();
    // A changed letter in the text of a table is a sound database of another shape.
    const tables = this.#all('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid');
    if (tables.map(({ sql }) => sql).join(';') !== SCHEMA.join(';')) throw damaged();
    const stored = { dimension: Number(this.fact('dimension')), metric: this.fact('metric') };
    if (stored.dimension !== this.#dimension || stored.metric !== metric) {
      throw new ConnectorError(
        'invalid_state',
        `the collection holds vectors of dimension ${stored.dimension} under ${stored.metric}, not ${this.#dimension} under ${metric}`,
        { details: { stored, asked: { dimension: this.#dimension, metric } } },
      );
    }
  }

  /** All of `work` or nothing, durable when it returns. */
  transaction<T>(work: () => T): T {
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some failures, such as a full disk.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw databaseError(error);
    }
  }

  fact(name: string): string | undefined {
    const value = this.#get('SELECT value FROM facts WHERE name = ?', name)?.['value'];
    return value === undefined ? undefined : String(value);
  }

  setFact(name: string, value: string): void {
    this.#run(
      'INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
      name,
      value,
    );
  }

  write(slot: number, change: number, row: NewRow): void {
    const { id, metadata, text, values } = row;
    this.#run(
      UPSERT,
      slot,
      id,
      change,
      valuesCrc(slot, values),
      fieldsCrc({ ...row, slot }),
      metadata,
      text,
      values,
    );
  }

  /** The row is gone, and remembered as gone for the index. */
  remove(slot: number, change: number): void {
    this.#run('DELETE FROM records WHERE slot = ?', slot);
    this.#run('INSERT OR REPLACE INTO removed VALUES (?, ?)', slot, change);
  }

  removeAll(): void {
    this.#db.exec('DELETE FROM records; DELETE FROM removed');
  }

  forgetRemoved(upToChange: number): void {
    this.#run('DELETE FROM removed WHERE change <= ?', upToChange);
  }

  removed(upToChange: number): readonly number[] {
    return this.#all('SELECT slot FROM removed WHERE change <= ?', upToChange).map((row) =>
      Number(row['slot']),
    );
  }

  slotOf(id: string): number | undefined {
    const slot = this.#get('SELECT slot FROM records WHERE id = ?', id)?.['slot'];
    return slot === undefined ? undefined : Number(slot);
  }

  idOf(slot: number): string | undefined {
    const id = this.#get('SELECT id FROM records WHERE slot = ?', slot)?.['id'];
    return id === undefined ? undefined : String(id);
  }

  /** The row with this slot, its checksums verified. @throws ConnectorError `internal` where they do not agree. */
  row(slot: number): Row | undefined {
    const found = this.#get('SELECT * FROM records WHERE slot = ?', slot);
    if (found === undefined) return undefined;
    // The columns are ours; a wrong type in one of them fails the checksums.
    const row = found as Row & { readonly values_crc: number; readonly fields_crc: number };
    if (row.values_crc !== valuesCrc(slot, row.values) || row.fields_crc !== fieldsCrc(row)) throw damaged();
    return row;
  }

  /** The vector of the row with this slot, its checksum verified. */
  vector(slot: number): Float32Array | undefined {
    const found = this.#get('SELECT values_crc, "values" FROM records WHERE slot = ?', slot);
    if (found === undefined) return undefined;
    const { values } = found as { readonly values: Uint8Array };
    if (found['values_crc'] !== valuesCrc(slot, values)) throw damaged();
    return this.floats(values);
  }

  /** All slots in use, in no order; read from an index, without touching the vectors. */
  slots(): readonly number[] {
    return this.#all('SELECT slot FROM records INDEXED BY records_change').map((row) => Number(row['slot']));
  }

  /** How many rows were written after a change. */
  countSince(change: number): number {
    return Number(this.#get('SELECT count(*) AS n FROM records WHERE change > ?', change)?.['n']);
  }

  /** Rows written after a change, in the order of their changes. */
  *vectorsSince(change: number): Generator<VectorRow> {
    const sql = 'SELECT slot, change, values_crc, "values" FROM records WHERE change > ? ORDER BY change';
    for (const row of this.#iterate(sql, change)) {
      const { slot, values } = row as { readonly slot: number; readonly values: Uint8Array };
      if (row['values_crc'] !== valuesCrc(slot, values)) throw damaged();
      yield { slot, change: Number(row['change']), values: this.floats(values) };
    }
  }

  *metadata(): Generator<MetadataRow> {
    for (const row of this.#iterate('SELECT slot, id, metadata, text, fields_crc FROM records')) {
      const fields = row as MetadataRow & Pick<Row, 'id' | 'text'>;
      if (row['fields_crc'] !== fieldsCrc(fields)) throw damaged();
      yield fields;
    }
  }

  /** Up to `limit` rows changed after `from` and not after `to`, in the order of their changes. */
  changed(from: number, to: number, limit: number): readonly Row[] {
    const sql = 'SELECT slot FROM records WHERE change > ? AND change <= ? ORDER BY change LIMIT ?';
    return this.#all(sql, from, to, limit).flatMap((found) => this.row(Number(found['slot'])) ?? []);
  }

  /** Up to `limit` rows after a slot, their checksums verified; fewer where they are long. */
  page({ after, limit, withValues }: PageRequest): Page {
    const columns = `slot, id, change, fields_crc, metadata, text${withValues ? ', values_crc, "values"' : ''}`;
    const sql = `SELECT ${columns} FROM records WHERE slot > ? ORDER BY slot LIMIT ?`;
    const rows: Row[] = [];
    let bytes = 0;
    // One row more says whether any follow.
    for (const found of this.#iterate(sql, after, limit + 1)) {
      const last = rows.at(-1);
      if (last && (rows.length === limit || bytes >= PAGE_BYTES)) return { rows, next: last.slot };
      const row = found as Row;
      if (found['fields_crc'] !== fieldsCrc(row)) throw damaged();
      if (withValues && found['values_crc'] !== valuesCrc(row.slot, row.values)) throw damaged();
      rows.push({ ...row, values: withValues ? row.values : NO_VALUES });
      bytes += row.id.length + (row.metadata?.length ?? 0) + (row.text?.length ?? 0);
      if (withValues) bytes += row.values.byteLength;
    }
    return { rows, next: null };
  }

  /** To be said in each transaction: the highest change, and how many rows there are now. */
  setState({ change, count }: { readonly change: number; readonly count: number }): void {
    this.setFact('state', `${change} ${count}`);
  }

  /**
   * How many rows there are, the highest slot, and the highest change.
   *
   * @throws ConnectorError `internal` where there are not as many as the last transaction left: bytes that changed may
   *   make an intact database with fewer rows.
   */
  summary(): { readonly count: number; readonly maxSlot: number; readonly change: number } {
    const [change = 0, stored = 0] = (this.fact('state') ?? '0 0').split(' ').map(Number);
    const count = this.#number('SELECT count(*) FROM records');
    if (count !== stored || !Number.isSafeInteger(change)) throw damaged();
    return { count, maxSlot: this.#number('SELECT ifnull(max(slot), -1) FROM records'), change };
  }

  /** The stored bytes as numbers. @throws ConnectorError `internal` where there are too many or too few. */
  floats(values: Uint8Array): Float32Array {
    if (values.byteLength !== this.#dimension * 4) throw damaged();
    if (values.byteOffset % 4 !== 0) return this.floats(values.slice());
    return new Float32Array(values.buffer, values.byteOffset, this.#dimension);
  }

  /** Gives back cached pages and compiled statements; both come back with use. */
  shrink(): void {
    this.#statements.clear();
    this.#db.exec('PRAGMA shrink_memory');
  }

  ping(): void {
    this.#number('SELECT 1');
  }

  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #run(sql: string, ...values: readonly Value[]): void {
    this.#guarded(() => this.#statement(sql).run(...values));
  }
  #get(sql: string, ...values: readonly Value[]): Readonly<Record<string, unknown>> | undefined {
    return this.#guarded(() => this.#statement(sql).get(...values));
  }
  #all(sql: string, ...values: readonly Value[]): readonly Readonly<Record<string, unknown>>[] {
    return this.#guarded(() => this.#statement(sql).all(...values));
  }
  #number(sql: string): number {
    return Number(Object.values(this.#get(sql) ?? {})[0]);
  }

  /** A statement of its own, so that two walks cannot disturb each other. */
  *#iterate(sql: string, ...values: readonly Value[]): Generator<Readonly<Record<string, unknown>>> {
    try {
      yield* this.#db.prepare(sql).iterate(...values);
    } catch (error) {
      throw databaseError(error);
    }
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw databaseError(error);
    }
  }
}

type Value = string | number | null | Uint8Array;

// Both are seeded with the slot, so that a row's bytes under another's number are noticed too. What is not of the type
// that was written has no checksum.
function valuesCrc(slot: number, values: unknown): number {
  if (!(values instanceof Uint8Array)) throw damaged();
  return crc32(values, slot >>> 0);
}

function fieldsCrc({ slot, id, metadata, text }: Pick<Row, 'slot' | 'id' | 'metadata' | 'text'>): number {
  if (metadata !== null && typeof metadata !== 'string') throw damaged();
  return crc32(JSON.stringify([id, text]), crc32(metadata ?? '', (slot >>> 0) + (metadata === null ? 1 : 0)));
}

function writeOwner(file: string): void {
  const handle = openSync(file, 'w', 0o600);
  try {
    writeSync(handle, String(process.pid));
  } finally {
    closeSync(handle);
  }
}

/** The process that has the database open; it may have written nothing yet. */
function readOwner(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').slice(0, 20) : 'unknown';
}
