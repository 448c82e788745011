import { defineVectorDriver } from '../../../driver.ts';
import { MAX_TOP_K } from './client.ts';
import { openPinecone, PEER_RANGE } from './open.ts';
import { pineconeOptions } from './options.ts';

export default defineVectorDriver({
  kind: 'vector',
  id: 'pinecone',
  title: 'Pinecone',
  options: pineconeOptions,
  capabilities: {
    metrics: ['cosine', 'euclidean', 'dot'],
    filter: [
      ...(['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin', 'exists'] as const),
      ...(['contains', 'containsAny', 'containsAll', 'and', 'or', 'not'] as const),
    ],
    deleteByFilter: true,
    countByFilter: true,
    orderedStrings: false,
    // Eventually consistent, "a slight delay": https://docs.pinecone.io/guides/data/check-data-freshness (read
    // 2026-11-25). No bound is published. Writes wait until a query has seen them; a minute is for other readers.
    visibleAfterMs: 60_000,
    // db_data_2026-07.oas.yaml in github.com/pinecone-io/pinecone-api, read 2026-11-25: values maxItems 20000, vectors
    // maxItems 1000, topK maximum 10000.
    limits: { dimension: 20_000, upsertBatch: 1_000, topK: MAX_TOP_K },
  },
  peers: { '@pinecone-database/pinecone': PEER_RANGE },
  remote: true,
  open: openPinecone,
});
