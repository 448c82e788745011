import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileConnector } from '../connectors/file/connector.ts';
import { ServerlessConnector } from '../connectors/serverless/connector.ts';
import { VectorConnector } from '../connectors/vector/connector.ts';
import { drivers } from '../drivers.generated.ts';
import { ConnectorRegistry } from './registry.ts';

/** One connector of each driver whose data lie in this process or its data directory. */
const EMBEDDED = [
  { name: 'prices', connector_type: 'vector', provider: 'embedded', vector_dimension: 2 },
  { name: 'disk', connector_type: 'file', provider: 'local' },
  { name: 'scratch', connector_type: 'file', provider: 'memory' },
  { name: 'jobs', connector_type: 'serverless', provider: 'local' },
];
const INSTEAD = { vector: 'qdrant', file: 's3', serverless: 'openfaas' };

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'embedded-'));
});
afterEach(() => rm(dataDir, { recursive: true }));

const open = (embedded?: boolean) =>
  ConnectorRegistry.open({ dataDir, env: {}, ...(embedded !== undefined && { embedded }) });
const refusal = (kind: string) => ({
  code: 'invalid_state',
  message: expect.stringMatching(
    new RegExp(`CONNECTORS_EMBEDDED=false.*; use .*${INSTEAD[kind as keyof typeof INSTEAD]}.* instead`),
  ),
});

it('knows every driver that is not remote', async () => {
  const names: string[] = [];
  for (const [name, load] of Object.entries(drivers)) if (!(await load()).default.remote) names.push(name);
  expect(names.toSorted()).toEqual(
    EMBEDDED.map(({ connector_type: kind, provider }) => `${kind}/${provider}`).toSorted(),
  );
});

describe('where embedded engines are not offered', () => {
  it.each(EMBEDDED)('makes no connector of $connector_type/$provider, for nobody', async (spec) => {
    await using registry = await open(false);
    for (const admin of [true, false])
      await expect(registry.createFromDict('acme', spec, { admin })).rejects.toMatchObject(
        refusal(spec.connector_type),
      );
    expect(await registry.list()).toEqual([]);
  });

  it('shows the others alone in its catalogue, and makes connectors of them', async () => {
    await using registry = await open(false);
    const shown = (await registry.providers()).map((one) => `${one.connector_type}/${one.provider}`);
    expect(shown).toEqual(
      Object.keys(drivers)
        .filter((name) => !EMBEDDED.some((one) => name === `${one.connector_type}/${one.provider}`))
        .toSorted(),
    );
    await registry.forTenant('acme').createFromDict({
      ...EMBEDDED[0],
      provider: 'qdrant',
      config: { endpoint: 'https://example.com' },
    });
  });

  it('uses none of those that are there, however they are reached, and takes none for broken', async () => {
    await fill();
    await using registry = await open(false);
    const [disk, jobs, prices, scratch] = await registry.list();
    for (const files of [disk, scratch]) {
      if (!(files instanceof FileConnector)) throw new Error('it is of another type');
      await expect(files.writeFile('a', Buffer.from('x'))).rejects.toMatchObject(refusal('file'));
      await expect(files.listFiles()).rejects.toMatchObject(refusal('file'));
      await expect(files.connect()).rejects.toMatchObject(refusal('file'));
    }
    if (!(prices instanceof VectorConnector)) throw new Error('it is of another type');
    await expect(prices.search([1, 0])).rejects.toMatchObject(refusal('vector'));
    if (!(jobs instanceof ServerlessConnector)) throw new Error('it is of another type');
    await expect(jobs.listFunctions()).rejects.toMatchObject(refusal('serverless'));
    await expect(jobs.invoke('echo', {})).rejects.toMatchObject(refusal('serverless'));
    await expect(jobs.invoke('echo', {}, { async: true })).rejects.toMatchObject(refusal('serverless'));
    for (const connector of await registry.list()) {
      const before = connector.status;
      for (let check = 0; check < 4; check++)
        expect(await connector.healthCheck()).toMatchObject({ ok: false });
      expect(connector).toMatchObject({ status: before, errorCount: 0 });
    }
  });

  it('does not start to keep large results in one of them', async () => {
    const [, disk] = await fill();
    const opening = ConnectorRegistry.open({ dataDir, env: {}, embedded: false, resultsConnector: disk });
    await expect(opening).rejects.toMatchObject(refusal('file'));
  });

  it('still shows those that are there and removes them with all that they stored', async () => {
    const ids = await fill();
    await using registry = await open(false);
    for (const connectorId of ids) {
      expect(await registry.get(connectorId)).toMatchObject({ connectorId });
      expect(await registry.delete(connectorId)).toBe(true);
    }
    const kept = await readdir(join(dataDir, 'tenants'), { recursive: true });
    expect(kept.filter((path) => ids.includes(basename(path)))).toEqual([]);
  });
});

/** A data directory with something of each; the ids. */
async function fill(): Promise<readonly string[]> {
  await using registry = await open();
  const acme = registry.forTenant('acme');
  const ids: string[] = [];
  for (const spec of EMBEDDED) {
    const connector = await acme.createFromDict(spec);
    ids.push(connector.connectorId);
    if (connector instanceof FileConnector) await connector.writeFile('a', Buffer.from('x'));
    if (connector instanceof VectorConnector) await connector.upsertVectors([{ id: 'a', values: [1, 0] }]);
    if (connector instanceof ServerlessConnector)
      await connector.deployFunction('echo', { code: 'export const handler = (payload) => payload;' });
  }
  return ids;
}
