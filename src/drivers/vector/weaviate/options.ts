import { z } from 'zod';
import { secret, targetOf, type Target } from '../../../driver.ts';

const url = z.url({ protocol: /^https?$/, hostname: /./ });

export const weaviateOptions = z.strictObject({
  endpoint: url.describe(
    'Base URL of the REST API, such as https://name.weaviate.cloud or http://host:8080.',
  ),
  grpc_endpoint: url
    .optional()
    .describe(
      'Where the gRPC API listens, as a URL without a path. Unless told, port 50051 of the same host, and in Weaviate Cloud the host that goes with the endpoint.',
    ),
  api_key: secret()
    .optional()
    .describe('API key that may read and write the collection, and make it where it does not exist.'),
  collection: z
    .string()
    .regex(/^[A-Z][_0-9A-Za-z]{0,230}$/, 'starts with a capital, and has letters, digits and _ after it')
    .optional()
    .describe(
      'Collection to use instead of one named after the connector. It is made if it does not exist, and has to be one that a connector made.',
    ),
  // https://docs.weaviate.io/weaviate/manage-collections/multi-tenancy (read 2026-11-25)
  tenant: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'is 1 to 64 letters, digits, _ and -')
    .optional()
    .describe(
      'Tenant of a multi-tenant collection, to which everything is then confined. It is made if needed.',
    ),
  ca: z.string().optional().describe('Certificates in PEM that are trusted instead of the well-known ones.'),
});
export type WeaviateOptions = z.output<typeof weaviateOptions>;

/** Where the gRPC API listens: Weaviate Cloud has a host of its own for it, as Weaviate's client knows, too. */
export function grpcTarget({ endpoint, grpc_endpoint: given, ca }: WeaviateOptions): Target {
  if (given !== undefined) return targetOf(given, ca);
  const { host, tls } = targetOf(endpoint, ca);
  const secure = tls && { tls };
  if (host.endsWith('.weaviate.network')) return { host: host.replace('.', '.grpc.'), port: 443, ...secure };
  if (host.endsWith('.weaviate.cloud')) return { host: `grpc-${host}`, port: 443, ...secure };
  return { host, port: 50_051, ...secure };
}
