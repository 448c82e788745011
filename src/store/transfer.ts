import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { sql } from 'kysely';
import { cancelled } from '../contract/clock.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import { isPostgres } from './engine.ts';
import type { Database } from './schema.ts';
import { MASTER_KEY_FACT } from './store.ts';
import { isSamePlace, openSource, openTarget, type Side } from './transfer-sides.ts';
import { batchOf, countOf, insert, lastOf, type Row, type Table, TABLES } from './transfer-tables.ts';
import { markUnfinished, refuseUnfinished, UNFINISHED, unfinishedFrom } from './unfinished.ts';

const OTHER = 'name an empty database, or a data directory without registry.db';

/** What was moved of one table: equal rows on both sides. */
export type TransferredTable = { readonly table: string; readonly rows: number; readonly sha256: string };

export type Transferred = {
  readonly from: string;
  readonly to: string;
  readonly tables: readonly TransferredTable[];
  /** Ids of the master keys that the credentials are sealed with, and of that which the registry belongs to. */
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
  if (isSamePlace(from, to)) throw invalidField('to', 'is where the registry is already');
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

type Counted = (rows: number) => Promise<void>;

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
    return async (rows: number) => {
      // SQLite waits for nothing: without a turn of the event loop no signal is heard, from the first row to the last.
      await turn();
      // Between two batches nothing is half done.
      if (signal?.aborted) throw cancelled(signal);
      progress({ stage, done: (done += rows), total });
    };
  };
  const copied = step('copying');
  for (const table of TABLES) await copy(source.db, target.db, table, copied);
  const compared = step('comparing');
  const tables: TransferredTable[] = [];
  await readByKey(target.db, async (db) => {
    for (const table of TABLES) tables.push(await compare(source, { ...target, db }, table, compared));
  });
  // Whatever started on it meanwhile may have been told things that are not moved.
  await source.checkUnserved();
  await finish(target);
  const { rows: keys } = await sql<{
    id: string;
  }>`select key_id as id from secrets
    union select value as id from facts where name = ${MASTER_KEY_FACT} order by id`.execute(source.db);
  return { from: source.name, to: target.name, tables, keyIds: keys.map(({ id }) => id) };
}

/** Makes sure that the target is empty, or what an interrupted transfer from the same source left. */
async function begin(source: Side, target: Side): Promise<void> {
  await refuseUnfinished(source.db);
  const from = await unfinishedFrom(target.db);
  if (from === source.name) return;
  const refused = (message: string) => new ConnectorError('invalid_state', `${target.name} ${message}`);
  if (from !== undefined) throw refused(`holds part of ${from}: go on with that, or ${OTHER}`);
  for (const table of TABLES)
    if ((await countOf(target.db, table)) > 0) throw refused(`is not empty, it has ${table.name}: ${OTHER}`);
  await markUnfinished(target.db, source.name);
}

/** In one step, so that what is not whole is equal to its source as far as it goes. */
async function finish({ db }: Side): Promise<void> {
  await db.transaction().execute(async (step) => {
    // Where the last process that served the source was killed, some look connected; nobody serves either side now.
    await step
      .updateTable('connectors')
      .set({ status: 'disconnected' })
      .where('status', '=', 'connected')
      .execute();
    await step.deleteFrom('facts').where('name', '=', UNFINISHED).execute();
  });
}

/** Rows go in the order of their key, a batch is whole or absent: the last one in the target says where to go on. */
async function copy(from: Database, to: Database, table: Table, copied: Counted): Promise<void> {
  // Among a few facts is the one of this transfer, which says nothing about the others.
  const isFacts = table.name === 'facts';
  const last = isFacts ? undefined : await lastOf(to, table);
  if (last) await copied(await countOf(from, table, last));
  let next = batchOf(from, table, last);
  for (;;) {
    const rows = await next;
    if (rows.length === 0) return;
    // Read while the ones before are written.
    next = batchOf(from, table, rows.at(-1));
    next.catch(() => {});
    await insert(to, table, rows);
    await copied(rows.length);
  }
}

async function compare(
  source: Side,
  target: Side,
  table: Table,
  compared: Counted,
): Promise<TransferredTable> {
  const [there, here] = await Promise.all([
    digest(source.db, table, compared),
    digest(target.db, table, async () => {}),
  ]);
  if (there.sha256 === here.sha256) return { table: table.name, ...there };
  throw new ConnectorError(
    'conflict',
    `${table.name}: ${there.rows} rows in ${source.name} and ${here.rows} in ${target.name} are not the same, ` +
      `as where one of them was in use in between; begin again: ${OTHER}`,
    { details: { table: table.name, source: there, target: here } },
  );
}

/** Right after a copy PostgreSQL has counted nothing and would sort the table for each batch: 11 s, not 1, for 200,000 secrets. */
async function readByKey(db: Database, read: (db: Database) => Promise<void>): Promise<void> {
  if (!isPostgres(db)) return read(db);
  await db.transaction().execute(async (step) => {
    await sql`set local enable_sort = off`.execute(step);
    // Between two tables it waits for the other side, and nobody waits for what it holds.
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(step);
    await read(step);
  });
}

/** Of every column of every row, in the order of the key. */
async function digest(db: Database, table: Table, read: Counted) {
  const hash = createHash('sha256');
  let count = 0;
  let last: Row | undefined;
  for (;;) {
    const rows = await batchOf(db, table, last);
    if (rows.length === 0) return { rows: count, sha256: hash.digest('hex') };
    for (const row of rows) {
      if (table.name === 'facts' && row['name'] === UNFINISHED) continue;
      hash.update(`${JSON.stringify(table.columns.map((column) => row[column]))}\n`);
      count += 1;
    }
    await read(rows.length);
    last = rows.at(-1);
  }
}
