import { z } from 'zod';
import { secret } from '../../../driver.ts';

const name = z
  .string()
  .regex(
    /^[a-zA-Z0-9][\w.-]{1,510}[a-zA-Z0-9]$/,
    'is 3 to 512 letters, digits, dots, underscores and hyphens',
  );

export const chromaOptions = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .refine((url) => /^https?:\/\/[^/@?#]+\/?$/.test(url), 'has no user, password, path, query or fragment')
    .describe(
      'URL of the server without a path, with its port, which is 8000 where Chroma was not told otherwise.',
    ),
  tenant: name
    .default('default_tenant')
    .describe("Chroma's own tenant, which must exist; it is no tenant of this registry."),
  database: name.default('default_database').describe('Database of that tenant, which must exist.'),
  collection: name
    .optional()
    .describe(
      'Name of the collection, which is made when it does not exist. Named for the connector unless told.',
    ),
  api_key: secret()
    .optional()
    .describe(
      'Key, or user:password for basic, that a proxy before the server asks for; sent in clear where the endpoint is http.',
    ),
  auth: z
    .enum(['token', 'x-chroma-token', 'basic'])
    .default('token')
    .describe(
      'How api_key is sent: as a bearer token, as the header X-Chroma-Token, or as basic credentials.',
    ),
  ca: z.string().optional().describe('Certificates in PEM that are trusted instead of the well-known ones.'),
});
export type ChromaOptions = z.output<typeof chromaOptions>;
