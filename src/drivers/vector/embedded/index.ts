import { defineVectorDriver } from '../../../driver.ts';
import { EmbeddedClient } from './client.ts';
import { PEER_RANGE } from './hnsw.ts';
import { embeddedOptions } from './options.ts';

export default defineVectorDriver({
  kind: 'vector',
  id: 'embedded',
  title: 'Embedded (SQLite)',
  options: embeddedOptions,
  capabilities: {
    metrics: ['cosine', 'euclidean', 'dot'],
    filter: [
      ...(['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin', 'exists'] as const),
      ...(['contains', 'containsAny', 'containsAll', 'and', 'or', 'not'] as const),
    ],
    deleteByFilter: true,
    countByFilter: true,
    orderedStrings: true,
    visibleAfterMs: 0,
    // A row of the exact scan is at most one block of 64 KiB; a batch of 1,000 measured best (docs/decisions.md).
    limits: { dimension: 16_384, upsertBatch: 1_000, topK: 10_000 },
  },
  peers: { '@zvec/zvec': PEER_RANGE },
  open: (options, context) => EmbeddedClient.open(options, context),
});
