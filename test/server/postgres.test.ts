import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConnectorRegistry } from '../../src/index.ts';
import { noPostgres } from '../../src/testing/postgres.fixture.ts';
import { usePostgres } from '../../src/testing/postgres-suite.fixture.ts';
import { openServer } from './harness.ts';

const KEY = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64') };

describe.skipIf(noPostgres !== undefined)('a registry on PostgreSQL', () => {
  const folder = mkdtempSync(join(tmpdir(), 'on-postgres-'));
  const postgres = usePostgres();
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('does what the quick start does, and has all of it when it is opened again', async () => {
    const options = { dataDir: join(folder, 'walk'), databaseUrl: await postgres.database(), env: {} };
    let requestId: string;
    {
      await using registry = await ConnectorRegistry.open(options);
      const tenant = registry.forTenant('acme');
      const files = await tenant.createFileConnector({ name: 'files' });
      await files.writeFile('a.md', new TextEncoder().encode('kept'));
      const vectors = await tenant.createVectorConnector({ name: 'passages', vectorDimension: 2 });
      await vectors.upsertVectors([{ id: 'one', values: [1, 0], text: 'first' }]);
      const functions = await tenant.createServerlessConnector({ name: 'functions' });
      const code = 'export const handler = ({ text }) => ({ words: text.split(" ").length });';
      await functions.deployFunction('count', { code });
      expect(await functions.invoke('count', { text: 'a b c' })).toMatchObject({ result: { words: 3 } });
      ({ requestId } = await functions.invoke('count', { text: 'a b' }, { async: true }));
      const waited = await functions.waitForResult(requestId, { timeoutSeconds: 10 });
      expect(waited).toMatchObject({ status: 'completed', result: { words: 2 } });
    }
    await using again = await ConnectorRegistry.open(options);
    const stored = await again.forTenant('acme').list();
    expect(stored.map(({ name }) => name)).toEqual(['files', 'functions', 'passages']);
    expect(await again.forTenant('other').list()).toEqual([]);
  }, 60_000);

  it('answers 503 with Retry-After while the database is down, and serves again after it', async (test) => {
    const { own } = postgres;
    if (!own) return test.skip('the server of CONNECTORS_TEST_PG_URL is not ours to kill');
    const server = await openServer({ databaseUrl: await postgres.database(), env: KEY });
    expect(await server.ask('GET /stats')).toMatchObject({ status: 200 });
    await own.kill();
    for (const path of ['GET /stats', 'GET //readyz', 'GET /connectors?tenant_id=acme'])
      expect(await server.ask(path)).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    await own.start();
    expect(await server.ask('GET //readyz')).toMatchObject({ status: 200 });
    expect(await server.ask('GET /stats')).toMatchObject({ status: 200 });
  }, 60_000);
});
