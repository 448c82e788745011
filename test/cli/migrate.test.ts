import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { ConnectorRegistry, ServerlessConnector } from '../../src/index.ts';
import { transfer, type TransferProgress } from '../../src/store/transfer.ts';
import { noPostgres, query } from '../../src/testing/postgres.fixture.ts';
import { usePostgres } from '../../src/testing/postgres-suite.fixture.ts';

const root = mkdtempSync(join(tmpdir(), 'migrate-'));
const env = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64') };
const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
let folders = 0;
const folder = () => join(root, `d${folders++}`);
/** Where a registry is, as a registry is told. */
const optionsOf = (place: string) =>
  place.startsWith('postgres:') ? { databaseUrl: place, dataDir: folder(), env } : { dataDir: place, env };

afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A registry with something in every table. */
async function filled(
  place: string,
  connectors = 30,
): Promise<{ readonly key: string; readonly requestId: string }> {
  await using registry = await ConnectorRegistry.open(optionsOf(place));
  const made = await registry.createMany(
    Array.from({ length: connectors }, (_, i) => ({
      tenantId: `tenant-${i % 7}`,
      // Of all that a text may hold.
      name: i === 0 ? 'Ω “quoted” \\u0000 \u{1F600}' : `connector ${i}`,
      connectorType: 'vector' as const,
      provider: 'qdrant',
      vectorDimension: 3,
      config: { endpoint: 'https://example.com', credentials: { api_key: `secret ${i}` } },
    })),
  );
  await registry.keys.revoke(
    null,
    (await registry.keys.create({ tenantId: null, role: 'admin' })).record.keyId,
  );
  const { key } = await registry.keys.create({ tenantId: 'tenant-1', role: 'reader' });
  const functions = await registry.forTenant('tenant-1').createServerlessConnector({ name: 'functions' });
  await functions.deployFunction('echo', { code: 'export const handler = (payload) => payload;' });
  const { requestId } = await functions.invoke(
    'echo',
    { text: 'kept' },
    { async: true, idempotencyKey: 'k' },
  );
  await functions.waitForResult(requestId, { timeoutSeconds: 20 });
  expect(made).toHaveLength(connectors);
  return { key, requestId };
}

/** Everything still works where it was moved to. */
async function expectWhole(
  place: string,
  { key, requestId }: Awaited<ReturnType<typeof filled>>,
): Promise<void> {
  await using registry = await ConnectorRegistry.open(optionsOf(place));
  expect((await registry.keys.verify(key)).tenantId).toBe('tenant-1');
  expect((await registry.getStatistics()).toDict()).toMatchObject({ total_connectors: 31 });
  const functions = await registry.getByName('tenant-1', 'functions');
  if (!(functions instanceof ServerlessConnector)) throw new Error('it is of another type');
  expect(await functions.getResult(requestId)).toMatchObject({
    status: 'completed',
    result: { text: 'kept' },
  });
  // The function is not there any more, and need not be: the key answers what came of the first call.
  const again = await functions.invoke('echo', { text: 'kept' }, { async: true, idempotencyKey: 'k' });
  expect(again.requestId).toBe(requestId);
}

/** Every credential opens with the key that it was sealed with, and is sealed with another one in its place. */
async function expectSecretsOpen(place: string): Promise<void> {
  const keys = `${randomBytes(32).toString('base64')},${env.CONNECTORS_MASTER_KEY}`;
  await using registry = await ConnectorRegistry.open({
    ...optionsOf(place),
    env: { CONNECTORS_MASTER_KEY: keys },
  });
  expect(await registry.keyring.rotate({ limit: 100 })).toMatchObject({ resealed: 30, unreadable: 0 });
}

/** The files of the database and a hash of what is in them; a log that is empty is like none. */
function filesOf(dataDir: string): readonly string[] {
  return readdirSync(dataDir)
    .filter((name) => /^registry\.db(-wal|\.sum)?$/.test(name))
    .map((name) => ({ name, bytes: readFileSync(join(dataDir, name)) }))
    .filter(({ bytes }) => bytes.length > 0)
    .map(({ name, bytes }) => `${name} ${createHash('sha256').update(bytes).digest('hex')}`)
    .sort();
}

describe('moving a registry', () => {
  it('names the master key that the new place needs, also where no credential is sealed with it', async () => {
    const from = folder();
    await (await ConnectorRegistry.open({ dataDir: from, env })).close();
    const { tables, keyIds } = await transfer({ from, to: folder() });
    expect(tables.find(({ table }) => table === 'secrets')).toMatchObject({ rows: 0 });
    expect(keyIds).toEqual([expect.stringMatching(/^[\da-f]{16}$/)]);
  });

  it('from one data directory to another keeps all of it, and leaves the source as it was', async () => {
    const [from, to] = [folder(), folder()];
    const known = await filled(from);
    const before = filesOf(from);
    const seen: TransferProgress[] = [];
    const moved = await transfer({ from, to: `sqlite:${to}`, progress: (progress) => seen.push(progress) });
    expect(moved.tables.map(({ table, rows }) => [table, rows])).toEqual([
      ['connectors', 31],
      ['secrets', 30],
      ['api_keys', 2],
      ['invocations', 1],
      ['facts', expect.any(Number)],
    ]);
    expect(seen.at(-1)).toMatchObject({ stage: 'comparing', done: seen.at(-1)?.total });
    expect(filesOf(from)).toEqual(before);
    await expectWhole(to, known);
    await expectSecretsOpen(to);
    await expectWhole(from, known);
  }, 60_000);

  it('takes what a killed process left in its log, and leaves the log as it was', async () => {
    const [from, left, to] = [folder(), folder(), folder()];
    await filled(from);
    {
      await using registry = await ConnectorRegistry.open({ dataDir: from, env });
      await registry.create({
        tenantId: 'late',
        name: 'in the log',
        connectorType: 'file',
        provider: 'memory',
      });
      for (const file of ['registry.db', 'registry.db-wal']) cpSync(join(from, file), join(left, file));
    }
    const before = filesOf(left);
    expect((await transfer({ from: left, to })).tables[0]).toMatchObject({ rows: 32 });
    expect(filesOf(left)).toEqual(before);
  }, 60_000);

  it('is refused where something else is, where nothing is, and while a process is at it', async () => {
    const [from, to] = [folder(), folder()];
    await filled(from);
    await filled(to);
    await expect(transfer({ from, to })).rejects.toThrow(
      /is not empty, it has connectors: name an empty database, or a data directory without registry.db$/,
    );
    await expect(transfer({ from: folder(), to: folder() })).rejects.toMatchObject({ code: 'not_found' });
    await expect(transfer({ from, to: `sqlite:${from}` })).rejects.toThrow(
      /is where the registry is already/,
    );
    // Which of two it is, and not with what password.
    await expect(transfer({ from: 'postgres://me:secret@127.0.0.1:1/x', to: folder() })).rejects.toThrow(
      'postgres://127.0.0.1:1/x: the database of the store cannot be reached',
    );
    await expect(transfer({ from, to: 'mysql://x/y' })).rejects.toMatchObject({ code: 'invalid_argument' });
    await using registry = await ConnectorRegistry.open({ dataDir: from, env });
    expect(await registry.list()).toHaveLength(31);
    await expect(transfer({ from, to: folder() })).rejects.toThrow(/is in use by process/);
  }, 60_000);

  it('is refused where the schema of the source is older, and leaves that as it is', async () => {
    const from = folder();
    await filled(from);
    changeFile(from, 'delete from migrations where version = (select max(version) from migrations)');
    await expect(transfer({ from, to: folder() })).rejects.toThrow(
      /has schema version 2, this program moves version 3; start a server of this version on it once$/,
    );
    expect(changeFile(from, 'select max(version) as version from migrations')).toEqual([{ version: 2 }]);
  }, 60_000);

  it('ends where it is told to, and goes on the next time', async () => {
    const [from, to] = [folder(), folder()];
    await filledDirectly(from, 20_000);
    const child = spawn(process.execPath, [main, 'migrate', '--from', from, '--to', to], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const exited = once(child, 'exit');
    while (child.exitCode === null && (await copiedInto(to)) === 0);
    child.kill('SIGINT');
    expect(await exited).toEqual([130, null]);
    expect((await transfer({ from, to })).tables[0]).toMatchObject({ table: 'connectors', rows: 20_000 });
  }, 60_000);

  it('leaves nothing that a server takes for a whole registry before it is one', async () => {
    const [from, to] = [folder(), folder()];
    await filled(from);
    await expect(interrupted(from, to)).rejects.toMatchObject({ code: 'cancelled' });
    const part = `only part of a registry has been moved here: run connectors migrate from ${from} again`;
    await expect(ConnectorRegistry.open({ dataDir: to, env })).rejects.toThrow(part);
    await expect(transfer({ from: to, to: folder() })).rejects.toThrow(part);
    await transfer({ from, to });
    await using registry = await ConnectorRegistry.open({ dataDir: to, env });
    expect(await registry.list()).toHaveLength(31);
  }, 60_000);
});

describe.skipIf(noPostgres !== undefined)('moving a registry to PostgreSQL and back', () => {
  const postgres = usePostgres();

  it('keeps all of it', async () => {
    const [from, back] = [folder(), folder()];
    const database = await postgres.database();
    const known = await filled(from);
    const there = await transfer({ from, to: database });
    expect(there.to).toMatch(/^postgres:\/\/127\.0\.0\.1:\d+\/test_/);
    expect(there.keyIds).toHaveLength(1);
    const again = await transfer({ from: database, to: back });
    // All but the status of what was connected when its process ended.
    expect(again.tables.slice(1)).toEqual(there.tables.slice(1));
    await expectWhole(back, known);
    await expectSecretsOpen(back);
    await expectWhole(database, known);
    await expectSecretsOpen(database);
  }, 60_000);

  it('from one database to another keeps the same rows', async () => {
    const from = folder();
    await filled(from);
    const [first, second] = [await postgres.database(), await postgres.database()];
    await transfer({ from, to: first });
    const moved = await transfer({ from: first, to: second });
    expect(await transfer({ from: second, to: folder() })).toMatchObject({ tables: moved.tables });
  }, 60_000);

  it('leaves nothing connected that nobody has connected', async () => {
    const from = folder();
    await filled(from);
    changeFile(from, "update connectors set status = 'connected' where name = 'connector 3'");
    const database = await postgres.database();
    await transfer({ from, to: database });
    expect(
      await query(
        database,
        "select name, status from connectors where name = 'connector 3' or status = 'connected'",
      ),
    ).toEqual([{ name: 'connector 3', status: 'disconnected' }]);
  }, 60_000);

  it('says which table is not the same', async () => {
    const from = folder();
    await filled(from);
    const database = await postgres.database();
    await expect(interrupted(from, database)).rejects.toMatchObject({ code: 'cancelled' });
    await query(
      database,
      `update secrets set sealed = sealed || 'x' where connector_id = (select max(connector_id) from secrets)`,
    );
    await expect(transfer({ from, to: database })).rejects.toThrow(
      /^secrets: 30 rows in .* and 30 in .* are not the same/,
    );
    const other = folder();
    await filled(other);
    await expect(transfer({ from: other, to: database })).rejects.toThrow(
      /holds part of .*: go on with that, or name an empty database/,
    );
  }, 60_000);

  it('names what PostgreSQL cannot hold', async () => {
    const from = folder();
    await filled(from);
    let keyId: string;
    {
      await using registry = await ConnectorRegistry.open({ dataDir: from, env });
      const made = await registry.keys.create({ tenantId: null, role: 'admin', label: 'a' });
      keyId = made.record.keyId;
    }
    // As a version made it that did not refuse it.
    changeFile(from, `update api_keys set label = 'a' || char(0) || 'b' where key_id = '${keyId}'`);
    await expect(transfer({ from, to: await postgres.database() })).rejects.toThrow(
      `api_keys: ${keyId} has a NUL in label, which PostgreSQL cannot hold`,
    );
  }, 60_000);

  it('is refused while a server is at the database', async () => {
    const database = await postgres.database();
    await using registry = await ConnectorRegistry.open({ databaseUrl: database, dataDir: folder(), env });
    expect(await registry.list()).toEqual([]);
    const served = /is served by .*; stop them first/;
    await expect(transfer({ from: database, to: folder() })).rejects.toThrow(served);
    const from = folder();
    await filled(from);
    await expect(transfer({ from, to: database })).rejects.toThrow(served);
  }, 60_000);

  it('does not end where a server started on the source meanwhile, even if that was killed', async () => {
    const database = await postgres.database();
    await filled(database);
    const server = `
      import { ConnectorRegistry } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)};
      await ConnectorRegistry.open(${JSON.stringify(optionsOf(database))});
      process.kill(process.pid, 'SIGKILL');`;
    let ended: string | null = null;
    const startOne = ({ stage }: TransferProgress) => {
      if (stage === 'comparing')
        ended ??= spawnSync(process.execPath, ['--input-type=module', '-e', server]).signal;
    };
    const to = folder();
    const moved = transfer({ from: database, to, progress: startOne });
    await expect(moved).rejects.toThrow(/^postgres:.* is served by .*; stop them first/);
    await expect(moved).rejects.toMatchObject({ code: 'invalid_state' });
    expect(ended).toBe('SIGKILL');
    await expect(ConnectorRegistry.open({ dataDir: to, env })).rejects.toThrow(/^only part of a registry/);
  }, 60_000);

  it.each(['to PostgreSQL', 'to a data directory'])(
    'goes on where it was killed %s',
    async (direction) => {
      const CONNECTORS = 8_000;
      const source = folder();
      await filledDirectly(source, CONNECTORS);
      const database = await postgres.database();
      let [from, to] = [source, database];
      if (direction === 'to a data directory') {
        await transfer({ from, to });
        [from, to] = [database, folder()];
      }
      const copied = () => (to === database ? copiedTo(database) : copiedInto(to));
      let kills = 0;
      for (const share of [0.1, 0.5]) {
        const child = spawn(process.execPath, [main, 'migrate', '--from', from, '--to', to], {
          stdio: ['ignore', 'ignore', 'inherit'],
        });
        const exited = once(child, 'exit');
        while (child.exitCode === null && (await copied()) < share * CONNECTORS);
        child.kill('SIGKILL');
        const [, signal] = await exited;
        if (signal === 'SIGKILL') kills += 1;
      }
      expect(kills).toBeGreaterThan(0);
      // What the server was at when its client was killed it still ends.
      const left = `select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
      await expect.poll(() => query(database, left)).toEqual([]);
      const before = await copied();
      expect(before).toBeGreaterThan(0);
      const seen: TransferProgress[] = [];
      const { tables } = await transfer({ from, to, progress: (progress) => seen.push(progress) });
      expect(seen[0]).toMatchObject({ stage: 'copying', done: before });
      expect(tables[0]).toMatchObject({ table: 'connectors', rows: CONNECTORS });
    },
    120_000,
  );
});

/** A transfer that ends after everything is copied, before anything is compared. */
function interrupted(from: string, to: string): Promise<unknown> {
  const halfway = new AbortController();
  const progress = ({ stage }: TransferProgress) => stage === 'comparing' && halfway.abort();
  return transfer({ from, to, signal: halfway.signal, progress });
}

function changeFile(dataDir: string, statement: string): readonly unknown[] {
  rmSync(join(dataDir, 'registry.db.sum'), { force: true });
  const db = new DatabaseSync(join(dataDir, 'registry.db'));
  try {
    return db
      .prepare(statement)
      .all()
      .map((row) => ({ ...row }));
  } finally {
    db.close();
  }
}

async function filledDirectly(dataDir: string, connectors: number): Promise<void> {
  await using registry = await ConnectorRegistry.open({ dataDir, env });
  await registry.createMany(
    Array.from({ length: connectors }, (_, i) => ({
      tenantId: 'acme',
      name: `n${i}`,
      connectorType: 'file' as const,
      provider: 'memory',
    })),
  );
}

async function copiedTo(database: string): Promise<number> {
  const rows = await query(database, 'select count(*)::int as count from connectors').catch(() => []);
  const [row] = rows as readonly { readonly count: number }[];
  return row?.count ?? 0;
}

async function copiedInto(dataDir: string): Promise<number> {
  // Reading the file waits for nothing, and the end of the process that is watched has to be heard of.
  await turn();
  try {
    const db = new DatabaseSync(join(dataDir, 'registry.db'), { readOnly: true });
    try {
      return Number(db.prepare('select count(*) as count from connectors').get()?.['count'] ?? 0);
    } finally {
      db.close();
    }
  } catch {
    // It is not there yet.
    return 0;
  }
}
