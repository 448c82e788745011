/** Migrates a database until it is killed, in steps that take long: `node migration-steps.ts FILE`. */
import { migrate, type Migration } from '../../src/store/migrate.ts';
import { openSqlite } from '../../src/store/sqlite.ts';

export const ROWS = 40_000;

/** Each makes a table, fills it in two statements, and leaves a trace in the table before. */
export const STEPS: readonly Migration[] = [1, 2, 3, 4, 5].map((version) => ({
  version,
  name: `step ${version}`,
  statements: [
    `create table t${version} (n integer, later integer not null default 0)`,
    fill(version, 1, ROWS / 2),
    fill(version, ROWS / 2 + 1, ROWS),
    ...(version > 1 ? [`update t${version - 1} set later = 1`] : []),
  ],
}));

function fill(version: number, from: number, to: number): string {
  return `insert into t${version} (n) with recursive s (n) as (select ${from} union all select n + 1 from s where n < ${to}) select n from s`;
}

if (import.meta.main) {
  const [file = ''] = process.argv.slice(2);
  const sqlite = openSqlite(file);
  process.send?.('open');
  await migrate(sqlite.writer(null), STEPS);
  process.send?.('done');
  setInterval(() => {}, 1_000);
}
