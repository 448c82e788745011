import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, expect, it } from 'vitest';
import { migrate, MIGRATIONS, type Migration } from './migrate.ts';
import { openSqlite } from './sqlite.ts';

const folder = mkdtempSync(join(tmpdir(), 'migrate-'));
afterAll(() => rmSync(folder, { recursive: true }));

const step = (version: number, ...statements: string[]): Migration => ({
  version,
  name: `step ${version}`,
  statements,
});

it('numbers the steps from 1 without a gap', () => {
  expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, i) => i + 1));
});

it('takes each step once, in order', async () => {
  const sqlite = openSqlite(':memory:');
  const steps = [step(1, 'create table t (n integer)'), step(2, 'insert into t values (1)')];
  await migrate(sqlite.writer(null), steps.slice(0, 1));
  await migrate(sqlite.writer(null), steps);
  await migrate(sqlite.writer(null), steps);
  const { rows } = await sql`select n from t`.execute(sqlite.reader(null));
  expect(rows).toEqual([{ n: 1 }]);
  await sqlite.close();
});

it('leaves nothing of a step that fails, and all of the steps before it', async () => {
  const sqlite = openSqlite(':memory:');
  const broken = [
    step(1, 'create table a (n)'),
    step(2, 'create table b (n)', 'insert into missing values (1)'),
  ];
  await expect(migrate(sqlite.writer(null), broken)).rejects.toMatchObject({ code: 'internal' });
  const { rows } = await sql`select name from sqlite_schema where name in ('a', 'b')`.execute(
    sqlite.writer(null),
  );
  expect(rows).toEqual([{ name: 'a' }]);
  const again = [step(1), step(2, 'create table b (n)')];
  await migrate(sqlite.writer(null), again);
  await sqlite.close();
});

it('refuses a database of a newer version, naming both', async () => {
  const sqlite = openSqlite(':memory:');
  await migrate(sqlite.writer(null), [step(1), step(2), step(3)]);
  await expect(migrate(sqlite.writer(null), [step(1), step(2)])).rejects.toMatchObject({
    code: 'invalid_state',
    message:
      'the database has schema version 3, this program knows versions up to 2; upgrade connector-registry',
  });
  await sqlite.close();
});

it('lets processes that start at once wait for one another', async () => {
  const file = join(folder, 'shared.db');
  const program = `
    import { openSqlite } from ${url('./sqlite.ts')};
    import { migrate } from ${url('./migrate.ts')};
    await migrate(openSqlite(${JSON.stringify(file)}).writer(null), [
      { version: 1, name: 'one', statements: ['create table t (n integer)'] },
      { version: 2, name: 'two', statements: ['insert into t values (1)'] },
    ]);`;
  const ends = Array.from({ length: 4 }, async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' });
    const [code] = await once(child, 'exit');
    return code as unknown;
  });
  expect(await Promise.all(ends)).toEqual([0, 0, 0, 0]);
  const sqlite = openSqlite(file);
  const { rows } = await sql`select n from t`.execute(sqlite.reader(null));
  expect(rows).toEqual([{ n: 1 }]);
  await sqlite.close();
});

function url(path: string): string {
  return JSON.stringify(new URL(path, import.meta.url).href);
}
