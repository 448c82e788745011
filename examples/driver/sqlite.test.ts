import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { systemClock } from '../../src/driver.ts';
import { testFileDriver } from '../../src/testing/file.ts';
import driver from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'sqlite-driver-'));
afterAll(() => rmSync(folder, { recursive: true }));

const silent = () => {};

testFileDriver({
  driver,
  open: () =>
    driver.open(driver.options.parse({}), {
      tenantId: 'acme',
      connectorId: 'files',
      folder,
      tenantFolder: folder,
      clock: systemClock,
      log: { debug: silent, info: silent, warn: silent, error: silent },
      signal: new AbortController().signal,
      progress: silent,
    }),
});
