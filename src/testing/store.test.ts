import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { SqlStore } from '../store/sql-store.ts';
import { noPostgres, startPostgres, type TestPostgres } from './postgres.fixture.ts';
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

describe.skipIf(noPostgres !== undefined)('the store on PostgreSQL', () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres();
  }, 60_000);
  afterAll(() => postgres.close());
  testStore({ open: async () => SqlStore.open({ databaseUrl: await postgres.database() }) });
});
