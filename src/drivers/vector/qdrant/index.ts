import { defineVectorDriver } from '../../../driver.ts';
import { openQdrant } from './client.ts';
import { qdrantOptions } from './options.ts';

export default defineVectorDriver({
  kind: 'vector',
  id: 'qdrant',
  title: 'Qdrant',
  remote: true,
  options: qdrantOptions,
  capabilities: {
    metrics: ['cosine', 'euclidean', 'dot'],
    filter: [
      ...(['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin', 'exists'] as const),
      ...(['contains', 'containsAny', 'containsAll', 'and', 'or', 'not'] as const),
    ],
    deleteByFilter: true,
    countByFilter: true,
    orderedStrings: false,
    visibleAfterMs: 0,
    // 65,535 dimensions: https://qdrant.tech/documentation/faq/qdrant-fundamentals/ (read 2026-11-25). The other two
    // are ours: Qdrant limits a request by its bytes, and the client cuts by them as well.
    limits: { dimension: 65_535, upsertBatch: 500, topK: 10_000 },
  },
  open: openQdrant,
});
