import { z } from 'zod';

/** What only a functions connector has, in wire names: this schema is what the REST interface, the CLI and the store share. */
export const serverlessSettings = z.strictObject({
  region: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe(
      'Where the functions run, for platforms that have regions; what the option `region` says counts before it.',
    ),
  max_concurrency: z
    .int()
    .min(1)
    .max(1_000)
    .default(10)
    .describe(
      'Asynchronous invocations that run at once, at most; the others wait for their turn. 10 unless given.',
    ),
  idempotent_functions: z
    .array(z.string().min(1).max(140))
    .max(1_000)
    .default([])
    .describe(
      'Functions that may run more than once for one request id without a second effect, or `*` for all: they are tried again also under an idempotency key.',
    ),
  result_ttl_seconds: z
    .int()
    .min(60)
    .max(30 * 86_400)
    .default(86_400)
    .describe('How long an ended invocation can be asked about, in seconds; a day unless given.'),
});

export type ServerlessSettings = z.output<typeof serverlessSettings>;
