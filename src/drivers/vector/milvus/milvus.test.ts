import { afterAll, beforeAll } from 'vitest';
import type { VectorOpenContext } from '../../../driver.ts';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { startMilvus, type MilvusDouble } from './milvus.fixture.ts';

const { CONNECTORS_TEST_MILVUS_URL: live, CONNECTORS_TEST_MILVUS_TOKEN: token } = process.env;

let server: MilvusDouble | undefined;
const collections = new Set<string>();
beforeAll(async () => {
  if (live !== undefined) return;
  process.stdout.write('milvus: by wire alone, because CONNECTORS_TEST_MILVUS_URL names no server\n');
  server = await startMilvus();
});
afterAll(async () => {
  await server?.close();
  if (live === undefined) return;
  const { MilvusClient } = await import('@zilliz/milvus2-sdk-node');
  const sdk = new MilvusClient({ address: live, ...(token !== undefined && { token }), logLevel: 'error' });
  for (const name of collections) await sdk.dropCollection({ collection_name: name });
  await sdk.closeConnection();
});

const nameOf = ({ connectorId }: VectorOpenContext): string =>
  `conformance_${connectorId.replaceAll('-', '')}`;

testVectorDriver({
  driver,
  open(context) {
    const collection = nameOf(context);
    collections.add(collection);
    const options = { endpoint: live ?? server?.url, collection, ...(token !== undefined && { token }) };
    return driver.open(driver.options.parse(options), context);
  },
  ...(live === undefined && {
    removeBeneath: async (context: VectorOpenContext) => server?.drop(nameOf(context)),
    engine: { mode: 'wire', name: 'the .proto contract in @zilliz/milvus2-sdk-node 3.0' },
  }),
});
