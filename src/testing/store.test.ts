import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe } from 'vitest';
import { SqlStore } from '../store/sql-store.ts';
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
