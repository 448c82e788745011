import { defineVectorDriver } from '../../../driver.ts';
import { openPgvector, PEER_RANGE } from './client.ts';
import { pgvectorOptions } from './options.ts';

export default defineVectorDriver({
  kind: 'vector',
  id: 'pgvector',
  title: 'PostgreSQL (pgvector)',
  options: pgvectorOptions,
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
    // https://github.com/pgvector/pgvector#vector-type (read 2026-11-25): up to 16,000 dimensions. The others are ours.
    limits: { dimension: 16_000, upsertBatch: 1_000, topK: 10_000 },
  },
  peers: { pg: PEER_RANGE },
  remote: true,
  open: openPgvector,
});
