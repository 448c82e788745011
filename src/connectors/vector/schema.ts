import { z } from 'zod';

/** What only a vector connector has, in wire names; fixed when the connector is made. */
export const vectorSettings = z.strictObject({
  vector_dimension: z
    .int()
    .min(1)
    .max(65_536)
    .default(1536)
    .describe('Numbers in each vector; cannot be changed once vectors are stored.'),
  distance_metric: z
    .enum(['cosine', 'euclidean', 'dot'])
    .default('cosine')
    .describe('How nearness is measured; cannot be changed once vectors are stored.'),
});
