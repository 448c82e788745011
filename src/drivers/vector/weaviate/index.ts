import { defineVectorDriver } from '../../../driver.ts';
import { MAX_RESULTS, openWeaviate } from './client.ts';
import { weaviateOptions } from './options.ts';

export default defineVectorDriver({
  kind: 'vector',
  id: 'weaviate',
  title: 'Weaviate',
  remote: true,
  options: weaviateOptions,
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
    // 65,535 by https://docs.weaviate.io/weaviate/more-resources/faq; as many results as one query may have by
    // https://docs.weaviate.io/deploy/configuration/env-vars (both read 2026-11-25). The batch is ours: large ones are
    // sent in parts.
    limits: { dimension: 65_535, upsertBatch: 500, topK: MAX_RESULTS },
  },
  open: (options, context) => openWeaviate(options, context),
});
