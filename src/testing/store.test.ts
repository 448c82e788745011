import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { SqlStore } from '../store/sql-store.ts';
import { startStoreDatabases, type StoreDatabases } from './pglite.fixture.ts';
import { noPostgres } from './postgres.fixture.ts';
import { testStore } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'store-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('the store in a file', () => {
  let files = 0;
  testStore({ open: () => SqlStore.open({ file: join(folder, `${++files}.db`) }) });
});

describe('the store in memory', () => {
  testStore({ open: () => SqlStore.open({ file: ':memory:' }) });
});

describe(`the store on ${noPostgres === undefined ? 'PostgreSQL' : 'PGlite'}`, () => {
  let databases: StoreDatabases;
  beforeAll(async () => {
    databases = await startStoreDatabases();
  }, 60_000);
  afterAll(() => databases.close());
  testStore({
    async open() {
      const { poolSize } = databases;
      return SqlStore.open({ databaseUrl: await databases.database(), poolSize });
    },
  });
});
