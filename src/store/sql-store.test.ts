import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NO_ACTIVITY } from '../connectors/base.ts';
import { ALL, FAILED, secret, storeSuite, type StoreSuite } from '../testing/store-suite.ts';
import { connectorStore } from './connector-store.ts';
import { migrate } from './migrate.ts';
import { SqlStore } from './sql-store.ts';
import { openSqlite } from './sqlite.ts';
import type { Store } from './store.ts';

let folder: string;
let file: string;
let store: Store;
let suite: StoreSuite;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sql-store-'));
  file = join(folder, 'registry.db');
  store = await SqlStore.open({ file });
  suite = storeSuite(() => store);
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

async function reopen(): Promise<void> {
  await store.close();
  store = await SqlStore.open({ file });
}

it('finds everything again after a restart', async () => {
  const { record, secrets } = await suite.stored({ secrets: [secret('key', 'sealed')], activity: FAILED });
  await store.setFact('check', 'value');
  await reopen();
  const found = await store.getConnector(record.tenantId, record.connectorId);
  expect(found).toMatchObject({ record: { name: record.name }, activity: FAILED });
  expect(await store.getSecrets(record.tenantId, record.connectorId)).toEqual(secrets);
  expect(await store.getFact('check')).toBe('value');
});

it('says after a restart that what was connected is disconnected, and leaves every other status', async () => {
  const statuses = ['registered', 'configuring', 'ready', 'connected', 'error', 'deprecated'] as const;
  for (const status of statuses) await suite.stored({ activity: { ...FAILED, status } });
  await reopen();
  expect((await store.statistics(null)).byStatus).toEqual({
    registered: 1,
    configuring: 1,
    ready: 1,
    disconnected: 1,
    error: 1,
    deprecated: 1,
  });
  const [found] = await store.listConnectors({ status: 'disconnected', ...ALL });
  expect(found?.activity).toEqual({ ...FAILED, status: 'disconnected' });
});

it('leaves one file and its checksum behind when it is closed', async () => {
  await suite.stored();
  await store.close();
  expect(readdirSync(folder).sort()).toEqual(['registry.db', 'registry.db.sum']);
});

it('waits with closing for an import that is under way', async () => {
  const some = Array.from({ length: 3_000 }, () => suite.connector());
  const imported = store.insertConnectors(some);
  await reopen();
  await imported;
  expect(await store.listConnectors(ALL)).toHaveLength(3_000);
});

it('reads while an import is under way, and sees nothing of it until it is whole', async () => {
  const { tenantId, connectorId } = (await suite.stored()).record;
  let done = false;
  const some = Array.from({ length: 5_000 }, () => suite.connector());
  const imported = store.insertConnectors(some).then(() => (done = true));
  let reads = 0;
  while (!done) {
    expect(await store.getConnector(tenantId, connectorId)).toBeDefined();
    const { vector } = (await store.statistics(null)).byType;
    expect([1, 5_001]).toContain(vector);
    reads += 1;
    // Reads answer within one turn of the event loop; the import needs turns of its own.
    await new Promise(setImmediate);
  }
  await imported;
  expect(reads).toBeGreaterThan(3);
});

it('stores nothing of what the disk has no room for, and goes on once there is room', async () => {
  await store.close();
  const sqlite = openSqlite(file);
  await migrate(sqlite.writer(null));
  const { insertConnectors, listConnectors } = connectorStore(sqlite);
  const some = Array.from({ length: 500 }, () => suite.connector({ metadata: { text: 'x'.repeat(2_000) } }));
  await insertConnectors([suite.connector()]);
  await sql`pragma max_page_count = 100`.execute(sqlite.writer(null));
  await expect(insertConnectors(some)).rejects.toMatchObject({
    code: 'unavailable',
    message: `the disk is full: ${file} cannot grow`,
  });
  expect(await listConnectors(ALL)).toHaveLength(1);
  const logBytes = statSync(`${file}-wal`).size;
  await sql`pragma max_page_count = 100000`.execute(sqlite.writer(null));
  expect(statSync(`${file}-wal`).size, 'the log was moved into the file, to make room').toBeLessThan(
    logBytes,
  );
  await insertConnectors(some);
  expect(await listConnectors(ALL)).toHaveLength(501);
  await sqlite.close();
  rmSync(`${file}.sum`);
});

it('refuses a row whose content changed in place', async () => {
  const { tenantId, connectorId, name } = (await suite.stored()).record;
  await store.close();
  const sqlite = openSqlite(file);
  const damaged = {
    record: sql`update connectors set record = replace(record, 'embedded', 'embeddee')`,
    activity: sql`update connectors set error_count = 1`,
    status: sql`update connectors set status = 'reedy'`,
  };
  for (const change of Object.values(damaged)) {
    await expect(
      sqlite
        .writer(null)
        .transaction()
        .execute(async (changed) => {
          await change.execute(changed);
          const { getConnector } = connectorStore({
            ...sqlite,
            reader: () => changed,
            writer: () => changed,
          });
          await expect(getConnector(tenantId, connectorId)).rejects.toMatchObject({
            code: 'internal',
            message: `the stored connector ${connectorId} is damaged; restore the store from a backup`,
          });
          throw new Error('roll back');
        }),
    ).rejects.toThrow('roll back');
    const { getConnectorByName } = connectorStore(sqlite);
    expect((await getConnectorByName(tenantId, name))?.activity).toEqual(NO_ACTIVITY);
  }
  await sqlite.close();
  rmSync(`${file}.sum`);
});

it('names the file and the disk where the folder does not exist', async () => {
  const nowhere = join(folder, 'missing', 'registry.db');
  await expect(SqlStore.open({ file: nowhere })).rejects.toMatchObject({
    code: 'unavailable',
    message: `the disk failed to read or write ${nowhere}`,
  });
});
