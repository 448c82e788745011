import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { testFileDriver } from '../../../testing/file.ts';
import { openLocal } from './client.ts';
import driver from './index.ts';

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'file-local-'));
});
afterAll(() => rm(folder, { recursive: true }));

testFileDriver({
  driver,
  open: () => openLocal({}, { folder: join(folder, 'handles'), log: silent }),
  engine: { mode: 'live', name: 'the file system, by node:fs on Linux' },
});
// The weaker way of systems without /proc/self/fd, which this one can take as well.
testFileDriver({
  driver: { ...driver, id: 'local, by paths' },
  open: () => openLocal({}, { folder: join(folder, 'paths'), log: silent }, 'paths'),
});
