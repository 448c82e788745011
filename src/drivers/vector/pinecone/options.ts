import { z } from 'zod';
import { secret } from '../../../driver.ts';

export const pineconeOptions = z.strictObject({
  api_key: secret().describe('API key of the Pinecone project that the index belongs to.'),
  index: z
    .string()
    // "1-45 characters long, start and end with an alphanumeric character, and consist only of lower case alphanumeric
    // characters or '-'": db_control_2026-07.oas.yaml in github.com/pinecone-io/pinecone-api, read 2026-11-25
    .regex(/^[a-z0-9](?:[a-z0-9-]{0,43}[a-z0-9])?$/, 'is 1 to 45 lower case letters, digits and dashes')
    .describe(
      'Name of the index. Several connectors may share one, each in a namespace of its own; its dimension and metric are theirs.',
    ),
  namespace: z
    .string()
    // The same document's pattern for namespaces.
    .regex(/^[\x20-\x7e]{1,512}$/, 'is 1 to 512 ASCII characters')
    .optional()
    .describe(
      'Namespace in the index that holds the records. One of its own, named from the connector id, unless told.',
    ),
  create_index: z
    .strictObject({
      cloud: z.enum(['aws', 'gcp', 'azure']).describe('Public cloud of the new index.'),
      region: z.string().min(1).max(64).describe('Region of that cloud, for example us-east-1.'),
    })
    .optional()
    .describe(
      'Where to make a serverless index when there is none of that name. Without it, a missing index is refused.',
    ),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .default('https://api.pinecone.io')
    .describe("Base URL of Pinecone's control plane, where the index is looked up."),
  host: z
    .string()
    .regex(/^[^/\s]+$/, 'is a host, with its port where it needs one, and nothing else')
    .optional()
    .describe(
      'Host of the index itself, for example a private endpoint. What the control plane answers unless told.',
    ),
});
export type PineconeOptions = z.output<typeof pineconeOptions>;
