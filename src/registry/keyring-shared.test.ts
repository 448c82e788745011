import { randomBytes } from 'node:crypto';
import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../contract/clock.ts';
import { keyRing } from '../secrets/key-ring.ts';
import { SqlStore } from '../store/sql-store.ts';
import type { Store } from '../store/store.ts';
import { testClock } from '../testing/clock.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { adoptKeyring } from './keyring.ts';
import { ConnectorRegistry } from './registry.ts';
import { scriptedDriver } from './scripted-driver.fixture.ts';

const [OLD, NEW] = [newKey(), newKey()];

function newKey() {
  const text = randomBytes(32).toString('base64');
  return { text, id: keyRing([text], 'the test').current.id };
}

describe.skipIf(noPostgres !== undefined)('the master keys of servers on one database', () => {
  const postgres = usePostgres();
  let folder: string;
  const opened: ConnectorRegistry[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keyring-shared-'));
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((registry) => registry.close()));
    await rm(folder, { recursive: true, force: true });
  });

  async function open(
    databaseUrl: string,
    keys: readonly { readonly text: string }[],
    dataDir?: string,
  ): Promise<ConnectorRegistry> {
    const env = keys.length > 0 ? { CONNECTORS_MASTER_KEY: keys.map(({ text }) => text).join(',') } : {};
    const { drivers } = scriptedDriver({ remote: true });
    const registry = await ConnectorRegistry.open({ databaseUrl, dataDir, env, drivers });
    opened.push(registry);
    return registry;
  }

  const specs = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      tenantId: 'acme',
      name: `docs-${i}`,
      connectorType: 'vector' as const,
      provider: 'scripted',
      vectorDimension: 3,
      config: { credentials: { api_key: `canary-${i}` } },
    }));

  it('are those of the first where several make one at once: the others are refused and leave none behind', async () => {
    for (let round = 0; round < 4; round++) {
      const url = await postgres.database();
      const dirs = ['a', 'b', 'c'].map((name) => join(folder, `${round}${name}`));
      const started = await Promise.allSettled(dirs.map((dir) => open(url, [], dir)));
      const won = started.findIndex(({ status }) => status === 'fulfilled');
      for (const [i, one] of started.entries()) {
        if (i === won) continue;
        expect(one).toMatchObject({
          reason: { code: 'invalid_state', message: expect.stringMatching(/master key [0-9a-f]{16}/) },
        });
        expect(await readdir(dirs[i] ?? '')).not.toContain('master.key');
        await copyFile(join(dirs[won] ?? '', 'master.key'), join(dirs[i] ?? '', 'master.key'));
        await open(url, [], dirs[i]);
      }
    }
  });

  it('are named to a server that has none, which makes none', async () => {
    const url = await postgres.database();
    await open(url, [OLD]);
    const dir = join(folder, 'late');
    await expect(open(url, [], dir)).rejects.toThrow(`belongs to master key ${OLD.id}`);
    expect(await readdir(dir)).not.toContain('master.key');
    await expect(open(url, [NEW])).rejects.toThrow(`master key ${OLD.id}, which is not in the key ring`);
    await expect(open(url, [])).rejects.toThrow(/needs CONNECTORS_MASTER_KEY/);
  });

  it('are refused where a server could not open what another one seals', async () => {
    const url = await postgres.database();
    const first = await open(url, [OLD]);
    const [server] = (await first.keyring.list()).flatMap(({ currentOn }) => currentOn);
    await expect(open(url, [NEW, OLD])).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining(`server ${server} has no master key ${NEW.id}`),
      details: { serverId: server, keyId: NEW.id },
    });
    const second = await open(url, [OLD, NEW]);
    await first.close();
    await open(url, [NEW, OLD]);
    await second.close();
    await expect(open(url, [OLD])).rejects.toMatchObject({ details: { missingKeyId: NEW.id } });
  });

  it('are refused as well where that one has not said yet that it serves, after the database was away', async () => {
    const url = await postgres.database();
    const first = await open(url, [OLD]);
    await query(url, 'update servers set seen_at = seen_at - 20000');
    await expect(open(url, [NEW, OLD])).rejects.toThrow(`has no master key ${NEW.id}`);
    await first.close();
    const [behind, ahead] = [await open(url, [OLD, NEW]), await open(url, [NEW, OLD])];
    await query(url, `update servers set seen_at = seen_at - 20000 where key_ids like '${OLD.id}%'`);
    await expect(ahead.keyring.rotate({ limit: 1 })).rejects.toThrow(`seals with master key ${OLD.id}`);
    await behind.close();
  }, 20_000);

  it('are no matter of a server that does not come back', async () => {
    const clock = testClock();
    const peers = { servers: async () => [], silent: async () => [{ serverId: 'gone', keyIds: [OLD.id] }] };
    const setFact = vi.fn<Store['setFact']>(async () => {});
    const facts = { setFact, getFact: async () => OLD.id, listKeyIdsInUse: async () => [] };
    const store = { peers, ...facts } as unknown as Store;
    const adopted = adoptKeyring(keyRing([NEW.text, OLD.text], 'the test'), store, clock);
    await clock.advance(14_000);
    expect(setFact).not.toHaveBeenCalled();
    await clock.advance(1_000);
    await adopted;
    expect(setFact).toHaveBeenCalledWith(expect.any(String), NEW.id);
  });

  it('are looked at again once a server has joined: one that came and went since may have sealed with another', async () => {
    const url = await postgres.database();
    const between = await open(url, [NEW, OLD]);
    await between.createMany(specs(1));
    await between.close();
    const store = await SqlStore.open({ databaseUrl: url });
    const ring = keyRing([OLD.text], 'the test');
    await store.peers?.join({ keyIds: ring.ids });
    const adopted = adoptKeyring(ring, store, systemClock);
    await expect(adopted).rejects.toMatchObject({ code: 'invalid_state', details: { missingKeyId: NEW.id } });
    await store.close();
  });

  it('are changed while both serve, once both seal with the new one, by either or both', async () => {
    const url = await postgres.database();
    const [a, b] = [await open(url, [OLD, NEW]), await open(url, [OLD, NEW])];
    const ids = await a.createMany(specs(230));
    await a.close();
    const c = await open(url, [NEW, OLD]);
    const keys = await c.keyring.list();
    expect(keys.map(({ keyId, credentials }) => [keyId, credentials])).toEqual([
      [NEW.id, 0],
      [OLD.id, 230],
    ]);
    const [behind] = keys[1]?.currentOn ?? [];
    await expect(c.keyring.rotate({ limit: 100 })).rejects.toThrow(
      `server ${behind} seals with master key ${OLD.id} and not with ${NEW.id}`,
    );
    await b.close();
    const d = await open(url, [NEW, OLD]);
    const done = await Promise.all([c, d].map(({ keyring }) => keyring.rotate({ limit: 1_000 })));
    expect(done[0] && done[1] && done[0].resealed + done[1].resealed).toBe(230);
    expect(await c.keyring.rotate({ limit: 1_000 })).toMatchObject({ resealed: 0, remaining: 0 });
    await Promise.all([c.close(), d.close()]);
    const last = await open(url, [NEW]);
    for (const id of ids) await (await last.get(id)).connect();
    expect((await last.keyring.list()).map(({ keyId }) => keyId)).toEqual([NEW.id]);
  }, 30_000);
});
