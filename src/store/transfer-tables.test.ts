import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { migrate } from './migrate.ts';
import { checkValue } from './check-value.ts';
import { openSqlite } from './sqlite.ts';
import { batchOf, insert, type Row, TABLES } from './transfer-tables.ts';

const facts = TABLES.find(({ name }) => name === 'facts') ?? TABLES[0];
const connectors = TABLES[0];

async function emptyStore() {
  const sqlite = openSqlite(':memory:');
  await migrate(sqlite.writer(null));
  return { db: sqlite.writer(null), [Symbol.asyncDispose]: () => sqlite.close() };
}

it('moves every column of every table but those that processes keep for themselves', async () => {
  await using store = await emptyStore();
  const { rows } = await sql<{ table: string; column: string }>`
    select t.name as "table", c.name as "column" from sqlite_schema t, pragma_table_info(t.name) c
    where t.type = 'table' and t.name not in ('migrations', 'connector_counts', 'probes')`.execute(store.db);
  const inSchema = rows.map(({ table, column }) => `${table}.${column}`).sort();
  expect(TABLES.flatMap((table) => table.columns.map((column) => `${table.name}.${column}`)).sort()).toEqual(
    inSchema,
  );
});

it('answers the rows after one in the order of the key, and none after the last', async () => {
  await using store = await emptyStore();
  const rows = ['b', 'a', 'c'].map((name) => ({ name, value: 'v', fact_check: checkValue(name, 'v') }));
  await insert(store.db, facts, rows);
  expect((await batchOf(store.db, facts, undefined)).map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  expect((await batchOf(store.db, facts, { name: 'a' })).map(({ name }) => name)).toEqual(['b', 'c']);
  expect(await batchOf(store.db, facts, { name: 'c' })).toEqual([]);
});

it('ends a batch where its rows are long, and goes on after it', async () => {
  await using store = await emptyStore();
  const ids = Array.from({ length: 9 }, (_, i) => `c${i}`);
  await insert(
    store.db,
    connectors,
    ids.map((id) => connectorRow(id, 'x'.repeat(1_000_000))),
  );
  const batches: (readonly Row[])[] = [];
  for (let rows = await batchOf(store.db, connectors, undefined); rows.length > 0;) {
    batches.push(rows);
    rows = await batchOf(store.db, connectors, rows.at(-1));
  }
  expect(batches.map(({ length }) => length)).toEqual([5, 4]);
  expect(batches.flat().map(({ connector_id: id }) => id)).toEqual(ids);
});

it('takes a row that alone is longer than a batch', async () => {
  await using store = await emptyStore();
  await insert(store.db, connectors, [connectorRow('c', 'x'.repeat(6_000_000))]);
  expect(await batchOf(store.db, connectors, undefined)).toHaveLength(1);
});

function connectorRow(id: string, record: string): Row {
  return {
    connector_id: id,
    tenant_id: 'acme',
    name: id,
    connector_type: 'file',
    version: 1,
    record,
    record_check: 0,
    status: 'registered',
    connection_count: 0,
    error_count: 0,
    activity: null,
    activity_check: 0,
  };
}
