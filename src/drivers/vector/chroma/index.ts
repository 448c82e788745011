import { defineVectorDriver } from '../../../driver.ts';
import { PEER_RANGE } from './api.ts';
import { openChroma } from './open.ts';
import { chromaOptions } from './options.ts';

export default defineVectorDriver({
  kind: 'vector',
  id: 'chroma',
  title: 'Chroma',
  options: chromaOptions,
  capabilities: {
    metrics: ['cosine', 'euclidean', 'dot'],
    filter: [
      ...(['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin'] as const),
      ...(['contains', 'containsAny', 'containsAll', 'and', 'or', 'not'] as const),
    ],
    deleteByFilter: true,
    countByFilter: true,
    orderedStrings: false,
    visibleAfterMs: 0,
    // Ours: a server of one's own limits a request by its bytes, which the client cuts by as well, and by records, of
    // which it names 5,461 at /api/v2/pre-flight-checks (1.0.0, read 2026-11-25).
    limits: { dimension: 16_384, upsertBatch: 500, topK: 10_000 },
  },
  peers: { chromadb: PEER_RANGE },
  remote: true,
  open: openChroma,
});
