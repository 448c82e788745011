import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testClock } from '../testing/clock.ts';
import { ConnectorRegistry } from './registry.ts';
import { scriptedDriver } from './scripted-driver.fixture.ts';

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'connector-registry-test-'));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const VECTORS = { tenantId: 'acme', name: 'docs', provider: 'scripted', vectorDimension: 3 };
const KEYS = { one: Buffer.alloc(32, 1).toString('base64'), two: Buffer.alloc(32, 2).toString('base64') };

function open(env: Record<string, string> = {}, seen = scriptedDriver()) {
  return ConnectorRegistry.open({ dataDir, env, drivers: seen.drivers });
}

describe('opening a data directory', () => {
  it('makes a master key that its owner alone may read, and finds everything again', async () => {
    await using first = await open();
    await first.createVectorConnector({ ...VECTORS, config: { credentials: { api_key: 'canary' } } });
    await (await first.getByName('acme', 'docs')).connect();
    await first.close();
    expect((await stat(join(dataDir, 'master.key'))).mode & 0o777).toBe(0o600);

    const scripted = scriptedDriver();
    await using second = await open({}, scripted);
    const connector = await second.getByName('acme', 'docs');
    expect([connector.status, connector.connectionCount]).toEqual(['disconnected', 1]);
    await connector.connect();
    expect(scripted.seen.opened[0]?.options).toMatchObject({ api_key: 'canary' });
  });

  it('holds no credential in clear', async () => {
    await using registry = await open();
    await registry.createVectorConnector({ ...VECTORS, config: { credentials: { api_key: 'canary-51d2' } } });
    await registry.close();
    expect((await readFile(join(dataDir, 'registry.db'))).includes('canary-51d2')).toBe(false);
  });

  it('is refused to a second registry, which is told who has it', async () => {
    await using first = await open();
    await first.announce('http://127.0.0.1:7420');
    const refusal = await open().catch((error: unknown) => error);
    expect(refusal).toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining(`in use by process ${process.pid} (http://127.0.0.1:7420)`),
    });
  });

  it('is refused with another master key, naming the one that is needed', async () => {
    const first = await open({ CONNECTORS_MASTER_KEY: KEYS.one });
    await first.createVectorConnector({ ...VECTORS, config: { credentials: { api_key: 'canary' } } });
    await first.close();
    await expect(open({ CONNECTORS_MASTER_KEY: KEYS.two })).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringMatching(/sealed with master key [0-9a-f]{16}, which is not in the key ring/),
    });
    // The refusal let go of the directory, and a ring that holds both keys opens it.
    await using both = await open({ CONNECTORS_MASTER_KEY: `${KEYS.two},${KEYS.one}` });
    await (await both.getByName('acme', 'docs')).connect();
  });

  it('is refused with another master key although nothing is sealed yet', async () => {
    await (await open({ CONNECTORS_MASTER_KEY: KEYS.one })).close();
    await expect(open({ CONNECTORS_MASTER_KEY: KEYS.two })).rejects.toMatchObject({ code: 'invalid_state' });
  });

  it('is refused when its database is damaged, and named', async () => {
    const first = await open();
    await first.createVectorConnector(VECTORS);
    await first.close();
    const file = join(dataDir, 'registry.db');
    const bytes = await readFile(file);
    bytes.fill(0xa5, 100, 5_000);
    await writeFile(file, bytes);
    await expect(open()).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('registry.db'),
    });
  });

  it('keeps what was stored for a connector that its database does not know for a week, and then removes it', async () => {
    const first = await open();
    const { connectorId } = await first.createVectorConnector(VECTORS);
    await first.close();
    const folder = join(dataDir, 'tenants', 'acme', 'vectors');
    for (const id of [connectorId, 'left-over', 'not-known-yet'])
      await mkdir(join(folder, id), { recursive: true });
    // Closing waits for the sweep.
    const reopen = async () => (await open()).close();
    const missing = (id: string) => join(folder, `${id}.missing`);
    const age = async (id: string, days: number) => {
      const then = new Date(Date.now() - days * 86_400_000);
      await utimes(missing(id), then, then);
    };
    const folders = async () =>
      (await readdir(folder, { withFileTypes: true }))
        .filter((one) => one.isDirectory())
        .map(({ name }) => name);
    await reopen();
    await age('left-over', 6.9);
    await age('not-known-yet', 6.9);
    await reopen();
    expect(await folders()).toEqual([connectorId, 'left-over', 'not-known-yet'].toSorted());
    // The newer database that knows one of them is back.
    const again = await open();
    await again.createVectorConnector({ ...VECTORS, name: 'later', connectorId: 'not-known-yet' });
    await again.close();
    await reopen();
    await expect(stat(missing('not-known-yet'))).rejects.toThrow(/ENOENT/);
    await age('left-over', 7.1);
    await reopen();
    expect((await readdir(folder)).toSorted()).toEqual([connectorId, 'not-known-yet'].toSorted());
  });

  it('looks for that once a day', async () => {
    const clock = testClock();
    await using registry = await ConnectorRegistry.open({ dataDir, env: {}, clock });
    const folder = join(dataDir, 'tenants', 'acme', 'vectors');
    await registry.createVectorConnector({ ...VECTORS, provider: 'embedded' });
    await mkdir(join(folder, 'left-over'), { recursive: true });
    await clock.advance(86_400_000);
    await expect.poll(() => readdir(folder)).toContain('left-over.missing');
  });

  it('ends the removal of a connector that was cut off', async () => {
    await (await open()).close();
    await mkdir(join(dataDir, 'removing', 'half', 'vectors'), { recursive: true });
    await (await open()).close();
    expect(await readdir(join(dataDir, 'removing'))).toEqual([]);
  });
});
