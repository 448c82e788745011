import { afterAll, describe, expect, it } from 'vitest';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { weaviateDouble } from './weaviate.fixture.ts';

const {
  CONNECTORS_TEST_WEAVIATE_URL: live,
  CONNECTORS_TEST_WEAVIATE_GRPC_URL: liveGrpc,
  CONNECTORS_TEST_WEAVIATE_API_KEY: liveKey,
} = process.env;
if (live === undefined)
  process.stdout.write('weaviate: by wire alone, because CONNECTORS_TEST_WEAVIATE_URL names no server\n');

describe('as the suite asks', async () => {
  const double = live === undefined ? await weaviateDouble() : undefined;
  const endpoint = live ?? double?.endpoint;
  const grpc = liveGrpc ?? double?.grpcEndpoint;
  const made = new Set<string>();
  const remove = async (collection: string) => {
    const headers = liveKey === undefined ? undefined : { authorization: `Bearer ${liveKey}` };
    await fetch(`${endpoint}/v1/schema/${collection}`, { method: 'DELETE', ...(headers && { headers }) });
  };
  const nameOf = (connectorId: string) => `Connector_${connectorId.replaceAll('-', '')}`;
  afterAll(async () => {
    for (const name of made) await remove(name);
    await double?.close();
  });

  testVectorDriver({
    driver,
    open(context) {
      made.add(nameOf(context.connectorId));
      const options = {
        endpoint,
        ...(grpc !== undefined && { grpc_endpoint: grpc }),
        ...(liveKey !== undefined && { api_key: liveKey }),
      };
      return driver.open(driver.options.parse(options), context);
    },
    removeBeneath: ({ connectorId }) => remove(nameOf(connectorId)),
    ...(double && { engine: { mode: 'wire', name: 'the contract in weaviate-client 3.14' } }),
  });

  if (double) {
    it('has left nothing to the server to make by itself', () => {
      expect(double.store.madeByAutoSchema).toEqual([]);
    });
  }
});
