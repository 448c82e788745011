import { defineVectorDriver } from '../../../driver.ts';
import { PEER_RANGE } from './connection.ts';
import { milvusClient } from './open.ts';
import { milvusOptions } from './options.ts';

export default defineVectorDriver({
  kind: 'vector',
  id: 'milvus',
  title: 'Milvus',
  options: milvusOptions,
  capabilities: {
    metrics: ['cosine', 'euclidean', 'dot'],
    filter: [
      ...(['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin', 'exists'] as const),
      ...(['contains', 'containsAny', 'containsAll', 'and', 'or', 'not'] as const),
    ],
    orderedStrings: false,
    deleteByFilter: true,
    countByFilter: true,
    visibleAfterMs: 0,
    // https://milvus.io/docs/limitations.md (read 2026-11-25). A batch is ours: the vendor limits bytes, not records.
    limits: { dimension: 32_768, upsertBatch: 1_000, topK: 16_384 },
  },
  remote: true,
  peers: { '@zilliz/milvus2-sdk-node': PEER_RANGE },
  open: milvusClient,
});
