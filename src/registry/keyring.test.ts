import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { keyRing } from '../secrets/key-ring.ts';
import { checkValue } from '../store/check-value.ts';
import { ConnectorRegistry } from './registry.ts';
import { scriptedDriver } from './scripted-driver.fixture.ts';

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'keyring-'));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const [OLD, NEW] = [newKey(), newKey()];

function newKey() {
  const text = randomBytes(32).toString('base64');
  return { text, id: keyRing([text], 'the test').current.id };
}

function open(keys: readonly { readonly text: string }[], { seen, drivers } = scriptedDriver()) {
  const env = keys.length > 0 ? { CONNECTORS_MASTER_KEY: keys.map(({ text }) => text).join(',') } : {};
  return ConnectorRegistry.open({ dataDir, env, drivers }).then((registry) => ({ registry, seen }));
}

const spec = (i: number) => ({
  tenantId: `tenant-${i % 3}`,
  name: `docs-${i}`,
  connectorType: 'vector' as const,
  provider: 'scripted',
  vectorDimension: 3,
  config: { credentials: { api_key: `canary-${i}` } },
});

/** Connectors whose credentials the old key sealed. */
async function sealedWithOld(count: number): Promise<readonly string[]> {
  const { registry } = await open([OLD]);
  const ids = await registry.createMany(Array.from({ length: count }, (_, i) => spec(i)));
  await registry.close();
  return ids;
}

async function expectOpens({ registry, seen }: Awaited<ReturnType<typeof open>>, ids: readonly string[]) {
  for (const [i, id] of ids.entries()) {
    await (await registry.get(id)).connect();
    expect(seen.opened.at(-1)?.options).toMatchObject({ api_key: `canary-${i}` });
  }
}

it('seals everything anew, step by step, until the old key is not needed', async () => {
  const ids = await sealedWithOld(250);
  const both = await open([NEW, OLD]);
  const uses = async () =>
    (await both.registry.keyring.list()).map(({ keyId, isCurrent, credentials }) => [
      keyId,
      isCurrent,
      credentials,
    ]);
  expect(await uses()).toEqual([
    [NEW.id, true, 0],
    [OLD.id, false, 250],
  ]);
  const first = await both.registry.keyring.rotate({ limit: 120 });
  expect(first).toMatchObject({ keyId: NEW.id, resealed: 120, remaining: 130, unreadable: 0 });
  expect(await uses()).toEqual([
    [NEW.id, true, 120],
    [OLD.id, false, 130],
  ]);
  await expectOpens(both, ids.slice(0, 5));
  const second = await both.registry.keyring.rotate({ limit: 120, after: first.next });
  expect(second).toMatchObject({ resealed: 120, remaining: 10 });
  const third = await both.registry.keyring.rotate({ limit: 120, after: second.next });
  expect(third).toMatchObject({ resealed: 10, remaining: 0, next: undefined });
  await both.registry.close();
  const alone = await open([NEW]);
  await expectOpens(alone, ids);
  await alone.registry.close();
});

it('goes on where it was cut off, without being told where that was', async () => {
  const ids = await sealedWithOld(30);
  const both = await open([NEW, OLD]);
  await both.registry.keyring.rotate({ limit: 20 });
  expect(await both.registry.keyring.rotate({ limit: 20 })).toMatchObject({ resealed: 10, remaining: 0 });
  expect(await both.registry.keyring.rotate({ limit: 20 })).toMatchObject({ resealed: 0, remaining: 0 });
  await expectOpens(both, ids);
  await both.registry.close();
});

it('leaves credentials that do not open, names their connectors, and goes on with the others', async () => {
  const ids = await sealedWithOld(6);
  const db = new DatabaseSync(join(dataDir, 'registry.db'));
  // One row whose content changed, and one that is whole but holds what was sealed for another connector.
  db.exec(`update secrets set sealed = sealed || 'A' where connector_id = '${ids[1]}'`);
  const other = db.prepare('select sealed from secrets where connector_id = ?').get(ids[5] ?? '');
  const sealed = String(other?.['sealed']);
  db.prepare('update secrets set sealed = ?, secret_check = ? where connector_id = ?').run(
    sealed,
    checkValue(ids[4] ?? '', 'tenant-1', 'api_key', OLD.id, sealed),
    ids[4] ?? '',
  );
  db.close();
  await rm(join(dataDir, 'registry.db.sum'), { force: true });
  const { registry } = await open([NEW, OLD]);
  const done = await registry.keyring.rotate({ limit: 100 });
  expect(done).toMatchObject({ resealed: 4, remaining: 2, unreadable: 2, next: undefined });
  expect(new Set(done.unreadableConnectors)).toEqual(new Set([ids[1], ids[4]]));
  await registry.close();
  // What is left still needs the old key.
  await expect(open([NEW])).rejects.toThrow(`sealed with master key ${OLD.id}`);
});

it('does not bring an old key back with a credential that an update keeps', async () => {
  const [id = ''] = await sealedWithOld(1);
  const { registry } = await open([NEW, OLD]);
  await registry.update(id, { config: { credentials: { api_key: '***' }, timeoutSeconds: 7 } });
  expect((await registry.keyring.list()).map(({ credentials }) => credentials)).toEqual([1, 0]);
  await registry.close();
  const alone = await open([NEW]);
  await expectOpens(alone, [id]);
  await alone.registry.close();
});

it('stops between two batches where the caller has gone', async () => {
  await sealedWithOld(3);
  const { registry } = await open([NEW, OLD]);
  const rotating = registry.keyring.rotate({ limit: 100, signal: AbortSignal.abort() });
  await expect(rotating).rejects.toMatchObject({ code: 'cancelled' });
  expect((await registry.keyring.list()).map(({ credentials }) => credentials)).toEqual([0, 3]);
  await registry.close();
});

it('makes no key for a directory whose key is lost, and says which one that was', async () => {
  await (await open([])).registry.close();
  const text = await readFile(join(dataDir, 'master.key'), 'utf8');
  await rm(join(dataDir, 'master.key'));
  await expect(open([])).rejects.toThrow(
    /belongs to master key [0-9a-f]{16}, and there is no master key file/,
  );
  expect(await readdir(dataDir)).not.toContain('master.key');
  await writeFile(join(dataDir, 'master.key'), text, { mode: 0o600 });
  await (await open([])).registry.close();
});
