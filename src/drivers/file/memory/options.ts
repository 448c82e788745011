import { z } from 'zod';
import { adminOnly } from '../../../driver.ts';
import { PROCESS_MB } from './room.ts';

export const memoryOptions = z.strictObject({
  max_mb: adminOnly(z.int().min(1).max(PROCESS_MB))
    .default(64)
    .describe(
      'Megabytes (of 1,048,576 bytes) that the files may take in all, 256 bytes for each besides its content and its path; what is over it is refused. All connectors of a process together take 512 at most.',
    ),
});

export type MemoryOptions = z.output<typeof memoryOptions>;
