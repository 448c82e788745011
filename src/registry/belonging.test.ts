import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { transfer } from '../store/transfer.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { ConnectorRegistry } from './registry.ts';

const root = mkdtempSync(join(tmpdir(), 'belonging-'));
const env = { CONNECTORS_MASTER_KEY: Buffer.alloc(32, 1).toString('base64') };
let folders = 0;
const folder = () => join(root, `d${folders++}`);
afterAll(() => rmSync(root, { recursive: true, force: true }));

const open = (dataDir: string, databaseUrl?: string) => ConnectorRegistry.open({ dataDir, databaseUrl, env });
const idOf = (dataDir: string) => readFileSync(join(dataDir, 'registry-id'), 'utf8').trim();

/** A directory with what an embedded engine stored for one connector. */
async function withContent(dataDir = folder(), databaseUrl?: string) {
  await using registry = await open(dataDir, databaseUrl);
  const { connectorId } = await store(registry);
  return { dataDir, connectorId };
}

async function store(registry: ConnectorRegistry) {
  const files = await registry.createFileConnector({ tenantId: 'acme', name: 'notes' });
  await files.writeFile('a.txt', 'kept');
  return files;
}

async function read(registry: ConnectorRegistry): Promise<string> {
  const files = await registry.forTenant('acme').getByName('notes');
  return Buffer.from(
    await (await registry.forTenant('acme').file(files.connectorId)).readFile('a.txt'),
  ).toString();
}

const contentOf = (dataDir: string) => readdirSync(join(dataDir, 'tenants', 'acme', 'files'));

function onFile(dataDir: string, statement: string): void {
  rmSync(join(dataDir, 'registry.db.sum'), { force: true });
  const db = new DatabaseSync(join(dataDir, 'registry.db'));
  db.exec(statement);
  db.close();
}

describe('a data directory with content of embedded engines', () => {
  it('goes on with its own database, also with a backup of it in another folder, and from before it had a name', async () => {
    const { dataDir } = await withContent();
    const id = idOf(dataDir);
    expect(id).toMatch(/^[\da-f-]{36}$/);
    // A backup of before this version says nothing of a registry.
    onFile(dataDir, "delete from facts where name = 'registry_id'");
    {
      await using again = await open(dataDir);
      expect(await read(again)).toBe('kept');
    }
    expect(idOf(dataDir)).toBe(id);
    // Restored from a backup that has not the small file, which an older version's directory has not either.
    rmSync(join(dataDir, 'registry-id'));
    await using restored = await open(dataDir);
    expect(await read(restored)).toBe('kept');
    expect(idOf(dataDir)).toBe(id);
  });

  it('is refused where its database is missing, and nothing is made there', async () => {
    const { dataDir, connectorId } = await withContent();
    for (const name of readdirSync(dataDir)) if (name.startsWith('registry.db')) rmSync(join(dataDir, name));
    const before = readdirSync(dataDir);
    await expect(open(dataDir)).rejects.toMatchObject({ code: 'invalid_state' });
    await expect(open(dataDir)).rejects.toThrow(
      /registry\.db is missing, and the data directory holds what embedded engines stored .* restore registry\.db .* CONNECTORS_DATA_DIR/,
    );
    expect(readdirSync(dataDir)).toEqual(before);
    expect(contentOf(dataDir)).toEqual([connectorId]);
  });

  it('is refused with the database of another registry in the place of its own', async () => {
    const { dataDir, connectorId } = await withContent();
    const { dataDir: other } = await withContent();
    rmSync(join(dataDir, 'registry.db.sum'));
    writeFileSync(join(dataDir, 'registry.db'), readFileSync(join(other, 'registry.db')));
    const refused = expect(open(dataDir)).rejects;
    await refused.toMatchObject({
      code: 'invalid_state',
      details: { directoryOf: idOf(dataDir), databaseOf: idOf(other) },
    });
    expect(contentOf(dataDir)).toEqual([connectorId]);
  });

  it('without content belongs to whichever registry opens it', async () => {
    const dataDir = folder();
    await (await open(dataDir)).close();
    const first = idOf(dataDir);
    for (const name of readdirSync(dataDir)) if (name.startsWith('registry.db')) rmSync(join(dataDir, name));
    mkdirSync(join(dataDir, 'tenants', 'acme', 'files'), { recursive: true });
    await (await open(dataDir)).close();
    expect(idOf(dataDir)).not.toBe(first);
  });
});

describe.skipIf(noPostgres !== undefined)('a data directory and a database of PostgreSQL', () => {
  const postgres = usePostgres();

  it('are refused where the registry was not moved there, and moving it is not in the way of that', async () => {
    const { dataDir, connectorId } = await withContent();
    const database = await postgres.database();
    const refused =
      /holds what embedded engines stored for registry .*, and the database is of none yet: move that registry/;
    await expect(open(dataDir, database)).rejects.toThrow(refused);
    // A second time: what the first one left would say the same.
    await expect(open(dataDir, database)).rejects.toThrow(refused);
    expect(contentOf(dataDir)).toEqual([connectorId]);
    await transfer({ from: dataDir, to: database });
    {
      await using moved = await open(dataDir, database);
      expect(await read(moved)).toBe('kept');
    }
    // And back, beside what the engines stored.
    for (const name of readdirSync(dataDir)) if (name.startsWith('registry.db')) rmSync(join(dataDir, name));
    await transfer({ from: database, to: dataDir });
    await using back = await open(dataDir);
    expect(await read(back)).toBe('kept');
  }, 60_000);

  it('are refused where the directory names no registry, or the database is that of another', async () => {
    const { dataDir } = await withContent();
    const database = await postgres.database();
    await (await open(folder(), database)).close();
    await expect(open(dataDir, database)).rejects.toThrow(
      /, and the database is that of registry [\da-f-]{36}: move/,
    );
    rmSync(join(dataDir, 'registry-id'));
    await expect(open(dataDir, database)).rejects.toThrow(/stored for a registry that it does not name, and/);
    expect(contentOf(dataDir)).toHaveLength(1);
  }, 60_000);

  it('fit each other with a directory for each server, and with one that is told by hand', async () => {
    const database = await postgres.database();
    const { dataDir: one } = await withContent(folder(), database);
    const two = folder();
    {
      await using registry = await open(two, database);
      const files = await registry.createFileConnector({ tenantId: 'acme', name: 'other' });
      await files.writeFile('b.txt', 'kept as well');
    }
    expect(idOf(two)).toBe(idOf(one));
    expect(await query(database, "select value from facts where name = 'registry_id'")).toEqual([
      { value: idOf(one) },
    ]);
    rmSync(join(one, 'registry-id'));
    await expect(open(one, database)).rejects.toMatchObject({ code: 'invalid_state' });
    writeFileSync(join(one, 'registry-id'), `${idOf(two)}\n`);
    await using again = await open(one, database);
    expect(await read(again)).toBe('kept');
  }, 60_000);

  it('keep what was stored while the database is restored in place under a server', async () => {
    const [dataDir, database] = [folder(), await postgres.database()];
    await using registry = await open(dataDir, database);
    const { connectorId } = await store(registry);
    const removed = new Promise((resolve) => registry.on('removed', resolve));
    // Nobody is told of it, and the server looks at everything as its listener is gone.
    await query(
      database,
      'create table saved as select * from connectors',
      'truncate connectors cascade',
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );
    expect(await removed).toMatchObject({ connectorId });
    expect(contentOf(dataDir)).toEqual([connectorId]);
    await query(database, 'insert into connectors select * from saved');
    await vi.waitFor(async () => expect(await read(registry)).toBe('kept'), 5_000);
  }, 60_000);

  it('lose what was stored for a connector that another server removed', async () => {
    const [dataDir, database] = [folder(), await postgres.database()];
    await using here = await open(dataDir, database);
    const files = await store(here);
    const { connectorId } = files;
    await using there = await open(folder(), database);
    // Both listen by now: whoever does not looks at everything, and removes nothing that he was not told of.
    const listeners = "select 1 from pg_stat_activity where application_name = 'connector-registry listener'";
    const ofThis = `${listeners} and datname = current_database()`;
    await vi.waitFor(async () => expect(await query(database, ofThis)).toHaveLength(2), 5_000);
    for (const version of [2, 3]) {
      await there.update(connectorId, { metadata: { version } });
      await vi.waitFor(() => expect(files.version).toBe(version), 5_000);
    }
    expect(await there.delete(connectorId)).toBe(true);
    await vi.waitFor(() => expect(contentOf(dataDir)).toEqual([]), 5_000);
  }, 60_000);
});
