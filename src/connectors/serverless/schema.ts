import { z } from 'zod';

/** What only a functions connector has, in wire names: this schema is what the REST interface, the CLI and the store share. */
export const serverlessSettings = z.strictObject({
  region: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe('Where the functions run, for platforms that have regions.'),
  result_ttl_seconds: z
    .int()
    .min(60)
    .max(30 * 86_400)
    .default(86_400)
    .describe('How long an ended invocation can be asked about, in seconds; a day unless given.'),
});
