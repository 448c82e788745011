import { z } from 'zod';
import { connectorId, filePath, instant } from './fields.ts';
import { writtenFile } from './file.ts';
import { defineOperation } from './operation.ts';
import { toWire } from './wire.ts';

const fromAndTo = z.strictObject({
  connector_id: connectorId,
  from: filePath.describe('The file that there is.'),
  to: filePath.describe('Where it goes; a file that is there is replaced.'),
});

// Not below `files/`: every path there is the name of a file.
export const fileCopy = defineOperation({
  id: 'file.copy',
  method: 'POST',
  path: '/connectors/{connector_id}/copy-file',
  summary: 'Copy a file within a connector, without its content passing through the caller.',
  role: 'operator',
  tenant: 'required',
  input: fromAndTo,
  output: writtenFile,
  async run({ tenant, signal }, { connector_id, from, to }) {
    const connector = await tenant().file(connector_id);
    return toWire(await connector.copyFile(from, to, { signal }));
  },
});

export const fileMove = defineOperation({
  id: 'file.move',
  method: 'POST',
  path: '/connectors/{connector_id}/move-file',
  summary: 'Rename a file within a connector.',
  role: 'operator',
  tenant: 'required',
  input: fromAndTo,
  output: writtenFile,
  async run({ tenant, signal }, { connector_id, from, to }) {
    const connector = await tenant().file(connector_id);
    return toWire(await connector.moveFile(from, to, { signal }));
  },
});

export const filePresign = defineOperation({
  id: 'file.presign',
  method: 'POST',
  path: '/connectors/{connector_id}/presign-file',
  summary: 'Make an address that reads or writes one file for a while, without a key.',
  description:
    'Whoever holds the address may use it until `expires_at`, also after the key that asked for it is revoked. Send `headers` along with it.',
  // For reading, too: an address outlives the key that asked for it, and whoever may only look must not let others in.
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    path: filePath,
    method: z.enum(['GET', 'PUT']).default('GET').describe('Whether the address reads or writes.'),
    expires_in_seconds: z.int().min(1).max(604_800).default(3_600).describe('Seconds until it ends.'),
    content_type: z.string().max(256).optional().describe('For PUT: the type that has to be sent.'),
    max_bytes: z.int().min(1).optional().describe('For PUT: the bytes that may be sent, at most.'),
  }),
  output: z.object({
    url: z.url(),
    method: z.enum(['GET', 'PUT']),
    headers: z.record(z.string(), z.string()),
    expires_at: instant,
  }),
  async run({ tenant, signal }, { connector_id, path, method, ...given }) {
    const connector = await tenant().file(connector_id);
    const { url, headers, expiresAt } = await connector.presign(path, {
      method,
      expiresInSeconds: given.expires_in_seconds,
      contentType: given.content_type,
      maxBytes: given.max_bytes,
      signal,
    });
    return { url, method, headers: { ...headers }, expires_at: expiresAt.toISOString() };
  },
});
