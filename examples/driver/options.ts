import { z } from 'zod';

export const sqliteOptions = z.strictObject({
  max_file_mb: z
    .int()
    .min(1)
    .max(512)
    .default(64)
    .describe(
      'Largest file in MB. A file is in memory as a whole while it is written or read; a larger one is refused.',
    ),
});

export type SqliteOptions = z.output<typeof sqliteOptions>;
