import { afterAll, describe } from 'vitest';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { weaviateDouble } from './weaviate.fixture.ts';

describe('by wire', async () => {
  const double = await weaviateDouble();
  afterAll(() => double.close());
  const options = driver.options.parse({ endpoint: double.endpoint, grpc_endpoint: double.grpcEndpoint });
  testVectorDriver({ driver, open: (context) => driver.open(options, context) });
});
