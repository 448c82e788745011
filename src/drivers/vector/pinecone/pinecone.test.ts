import { Pinecone } from '@pinecone-database/pinecone';
import { afterAll, expect, it } from 'vitest';
import type { VectorOpenContext } from '../../../driver.ts';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { pineconeDouble } from './pinecone.fixture.ts';

// Live, indexes of these names are made and removed: one for each metric and dimension of the suite.
const { CONNECTORS_TEST_PINECONE_API_KEY: key, CONNECTORS_TEST_PINECONE_INDEX: prefix } = process.env;
const live = key !== undefined && prefix !== undefined ? { key, prefix } : undefined;
const double = live ? undefined : await pineconeDouble();
if (double)
  process.stdout.write(
    'pinecone: by wire alone, because CONNECTORS_TEST_PINECONE_API_KEY and CONNECTORS_TEST_PINECONE_INDEX are not both set\n',
  );

// Connectors share an index by their namespaces. One that comes back with another shape finds the index that it had.
const indexes = new Map<string, string>();
const indexOf = ({ connectorId, dimension, metric }: VectorOpenContext): string => {
  const name = indexes.get(connectorId) ?? `${live?.prefix ?? 'suite'}-${metric}-${dimension}`;
  indexes.set(connectorId, name);
  return name;
};

afterAll(async () => {
  await double?.close();
  if (!live) return;
  const pinecone = new Pinecone({ apiKey: live.key });
  for (const name of new Set(indexes.values())) await pinecone.indexes.delete(name);
});

testVectorDriver({
  driver,
  open: (context) =>
    driver.open(
      driver.options.parse({
        ...(double && { endpoint: double.endpoint }),
        api_key: double?.apiKey ?? live?.key,
        index: indexOf(context),
        create_index: { cloud: 'aws', region: 'us-east-1' },
      }),
      context,
    ),
  ...(double && {
    removeBeneath: async (context) => double.removeIndex(indexOf(context)),
    engine: {
      mode: 'wire',
      name: "the models of @pinecone-database/pinecone 9.0, from Pinecone's OpenAPI 2026-07",
    },
  }),
});

if (double) {
  it('says and is told nothing that the published contract does not have', () => {
    expect(double.requests.length).toBeGreaterThan(500);
    expect(double.violations).toEqual([]);
  });
}
