import { fork } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { ROWS, STEPS } from './migration-steps.ts';

it('leaves a schema before a step or after it when it is killed, and goes on from there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'crash-migration-'));
  const file = join(folder, 'registry.db');
  try {
    for (let cycle = 0; cycle < 6; cycle++) {
      await killWhileMigrating(file);
      const version = expectWholeSteps(file);
      if (version === STEPS.length) break;
    }
    const sqlite = openSqlite(file);
    await migrate(sqlite.writer(null), STEPS);
    await sqlite.close();
    expect(expectWholeSteps(file)).toBe(STEPS.length);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 60_000);

async function killWhileMigrating(file: string): Promise<void> {
  const child = fork(new URL('./migration-steps.ts', import.meta.url), [file]);
  const ended = once(child, 'exit');
  await once(child, 'message');
  const timer = setTimeout(() => child.kill('SIGKILL'), randomInt(60));
  await ended;
  clearTimeout(timer);
  expect(child.signalCode).toBe('SIGKILL');
}

/** The version that the database is at; every step up to it is there in full, and nothing of a later one. */
function expectWholeSteps(file: string): number {
  const db = new DatabaseSync(file);
  try {
    const count = (query: string) => Number(db.prepare(query).get()?.['n']);
    const table = (name: string) => count(`select count(*) as n from sqlite_schema where name = '${name}'`);
    const version = table('migrations') === 0 ? 0 : count('select max(version) as n from migrations');
    expect(db.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' });
    for (const step of STEPS) {
      const done = step.version <= version;
      expect(table(`t${step.version}`)).toBe(done ? 1 : 0);
      if (!done) continue;
      expect(count(`select count(*) as n from t${step.version}`)).toBe(ROWS);
      const later = step.version < version ? ROWS : 0;
      expect(count(`select sum(later) as n from t${step.version}`)).toBe(later);
    }
    return version;
  } finally {
    db.close();
  }
}
