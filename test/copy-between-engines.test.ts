import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startChroma, type ChromaServer } from '../src/drivers/vector/chroma/chroma.fixture.ts';
import { startPostgres, type Postgres } from '../src/drivers/vector/pgvector/pgvector.fixture.ts';
import { ConnectorRegistry, type VectorConnector } from '../src/index.ts';
import { numbers } from '../src/testing/vector-suite.ts';
import { typing } from './cli/terminal.fixture.ts';

const RECORDS = 10_000;
const DIMENSION = 16;
/** The way that the collection goes, engine by engine. */
const WAY = ['embedded', 'pgvector', 'chroma', 'back'];

const scratch = mkdtempSync(join(tmpdir(), 'copy-'));
const dataDir = join(scratch, 'data');
let postgres: Postgres | undefined;
let chroma: ChromaServer | undefined;

beforeAll(async () => {
  [postgres, chroma] = await Promise.all([startPostgres(), startChroma()]);
  await using registry = await ConnectorRegistry.open({ dataDir });
  const spec = { tenantId: 'acme', vectorDimension: DIMENSION };
  const start = await registry.createVectorConnector({ ...spec, name: 'embedded' });
  const records = numbers(RECORDS, DIMENSION).map((values, i) => ({
    id: `record ${i}`,
    values,
    metadata: { group: i % 100, tags: [`t${i % 7}`, 'all'], nested: { even: i % 2 === 0 }, 'a.b': null },
    text: `Record ${i} – ünïcode`,
  }));
  await start.upsertVectors(records);
  await registry.createVectorConnector({
    ...{ ...spec, name: 'pgvector', provider: 'pgvector' },
    config: { endpoint: postgres.url, options: { ssl: 'disable' } },
  });
  await registry.createVectorConnector({
    ...{ ...spec, name: 'chroma', provider: 'chroma' },
    config: { endpoint: chroma.url },
  });
  await registry.createVectorConnector({ ...spec, name: 'back' });
}, 60_000);

afterAll(async () => {
  await chroma?.close();
  await postgres?.close();
  rmSync(scratch, { recursive: true, force: true });
});

it('moves 10,000 records from engine to engine and back, with equal answers', async () => {
  const run = typing({
    env: {
      CONNECTORS_DATA_DIR: dataDir,
      CONNECTORS_TENANT: 'acme',
      CONNECTORS_STATE_DIR: join(scratch, 'state'),
    },
  });
  for (const [i, from] of WAY.slice(0, -1).entries()) {
    const { code, stderr } = await run(`vectors copy ${from} ${WAY[i + 1]}`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  }
  await using registry = await ConnectorRegistry.open({ dataDir });
  const at = (name: string) => registry.getByName('acme', name) as Promise<VectorConnector>;
  const [start, end] = [await at('embedded'), await at('back')];
  expect(await end.countVectors()).toBe(RECORDS);
  const ids = Array.from({ length: RECORDS }, (_, i) => `record ${i}`);
  expect(await end.fetchVectors(ids)).toEqual(await start.fetchVectors(ids));
  const filter = { group: { $lt: 1 }, tags: { $contains: 't3' } };
  for (const query of numbers(20, DIMENSION, 5)) {
    const expected = await start.search(query, { topK: 10, filter });
    for (const name of WAY.slice(1)) {
      const found = await (await at(name)).search(query, { topK: 10, filter });
      expect(found.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
      for (const [i, match] of found.entries())
        expect(Math.abs(match.score - (expected[i]?.score ?? NaN))).toBeLessThan(1e-5);
    }
  }
}, 180_000);
