import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { ConnectorRegistry } from '../../src/index.ts';
import { openContext, testFileDriver } from '../../src/testing/index.ts';
import driver from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'sqlite-driver-'));
afterAll(() => rmSync(folder, { recursive: true }));

testFileDriver({
  driver,
  open: () => driver.open(driver.options.parse({}), openContext({ folder })),
});

it('serves the connectors of a registry that is given the driver', async () => {
  await using registry = await ConnectorRegistry.open({
    drivers: { 'file/sqlite': () => import('./index.ts') },
  });
  const notes = await registry.createFileConnector({ tenantId: 'acme', name: 'notes', provider: 'sqlite' });
  const written = await notes.writeFile('a/b.txt', 'kept', { contentType: 'text/plain' });
  expect(await notes.statFile('a/b.txt')).toMatchObject({ ...written, contentType: 'text/plain' });
});
