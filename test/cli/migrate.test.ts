import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConnectorRegistry } from '../../src/index.ts';
import { transfer, type TransferProgress } from '../../src/store/transfer.ts';
import { noPostgres, query, startPostgres, type TestPostgres } from '../../src/testing/postgres.fixture.ts';

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
  const { requestId } = await functions.invoke('echo', { text: 'kept' }, { async: true });
  await functions.waitForResult(requestId, { timeoutSeconds: 20 });
  expect(made).toHaveLength(connectors);
  return { key, requestId };
}

/** Everything still works where it was moved to. */
async function expectWhole(
  place: string,
  { key, requestId }: Awaited<ReturnType<typeof filled>>,
): Promise<void> {
  {
    await using registry = await ConnectorRegistry.open(optionsOf(place));
    expect((await registry.keys.verify(key)).tenantId).toBe('tenant-1');
    expect((await registry.getStatistics()).toDict()).toMatchObject({ total_connectors: 31 });
    const functions = await registry.getByName('tenant-1', 'functions');
    expect(
      await (functions as never as { getResult(id: string): Promise<unknown> }).getResult(requestId),
    ).toMatchObject({
      status: 'completed',
      result: { text: 'kept' },
    });
    const named = await registry.getByName('tenant-0', 'Ω “quoted” \\u0000 \u{1F600}');
    // Its credential opens: only then is a change of something else accepted.
    await registry.update(named.connectorId, { config: { timeoutSeconds: 5 } });
  }
}

describe('moving a registry', () => {
  it('from one data directory to another keeps all of it, and leaves the source as it was', async () => {
    const [from, to] = [folder(), folder()];
    const known = await filled(from);
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
    await expectWhole(to, known);
    await expectWhole(from, known);
  }, 60_000);

  it('is refused where something else is, where nothing is, and while a process is at it', async () => {
    const [from, to] = [folder(), folder()];
    await filled(from);
    await filled(to);
    await expect(transfer({ from, to })).rejects.toThrow(/is not empty: it has connectors$/);
    await expect(transfer({ from: folder(), to: folder() })).rejects.toMatchObject({ code: 'not_found' });
    await expect(transfer({ from, to: `sqlite:${from}` })).rejects.toThrow(
      /is where the registry is already/,
    );
    await expect(transfer({ from, to: 'mysql://x/y' })).rejects.toMatchObject({ code: 'invalid_argument' });
    await using registry = await ConnectorRegistry.open({ dataDir: from, env });
    expect(await registry.list()).toHaveLength(31);
    await expect(transfer({ from, to: folder() })).rejects.toThrow(/is in use by process/);
  }, 60_000);
});

describe.skipIf(noPostgres !== undefined)('moving a registry to PostgreSQL and back', () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres();
  }, 60_000);
  afterAll(() => postgres.close());

  it('keeps all of it', async () => {
    const [from, back] = [folder(), folder()];
    const database = await postgres.database();
    const known = await filled(from);
    const there = await transfer({ from, to: database });
    expect(there.to).toMatch(/^postgres:\/\/127\.0\.0\.1:\d+\/test_/);
    const again = await transfer({ from: database, to: back });
    expect(again.tables).toEqual(there.tables);
    await expectWhole(back, known);
    await expectWhole(database, known);
    // The directory where the functions are is not the one that the database was opened with.
    expect(again.keyIds).toHaveLength(1);
  }, 60_000);

  it('says which table is not the same', async () => {
    const from = folder();
    await filled(from);
    const database = await postgres.database();
    const halfway = new AbortController();
    const progress = ({ stage }: TransferProgress) => stage === 'comparing' && halfway.abort();
    await expect(transfer({ from, to: database, signal: halfway.signal, progress })).rejects.toMatchObject({
      code: 'cancelled',
    });
    await query(
      database,
      `update secrets set sealed = sealed || 'x' where connector_id = (select max(connector_id) from secrets)`,
    );
    await expect(transfer({ from, to: database })).rejects.toThrow(
      /^secrets: 30 rows in .* and 30 in .* are not the same/,
    );
    await expect(transfer({ from: folder(), to: database })).rejects.toMatchObject({ code: 'not_found' });
    const other = folder();
    await filled(other);
    await expect(transfer({ from: other, to: database })).rejects.toThrow(
      /holds part of .*; go on with that/,
    );
  }, 60_000);

  it('is refused while a server is at the database', async () => {
    const database = await postgres.database();
    await using registry = await ConnectorRegistry.open({ databaseUrl: database, dataDir: folder(), env });
    expect(await registry.list()).toEqual([]);
    await expect(transfer({ from: database, to: folder() })).rejects.toThrow(
      /is served by .*; stop them first/,
    );
  });

  it('goes on where it was killed, wherever that is', async () => {
    const from = folder();
    await filledDirectly(from, 5_000);
    const database = await postgres.database();
    const run = () =>
      spawn(process.execPath, [main, 'migrate', '--from', from, '--to', database, '--json'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    let kills = 0;
    for (const share of [0.1, 0.5, 0.9]) {
      const child = run();
      const exited = once(child, 'exit');
      while (child.exitCode === null && (await copiedTo(database)) < share * 5_000);
      child.kill('SIGKILL');
      const [, signal] = await exited;
      if (signal === 'SIGKILL') kills += 1;
    }
    expect(kills).toBeGreaterThan(0);
    const last = run();
    let text = '';
    for await (const chunk of last.stdout) text += String(chunk);
    expect(JSON.parse(text)).toMatchObject({
      tables: [{ table: 'connectors', rows: 5_000 }, {}, {}, {}, {}],
    });
  }, 120_000);
});

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
