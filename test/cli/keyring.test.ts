import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { drivers } from '../../src/drivers.generated.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { startServer } from '../../src/server/serve.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

const json = ({ stdout }: Outcome): Record<string, unknown> => JSON.parse(stdout) as Record<string, unknown>;

let folder: string;
let dataDir: string;
let run: ReturnType<typeof typing>;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-keyring-'));
  dataDir = join(folder, 'data');
  run = typing({ env: { CONNECTORS_DATA_DIR: dataDir, CONNECTORS_TENANT: 'acme' } });
});
afterEach(() => rm(folder, { recursive: true }));

/** Connectors with one credential each; their ids. */
async function store(count: number): Promise<readonly string[]> {
  await using registry = await ConnectorRegistry.open({ dataDir, drivers, env: {} });
  return await registry.createMany(
    Array.from({ length: count }, (_, i) => ({
      tenantId: 'acme',
      name: `share-${i}`,
      connectorType: 'file' as const,
      provider: 'webdav',
      config: { endpoint: 'https://dav.example.com', credentials: { token: `secret-${i}` } },
    })),
  );
}

async function keys(): Promise<readonly Record<string, unknown>[]> {
  return json(await run('keyring list --json'))['keys'] as Record<string, unknown>[];
}

describe('on one machine', () => {
  it('a key is added, made current, everything is sealed with it, and the old one is dropped', async () => {
    await store(1_234);
    const [old] = await keys();
    const added = await run('keyring add');
    const id = added.stdout.trim();
    expect(added).toMatchObject({ code: 0, stderr: expect.stringContaining(`keyring promote ${id}`) });
    expect(await keys()).toEqual([
      { ...old, current: true, credentials: 1_234 },
      { ...old, key_id: id, current: false, credentials: 0 },
    ]);
    expect(await run(`keyring promote ${id}`)).toMatchObject({ code: 0, stdout: `${id}\n` });
    const early = await run(`keyring drop ${String(old?.['key_id'])}`);
    expect(early).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('1,234 credentials need master key'),
    });
    expect(await run('keyring rotate')).toEqual({
      code: 0,
      stdout: `sealed 1,234 credentials anew with master key ${id}; 0 remain\n`,
      stderr: '',
    });
    expect(json(await run('keyring rotate --json'))).toMatchObject({ key_id: id, resealed: 0, remaining: 0 });
    expect((await run(`keyring drop ${String(old?.['key_id'])}`)).code).toBe(0);
    expect(await keys()).toEqual([{ ...old, key_id: id, current: true, credentials: 1_234 }]);
    expect((await run('keyring list')).stdout).toMatch(
      new RegExp(`^KEY +CURRENT +CREDENTIALS +CURRENT ON +MISSING ON\n${id} +yes +1,234 +- +-\n$`),
    );
  });

  it('what does not open is named, and the end says that it still needs the old key', async () => {
    const [torn = ''] = await store(3);
    const id = (await run('keyring add')).stdout.trim();
    await run(`keyring promote ${id}`);
    const db = new DatabaseSync(join(dataDir, 'registry.db'));
    db.exec(`update secrets set sealed = sealed || 'A' where connector_id = '${torn}'`);
    db.close();
    await rm(join(dataDir, 'registry.db.sum'));
    const { code, stdout, stderr } = await run('keyring rotate');
    expect(stdout).toBe(
      `sealed 2 credentials anew with master key ${id}; 1 remain\ndoes not open: a credential of connector ${torn}\n`,
    );
    expect(stderr).toMatch(/^error: 1 credentials still need an old master key: 1 of them do not open/);
    expect(code).toBe(1);
  });

  it('the current key is not dropped, and keys of the environment are not looked for in a file', async () => {
    await store(1);
    const [current] = await keys();
    const id = String(current?.['key_id']);
    await run('keyring add');
    const before = await readFile(join(dataDir, 'master.key'), 'utf8');
    expect((await run(`keyring drop ${id}`)).code).toBe(1);
    const env = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('hex') };
    for (const command of ['add', `promote ${id}`, `drop ${id}`])
      expect(await run(`keyring ${command}`, { env })).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('the master keys are in CONNECTORS_MASTER_KEY'),
      });
    expect(await run('keyring add --url http://127.0.0.1:1')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('leave out --url'),
    });
    expect(await readFile(join(dataDir, 'master.key'), 'utf8')).toBe(before);
  });
});

it('a running server is asked to seal everything anew, and then the old key is dropped beside it', async () => {
  await store(1_100);
  const [old] = await keys();
  const id = (await run('keyring add')).stdout.trim();
  await run(`keyring promote ${id}`);
  await using registry = await ConnectorRegistry.open({ dataDir, drivers, env: {} });
  const server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
  const { key } = await registry.keys.create({ tenantId: null, role: 'admin' });
  const env = { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key };
  expect(await run('keyring rotate', { env })).toMatchObject({
    code: 0,
    stdout: `sealed 1,100 credentials anew with master key ${id}; 0 remain\n`,
  });
  expect((await run(`keyring drop ${String(old?.['key_id'])}`, { env })).code).toBe(0);
  await server.close();
  await registry.close();
  expect(await keys()).toEqual([{ ...old, key_id: id, current: true, credentials: 1_100 }]);
});

it('a key is not dropped on the word of a server that has another registry', async () => {
  await store(3);
  const [needed] = await keys();
  const id = (await run('keyring add')).stdout.trim();
  await run(`keyring promote ${id}`);
  const file = join(dataDir, 'master.key');
  const before = await readFile(file, 'utf8');
  await using other = await ConnectorRegistry.open({ drivers, env: {} });
  const server = await startServer({ registry: other, port: 0, logger: serverLogger({ level: 'silent' }) });
  onTestFinished(() => server.close());
  const { key } = await other.keys.create({ tenantId: null, role: 'admin' });
  const env = { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key };
  expect(await run(`keyring drop ${String(needed?.['key_id'])}`, { env })).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/seals with [0-9a-f]{16}: it is another one/),
  });
  expect(await readFile(file, 'utf8')).toBe(before);
});

it('a key that no server knows is not dropped, also where the server seals with the same current one', async () => {
  await store(1);
  const current = (await readFile(join(dataDir, 'master.key'), 'utf8')).trim().split('\n').at(-1) ?? '';
  const added = (await run('keyring add')).stdout.trim();
  const file = join(dataDir, 'master.key');
  const before = await readFile(file, 'utf8');
  const env = { CONNECTORS_MASTER_KEY: current };
  await using other = await ConnectorRegistry.open({ drivers, env });
  const server = await startServer({ registry: other, port: 0, logger: serverLogger({ level: 'silent' }) });
  onTestFinished(() => server.close());
  const { key } = await other.keys.create({ tenantId: null, role: 'admin' });
  const asked = { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key };
  expect(await run(`keyring drop ${added}`, { env: asked })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`knows no master key ${added}`),
  });
  expect(await readFile(file, 'utf8')).toBe(before);
});
