import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { cancelled } from '../contract/clock.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import { checkValue } from './check-value.ts';
import type { Database } from './schema.ts';
import { isPostgres } from './engine.ts';
import { isSamePlace, openSource, openTarget, type Side } from './transfer-sides.ts';

/** What is moved: every table in the order in which its rows may be added, by its primary key. */
const TABLES = [
  {
    name: 'connectors',
    key: ['connector_id'],
    others: [
      'tenant_id',
      'name',
      'connector_type',
      'version',
      'record',
      'record_check',
      'status',
      'connection_count',
      'error_count',
      'activity',
      'activity_check',
    ],
  },
  {
    name: 'secrets',
    key: ['connector_id', 'tenant_id', 'field'],
    others: ['key_id', 'sealed', 'secret_check'],
  },
  {
    name: 'api_keys',
    key: ['key_id'],
    others: ['tenant_id', 'role', 'label', 'hash', 'created_at', 'key_check', 'revoked_at', 'revoked_check'],
  },
  {
    name: 'invocations',
    key: ['request_id'],
    others: [
      'tenant_id',
      'connector_id',
      'function_name',
      'status',
      'idempotency_key',
      'created_at',
      'due_at',
      'fence',
      'failures',
      'takeovers',
      'request',
      'request_check',
      'native',
      'native_check',
      'outcome',
      'expires_at',
      'outcome_check',
    ],
  },
  { name: 'facts', key: ['name'], others: ['value', 'fact_check'] },
] as const;
type Table = (typeof TABLES)[number];
type Row = Readonly<Record<string, unknown>>;

/** Rows of one statement: more make the statements longer, not the copy faster. */
const ROWS_AT_ONCE = 500;
/** A fact of a target that is not whole yet: what it is filled from. */
const UNFINISHED = 'unfinished_transfer';

/** What was moved of one table: equal rows on both sides. */
export type TransferredTable = { readonly table: string; readonly rows: number; readonly sha256: string };

export type Transferred = {
  readonly from: string;
  readonly to: string;
  readonly tables: readonly TransferredTable[];
  /** Ids of the master keys that the credentials are sealed with. */
  readonly keyIds: readonly string[];
};

/** How far it is: rows that are copied or compared, of all that will be. */
export type TransferProgress = {
  readonly stage: 'copying' | 'comparing';
  readonly done: number;
  readonly total: number;
};

export type TransferOptions = {
  readonly from: string;
  readonly to: string;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: (progress: TransferProgress) => void;
};

/**
 * Moves a whole registry into an empty place: every row as it stands, with its check value, so that what is sealed stays
 * sealed. One that was interrupted goes on where it was. The source is only read.
 *
 * @throws ConnectorError `invalid_state` where the target holds something else, or where something serves either side;
 *   `conflict` where a table is not the same on both sides in the end; `cancelled`.
 */
export async function transfer({
  from,
  to,
  signal,
  progress = () => {},
}: TransferOptions): Promise<Transferred> {
  if (isSamePlace(from, to)) throw invalidField('to', `is where the registry is already: ${from}`);
  const source = await openSource(from);
  try {
    const target = await openTarget(to);
    try {
      return await move(source, target, signal, progress);
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function move(
  source: Side,
  target: Side,
  signal: AbortSignal | undefined,
  progress: (progress: TransferProgress) => void,
): Promise<Transferred> {
  await begin(source, target);
  const counts = await Promise.all(TABLES.map((table) => countOf(source.db, table)));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const step = (stage: TransferProgress['stage']) => {
    let done = 0;
    return (rows: number) => {
      // Between two batches nothing is half done.
      if (signal?.aborted) throw cancelled(signal);
      progress({ stage, done: (done += rows), total });
    };
  };
  const copied = step('copying');
  for (const table of TABLES) await copy(source.db, target.db, table, copied);
  const compared = step('comparing');
  const tables: TransferredTable[] = [];
  for (const table of TABLES) tables.push(await compare(source, target, table, compared));
  await target.db.deleteFrom('facts').where('name', '=', UNFINISHED).execute();
  const { rows: keys } = await sql<{
    id: string;
  }>`select distinct key_id as id from secrets order by key_id`.execute(source.db);
  return { from: source.name, to: target.name, tables, keyIds: keys.map(({ id }) => id) };
}

/** Makes sure that the target is empty, or what an interrupted transfer from the same source left. */
async function begin(source: Side, target: Side): Promise<void> {
  const fact = await target.db
    .selectFrom('facts')
    .select('value')
    .where('name', '=', UNFINISHED)
    .executeTakeFirst();
  if (fact?.value === source.name) return;
  if (fact) {
    const message = `${target.name} holds part of ${fact.value}; go on with that, or empty it first`;
    throw new ConnectorError('invalid_state', message);
  }
  for (const table of TABLES)
    if ((await countOf(target.db, table)) > 0)
      throw new ConnectorError('invalid_state', `${target.name} is not empty: it has ${table.name}`);
  const value = source.name;
  await target.db
    .insertInto('facts')
    .values({ name: UNFINISHED, value, fact_check: checkValue(UNFINISHED, value) })
    .execute();
}

/** Rows go in the order of their key, a batch is whole or absent: the last one in the target says where to go on. */
async function copy(
  from: Database,
  to: Database,
  table: Table,
  copied: (rows: number) => void,
): Promise<void> {
  // Among a few facts is the one of this transfer, which says nothing about the others.
  const isFacts = table.name === 'facts';
  const last = isFacts ? undefined : await lastOf(to, table);
  if (last) copied(await countOf(from, table, last));
  let next = batchOf(from, table, last);
  for (;;) {
    const rows = await next;
    if (rows.length === 0) return;
    // Read while the ones before are written.
    next = rows.length < ROWS_AT_ONCE ? Promise.resolve([]) : batchOf(from, table, rows.at(-1));
    next.catch(() => {});
    await insert(to, table, rows);
    copied(rows.length);
  }
}

async function compare(
  source: Side,
  target: Side,
  table: Table,
  compared: (rows: number) => void,
): Promise<TransferredTable> {
  const [there, here] = await Promise.all([
    digest(source.db, table, compared),
    digest(target.db, table, () => {}),
  ]);
  if (there.sha256 === here.sha256) return { table: table.name, ...there };
  throw new ConnectorError(
    'conflict',
    `${table.name}: ${there.rows} rows in ${source.name} and ${here.rows} in ${target.name} are not the same; ` +
      'was the source in use in between? Empty the target and begin again',
    { details: { table: table.name, source: there, target: here } },
  );
}

/** Of every column of every row, in the order of the key. */
async function digest(db: Database, table: Table, read: (rows: number) => void) {
  const hash = createHash('sha256');
  let count = 0;
  let last: Row | undefined;
  for (;;) {
    const rows = await batchOf(db, table, last);
    for (const row of rows) {
      if (table.name === 'facts' && row['name'] === UNFINISHED) continue;
      hash.update(`${JSON.stringify(columnsOf(table).map((column) => row[column]))}\n`);
      count += 1;
    }
    read(rows.length);
    last = rows.at(-1);
    if (rows.length < ROWS_AT_ONCE) return { rows: count, sha256: hash.digest('hex') };
  }
}

async function batchOf(db: Database, table: Table, after: Row | undefined): Promise<readonly Row[]> {
  const { rows } = await sql<Row>`select ${refs(columnsOf(table))} from ${sql.table(table.name)}
    ${after ? sql`where ${isAfter(table, after)}` : sql``}
    order by ${refs(table.key)} limit ${sql.lit(ROWS_AT_ONCE)}`.execute(db);
  return rows;
}

async function lastOf(db: Database, table: Table): Promise<Row | undefined> {
  const order = sql.join(table.key.map((column) => sql`${sql.ref(column)} desc`));
  const { rows } = await sql<Row>`select ${refs(table.key)} from ${sql.table(table.name)}
    order by ${order} limit 1`.execute(db);
  return rows[0];
}

/** How many rows there are, or how many up to one. */
async function countOf(db: Database, table: Table, upTo?: Row): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*) as count from ${sql.table(table.name)}
    ${upTo ? sql`where not ${isAfter(table, upTo)}` : sql``}`.execute(db);
  return rows[0]?.count ?? 0;
}

async function insert(db: Database, table: Table, rows: readonly Row[]): Promise<void> {
  const columns = columnsOf(table);
  await sql`insert into ${sql.table(table.name)} (${refs(columns)}) ${valuesOf(db, columns, rows)}
    ${table.name === 'facts' ? sql`on conflict do nothing` : sql``}`.execute(db);
}

function valuesOf(db: Database, columns: readonly string[], rows: readonly Row[]) {
  if (!isPostgres(db))
    return sql`values ${sql.join(rows.map((row) => sql`(${sql.join(columns.map((column) => row[column]))})`))}`;
  // A parameter for each column instead of each value: five times as fast.
  const lists = columns.map((column) => {
    const list = rows.map((row) => row[column]);
    return NUMBERS.test(column) ? sql`${list}::bigint[]` : sql`${list}::text[]`;
  });
  return sql`select * from unnest(${sql.join(lists)})`;
}

/** Columns that hold numbers. */
const NUMBERS = /_check$|_count$|_at$|^version$|^fence$|^failures$|^takeovers$/;

function isAfter(table: Table, row: Row) {
  return sql`(${refs(table.key)}) > (${sql.join(table.key.map((column) => row[column]))})`;
}

function refs(columns: readonly string[]) {
  return sql.join(columns.map((column) => sql.ref(column)));
}

function columnsOf({ key, others }: Table): readonly string[] {
  return [...key, ...others];
}
