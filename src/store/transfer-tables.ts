import { sql } from 'kysely';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { isPostgres } from './engine.ts';
import { CONNECTOR_COLUMNS, SECRET_COLUMNS } from './connector-queries.ts';
import { INVOCATION_COLUMNS } from './invocation-rows.ts';
import type { Database } from './schema.ts';

/** What is moved: every table in the order in which its rows may be added, by its primary key. `long` may be megabytes. */
export const TABLES = [
  { name: 'connectors', key: ['connector_id'], columns: CONNECTOR_COLUMNS, long: ['record', 'activity'] },
  {
    name: 'secrets',
    key: ['connector_id', 'tenant_id', 'field'],
    columns: SECRET_COLUMNS,
    long: ['sealed'],
  },
  {
    name: 'api_keys',
    key: ['key_id'],
    columns: [
      ...(['key_id', 'tenant_id', 'role', 'label', 'hash'] as const),
      ...(['created_at', 'key_check', 'revoked_at', 'revoked_check'] as const),
    ],
    long: [],
  },
  {
    name: 'invocations',
    key: ['request_id'],
    columns: INVOCATION_COLUMNS,
    long: ['request', 'native', 'outcome'],
  },
  { name: 'facts', key: ['name'], columns: ['name', 'value', 'fact_check'], long: [] },
] as const;
export type Table = (typeof TABLES)[number];
export type Row = Readonly<Record<string, unknown>>;

/** Rows of one statement: 500 were a third slower to PostgreSQL, and SQLite takes no more than 32,766 values. */
const ROWS_AT_ONCE = 1_500;
/** A batch that has reached this ends, so that long rows do not add up in memory. */
const BYTES_AT_ONCE = 4 * 2 ** 20;

/** The next rows by their key; none at the end. */
export async function batchOf(db: Database, table: Table, after: Row | undefined): Promise<readonly Row[]> {
  const [columns, key] = [refs(table.columns), refs(table.key)];
  const batch = sql`select ${columns} from ${sql.table(table.name)}
    ${after ? sql`where ${isAfter(table, after)}` : sql``}
    order by ${key} limit ${sql.lit(ROWS_AT_ONCE)}`;
  if (table.long.length === 0) return (await sql<Row>`${batch}`.execute(db)).rows;
  const bytes = sql.join(
    table.long.map((column) => sql`coalesce(octet_length(${sql.ref(column)}), 0)`),
    sql` + `,
  );
  const { rows } = await sql<Row>`select ${columns} from (
      select ${columns}, sum(${bytes}) over (order by ${key} rows between unbounded preceding and 1 preceding) as bytes_before
      from (${batch}) as batch
    ) as measured where bytes_before is null or bytes_before < ${sql.lit(BYTES_AT_ONCE)} order by ${key}`.execute(
    db,
  );
  return rows;
}

/** The key of the last row. */
export async function lastOf(db: Database, table: Table): Promise<Row | undefined> {
  const order = sql.join(table.key.map((column) => sql`${sql.ref(column)} desc`));
  const { rows } = await sql<Row>`select ${refs(table.key)} from ${sql.table(table.name)}
    order by ${order} limit 1`.execute(db);
  return rows[0];
}

/** How many rows there are, or how many up to one. */
export async function countOf(db: Database, table: Table, upTo?: Row): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*) as count from ${sql.table(table.name)}
    ${upTo ? sql`where not ${isAfter(table, upTo)}` : sql``}`.execute(db);
  return rows[0]?.count ?? 0;
}

/** Adds all rows or none. @throws ConnectorError `unsupported` where the database cannot hold one of them. */
export async function insert(db: Database, table: Table, rows: readonly Row[]): Promise<void> {
  const columns = table.columns;
  try {
    await sql`insert into ${sql.table(table.name)} (${refs(columns)}) ${valuesOf(db, columns, rows)}
      ${table.name === 'facts' ? sql`on conflict do nothing` : sql``}`.execute(db);
  } catch (error) {
    throw unheld(error, table, rows);
  }
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

/** SQLite holds a NUL within a text, PostgreSQL does not. */
function unheld(error: unknown, { name, key }: Table, rows: readonly Row[]): unknown {
  if (!isConnectorError(error) || error.details['postgresCode'] !== '22021') return error;
  for (const row of rows)
    for (const [column, value] of Object.entries(row))
      if (typeof value === 'string' && value.includes('\0'))
        return new ConnectorError(
          'unsupported',
          `${name}: ${key.map((part) => row[part]).join(' ')} has a NUL in ${column}, which PostgreSQL cannot hold`,
          { cause: error, details: { table: name, column } },
        );
  return error;
}

function isAfter(table: Table, row: Row) {
  return sql`(${refs(table.key)}) > (${sql.join(table.key.map((column) => row[column]))})`;
}

function refs(columns: readonly string[]) {
  return sql.join(columns.map((column) => sql.ref(column)));
}
