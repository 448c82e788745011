// A small program of somebody who installed the package: compiled with its declarations, then run.
import { type ConnectorError, ConnectorRegistry, isConnectorError } from 'connector-registry';
import { defineFileDriver, type FileDriver, secret } from 'connector-registry/driver';

await using registry = await ConnectorRegistry.open();
const notes = await registry.createVectorConnector({
  tenantId: 'acme',
  name: 'notes',
  provider: 'embedded',
  vectorDimension: 3,
});
await notes.upsertVectors([
  { id: 'near', values: [1, 0, 0], metadata: { year: 2026 } },
  { id: 'far', values: [0, 0, 1] },
]);
const matches = await notes.search([1, 0.1, 0], { topK: 1, filter: { year: { $gte: 2000 } } });
if (matches[0]?.id !== 'near') throw new Error(`expected near, found ${JSON.stringify(matches)}`);

const refused: unknown = await registry.get('no-such', { tenantId: 'acme' }).catch((error: unknown) => error);
const code: ConnectorError['code'] | undefined = isConnectorError(refused) ? refused.code : undefined;
if (code !== 'not_found') throw new Error(`expected not_found, found ${code}`);

export const kit: readonly [typeof defineFileDriver, typeof secret, FileDriver?] = [defineFileDriver, secret];
