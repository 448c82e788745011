import { afterAll, expect, it } from 'vitest';
import type { VectorOpenContext } from '../../../driver.ts';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { qdrantDouble } from './qdrant.fixture.ts';

const { CONNECTORS_TEST_QDRANT_URL: live, CONNECTORS_TEST_QDRANT_API_KEY: liveKey } = process.env;
const double = live === undefined ? await qdrantDouble({ apiKey: 'worthless' }) : undefined;
if (double)
  process.stdout.write('qdrant: by wire alone, because CONNECTORS_TEST_QDRANT_URL names no server\n');

const apiKey = double ? 'worthless' : liveKey;
const options = driver.options.parse({
  endpoint: live ?? double?.url,
  ...(apiKey !== undefined && { api_key: apiKey }),
});
const opened = new Set<string>();
const nameOf = ({ connectorId }: VectorOpenContext): string => `connector_${connectorId.replaceAll('-', '')}`;
const remove = async (name: string): Promise<void> => {
  const response = await fetch(`${options.endpoint}/collections/${name}`, {
    method: 'DELETE',
    headers: apiKey === undefined ? {} : { 'api-key': apiKey },
  });
  expect(response.status).toBe(200);
};

afterAll(async () => {
  for (const name of opened) await remove(name);
  await double?.close();
});

testVectorDriver({
  driver,
  open(context) {
    opened.add(nameOf(context));
    return driver.open(options, context);
  },
  removeBeneath: (context) => remove(nameOf(context)),
  ...(double && {
    engine: { mode: 'wire', name: 'the types of @qdrant/js-client-rest 1.19, from the OpenAPI of Qdrant' },
  }),
});

if (double) {
  it('says and is told nothing that the published contract does not have', () => {
    expect(double.requests.length).toBeGreaterThan(100);
    expect(double.violations).toEqual([]);
  });
}
