import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { systemClock } from '../../src/driver.ts';
import { ConnectorRegistry } from '../../src/index.ts';
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

it('serves the connectors of a registry that is given the driver', async () => {
  await using registry = await ConnectorRegistry.open({
    drivers: { 'file/sqlite': () => import('./index.ts') },
  });
  const notes = await registry.createFileConnector({ tenantId: 'acme', name: 'notes', provider: 'sqlite' });
  const written = await notes.writeFile('a/b.txt', 'kept', { contentType: 'text/plain' });
  expect(await notes.statFile('a/b.txt')).toMatchObject({ ...written, contentType: 'text/plain' });
});
