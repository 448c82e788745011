import { z } from 'zod';
import { secret } from '../../../driver.ts';

export const qdrantOptions = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .refine((url) => !/[?#]|\/\/[^/]*@/.test(url), 'has no user, password, query or fragment')
    .describe('Base URL of the REST API with its port, which is 6333 where Qdrant was not told otherwise.'),
  api_key: secret()
    .optional()
    .describe(
      'API key or token that may read and write the collection; sent in clear where the endpoint is http.',
    ),
  ca: z.string().optional().describe('Certificates in PEM that are trusted instead of the well-known ones.'),
  collection: z
    .string()
    .regex(/^\w[\w.-]{0,254}$/, 'is 1 to 255 letters, digits, dots, underscores and hyphens')
    .optional()
    .describe(
      'Name of the collection, which is made when it does not exist. Named for the connector unless told.',
    ),
  replication_factor: z
    .int()
    .min(1)
    .max(16)
    .default(1)
    .describe(
      'Copies of each shard in a collection that is made. Each of them acknowledges a write, so writing fails while one is down.',
    ),
  exact: z
    .boolean()
    .default(false)
    .describe(
      'Compare with every vector instead of following the graph: no record is missed, and it takes longer.',
    ),
  hnsw_ef: z
    .int()
    .min(1)
    .max(65_536)
    .optional()
    .describe(
      'Candidates that the graph keeps while searching: more find more, and take longer. 100 unless told.',
    ),
});
export type QdrantOptions = z.output<typeof qdrantOptions>;
