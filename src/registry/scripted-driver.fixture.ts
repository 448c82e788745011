import { z } from 'zod';
import { defineVectorDriver, type VectorClient } from '../connectors/vector/driver.ts';
import { adminOnly, secret } from '../contract/options.ts';
import type { OpenContext } from '../contract/driver.ts';

/** A vector driver whose client does what a test says, and which remembers what it was opened with. */
export function scriptedDriver(
  script: {
    open?: (context: OpenContext) => Promise<void>;
    client?: Partial<VectorClient>;
    remote?: true;
  } = {},
) {
  const seen = { opened: [] as { options: unknown; context: OpenContext }[], closed: 0 };
  const client: VectorClient = {
    upsert: async () => [],
    search: async () => [],
    delete: async () => 0,
    fetch: async () => [],
    count: async () => 0,
    list: async () => ({ records: [] }),
    check: async () => [],
    async close() {
      seen.closed += 1;
    },
  };
  const driver = defineVectorDriver({
    kind: 'vector',
    id: 'scripted',
    title: 'Scripted',
    options: z.strictObject({
      endpoint: z.url().optional().describe('Where it is.'),
      api_key: secret().optional().describe('A key.'),
      auth: z.strictObject({ password: secret().optional() }).optional(),
      env: z
        .record(z.string().regex(/^\w[\w.]*$/), secret())
        .optional()
        .describe('Variables.'),
      root: adminOnly(z.string()).optional().describe('A folder of the host.'),
      mode: z.enum(['a', 'b']).default('a').describe('A choice.'),
    }),
    capabilities: {
      metrics: ['cosine'],
      filter: [],
      deleteByFilter: false,
      countByFilter: false,
      orderedStrings: true,
      visibleAfterMs: 0,
      limits: { dimension: 8, upsertBatch: 10, topK: 10 },
    },
    ...(script.remote && { remote: script.remote }),
    async open(options, context) {
      seen.opened.push({ options, context });
      await script.open?.(context);
      return { ...client, ...script.client };
    },
  });
  return { seen, drivers: { 'vector/scripted': async () => ({ default: driver }) } };
}
