import { afterAll, beforeAll, expect, it } from 'vitest';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { pineconeDouble, type PineconeDouble } from './pinecone.fixture.ts';

let double: PineconeDouble;
beforeAll(async () => {
  double = await pineconeDouble();
});
afterAll(async () => {
  await double.close();
});

// An index for each shape of collection, as one would have it: connectors share it by their namespaces. A connector that
// comes back with another shape than its first finds the index that it had.
const indexes = new Map<string, string>();

testVectorDriver({
  driver,
  open: (context) => {
    const own = `conformance-${context.metric}-${context.dimension}`;
    const index = indexes.get(context.connectorId) ?? own;
    indexes.set(context.connectorId, index);
    const options = {
      endpoint: double.endpoint,
      api_key: double.apiKey,
      index,
      create_index: { cloud: 'aws', region: 'us-east-1' },
    };
    return driver.open(driver.options.parse(options), context);
  },
});

it('keeps to what Pinecone publishes, in all of it', () => {
  expect(double.requests.length).toBeGreaterThan(500);
  expect(double.violations).toEqual([]);
});
