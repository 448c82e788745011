import { z } from 'zod';
import { ConnectorError, defineVectorDriver, secret } from '../../src/driver.ts';
import type { DriverLoaders } from '../../src/registry/catalog.ts';

/** The one credential that opens a connector's client. */
export function secretOf(connectorId: string): string {
  return `secret of ${connectorId}`;
}

const guarded = defineVectorDriver({
  kind: 'vector',
  id: 'guarded',
  title: 'Guarded',
  remote: true,
  options: z.strictObject({ api_key: secret().describe('The key.') }),
  capabilities: {
    metrics: ['cosine'],
    filter: [],
    deleteByFilter: false,
    countByFilter: false,
    orderedStrings: true,
    visibleAfterMs: 0,
    limits: { dimension: 8, upsertBatch: 10, topK: 10 },
  },
  async open({ api_key }, { connectorId }) {
    if (api_key !== secretOf(connectorId))
      throw new ConnectorError('auth_failed', 'another key was expected');
    return {
      upsert: async () => [],
      search: async () => [],
      delete: async () => 0,
      fetch: async () => [],
      count: async () => 0,
      list: async () => ({ records: [] }),
      check: async () => [],
      close: async () => {},
    };
  },
});

/** A driver whose clients open with the right credential alone. */
export const guardedDrivers: DriverLoaders = { 'vector/guarded': async () => ({ default: guarded }) };
