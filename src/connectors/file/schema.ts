import { z } from 'zod';
import { isConnectorError } from '../../errors/error.ts';
import { filePath } from './path.ts';

/** What only a file connector has, in wire names. `base_path` comes out canonical. */
export const fileSettings = z.strictObject({
  base_path: z
    .string()
    .check((context) => {
      try {
        context.value = filePath(context.value, { allowRoot: true });
      } catch (error) {
        if (!isConnectorError(error)) throw error;
        context.issues.push({
          code: 'custom',
          input: context.value,
          message: error.issues[0]?.message ?? error.message,
        });
      }
    })
    .default('')
    .describe('Folder inside the root that all paths are relative to; empty for the root itself.'),
});
