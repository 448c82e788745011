import { z } from 'zod';

export const embeddedOptions = z.strictObject({
  exact_max_mb: z
    .number()
    .positive()
    .max(1024)
    .default(32)
    .describe(
      'Megabytes of vectors up to which every search is exact. Above, an approximate index serves, where the optional package @zvec/zvec is installed.',
    ),
  indexed_fields: z
    .record(z.string().min(1).max(1024), z.enum(['string', 'number', 'boolean']))
    .refine((fields) => Object.keys(fields).length <= 32, 'names at most 32 fields')
    .default({})
    .describe(
      'Metadata fields, as a.b, that the approximate index filters by itself, with the type of their values. A change builds the index anew.',
    ),
});
export type EmbeddedOptions = z.output<typeof embeddedOptions>;
