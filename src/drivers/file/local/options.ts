import { z } from 'zod';
import { adminOnly } from '../../../driver.ts';

export const localOptions = z.strictObject({
  root: adminOnly(z.string().min(1).startsWith('/'))
    .optional()
    .describe("An existing folder, by absolute path, to use instead of the connector's own; never created."),
});

export type LocalOptions = z.output<typeof localOptions>;
