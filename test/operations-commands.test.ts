import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConnectorRegistry } from '../src/index.ts';
import { noPostgres, query, startPostgres } from '../src/testing/postgres.fixture.ts';

const page = readFileSync(new URL('../docs/operations.md', import.meta.url), 'utf8');
const [, backup = ''] = page.split('\n## Backup and restore\n');
/** The commands of the section, as they are written there: for SQLite, for PostgreSQL, for a copy beside the first one. */
const [sqlite = '', postgres = '', copied = ''] = [
  ...(backup.split('\n## ')[0] ?? '').matchAll(/```sh\n([^]*?)```/g),
].map(([, text = '']) => text);
const BINARIES = '/usr/lib/postgresql';
const spec = { connector_type: 'vector', provider: 'embedded', name: 'prices', vector_dimension: 2 };
const notes = { connector_type: 'file', provider: 'local', name: 'notes' };
const run = promisify(execFile);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'operations-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Runs a block as somebody would who pastes it, and ends at the first command that fails. */
function paste(block: string, env: Readonly<Record<string, string>> = {}) {
  const programs = [dirname(process.execPath), ...newestBinaries(), process.env['PATH']].join(':');
  return run('bash', ['-e', '-c', block], { cwd: folder, env: { ...process.env, PATH: programs, ...env } });
}

describe('the commands of a backup', () => {
  it('copy a database of SQLite that is in use, which then serves from an empty folder', async () => {
    const data = join(folder, 'data');
    await using registry = await ConnectorRegistry.open({ dataDir: data });
    const { connectorId } = await registry.forTenant('acme').createFromDict(spec);
    await paste(sqlite);
    // Whatever is made later is not in it.
    await registry.forTenant('acme').createFromDict({ ...spec, name: 'later' });
    const restored = join(folder, 'restored');
    await mkdir(restored);
    await cp(join(folder, 'backup', 'registry.db'), join(restored, 'registry.db'));
    await cp(join(data, 'master.key'), join(restored, 'master.key'));
    await using again = await ConnectorRegistry.open({ dataDir: restored });
    expect((await again.forTenant('acme').list()).map((one) => one.connectorId)).toEqual([connectorId]);
  });

  it('are refused where the database of a clean stop was replaced, until what is beside it is removed', async () => {
    const data = join(folder, 'data');
    const open = () => ConnectorRegistry.open({ dataDir: data });
    const before = await open();
    await before.forTenant('acme').createFromDict(spec);
    await paste(sqlite);
    await before.forTenant('acme').createFromDict({ ...spec, name: 'later' });
    await before.close();
    await cp(join(folder, 'backup', 'registry.db'), join(data, 'registry.db'));
    await expect(open()).rejects.toThrow(/is damaged: it is not what the last clean stop left/);
    for (const name of await readdir(data)) if (name.startsWith('registry.db')) await rm(join(data, name));
    await cp(join(folder, 'backup', 'registry.db'), join(data, 'registry.db'));
    await using after = await open();
    expect(await after.forTenant('acme').list()).toHaveLength(1);
  });

  it.skipIf(noPostgres !== undefined)(
    'dump a database of PostgreSQL by its owner, with all tenants, and restore it',
    async (test) => {
      const server = await startPostgres();
      test.onTestFinished(() => server.close());
      if (!server.own) return test.skip('the commands name roles, and the PostgreSQL is not ours');
      const url = new URL(await server.database());
      await query(
        url.href,
        'create role postgres superuser login',
        'create role connectors login',
        'create database connectors owner connectors',
      );
      const at = (database: string) =>
        Object.assign(new URL(url), { username: 'connectors', pathname: `/${database}` }).href;
      const open = (database: string, dataDir = 'data') =>
        ConnectorRegistry.open({
          dataDir: join(folder, dataDir),
          databaseUrl: at(database),
          env: { CONNECTORS_MASTER_KEY: Buffer.alloc(32, 1).toString('base64') },
        });
      const idIn = (dataDir: string) => readFileSync(join(folder, dataDir, 'registry-id'), 'utf8');
      const before = await open('connectors');
      for (const tenant of ['acme', 'globex']) await before.forTenant(tenant).createFromDict(spec);
      // Its server's directory still fits what is restored, as this is the same registry.
      const { connectorId } = await before.forTenant('acme').createFromDict(notes);
      await (await before.forTenant('acme').file(connectorId)).writeFile('a.txt', 'kept');
      await before.close();
      const env = { PGHOST: url.hostname, PGPORT: url.port };
      await paste(postgres, env);
      await using restored = await open('restored');
      for (const tenant of ['acme', 'globex'])
        expect(await restored.forTenant(tenant).getByName('prices')).toMatchObject({ tenantId: tenant });
      const files = await restored.forTenant('acme').file(connectorId);
      expect(Buffer.from(await files.readFile('a.txt')).toString()).toBe('kept');
      // Still held to its tenants there.
      expect(await query(at('restored'), 'select * from connectors')).toEqual([]);
      // And without the two options, as the page says.
      const careless = /^PGOPTIONS='-c app.tenant=\*' (pg_dump .*)$/m.exec(postgres)?.[1] ?? '';
      await expect(paste(careless.replace('--enable-row-security ', ''), env)).rejects.toThrow(
        /row-level security policy/,
      );
      // A copy beside the first one: another registry, which has nothing to do and nothing in that directory.
      await restored.close();
      await paste(copied, env);
      await expect(open('restored')).rejects.toThrow(/and the database is of none yet/);
      await using copy = await open('restored', 'of-the-copy');
      expect(await copy.forTenant('acme').list()).toHaveLength(2);
      expect(idIn('of-the-copy')).not.toBe(idIn('data'));
    },
  );
});

/** pg_dump of the server's own version, where Debian has several. */
function newestBinaries(): readonly string[] {
  if (!existsSync(BINARIES)) return [];
  const [newest] = readdirSync(BINARIES).sort((a, b) => Number(b) - Number(a));
  return newest === undefined ? [] : [join(BINARIES, newest, 'bin')];
}
