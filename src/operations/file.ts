import { z } from 'zod';
import type { FileConnector } from '../connectors/file/connector.ts';
import type { FileInfo, FileMetadata } from '../connectors/file/driver.ts';
import { ConnectorError, invalidField, isConnectorError } from '../errors/error.ts';
import { connectorId, fileMetadata, filePath, instant, provenByConnector } from './fields.ts';
import { METADATA_HEADERS } from './metadata-headers.ts';
import { type BytesAnswer, defineBytesOperation, defineOperation } from './operation.ts';
import { toWire } from './wire.ts';

const fileInfo = z
  .object({
    name: z.string(),
    path: z.string(),
    size: z.int().min(0).describe('Bytes; 0 for a folder.'),
    last_modified: instant,
    etag: z.string().optional(),
    content_type: z.string().optional(),
    metadata: fileMetadata.optional().describe('Left out by a listing where the backend does.'),
    is_directory: z.boolean(),
  })
  .meta({ id: 'File' });

/** What a write answers. */
export const writtenFile = z.object({
  path: z.string(),
  size: z.int().min(0),
  etag: z.string().optional(),
});

// Weak etags, `*` and lists are refused: none of them says which one content is meant to be replaced.
const oneEtag = z
  .string()
  .regex(/^(?:"[^"]+"|(?!W\/)[^",*\s]+)$/, 'is one strong etag')
  .transform(unquoted);

const etags = z
  .string()
  .optional()
  .describe('An etag, or several between commas: no content is sent where the file still has one of them.');

export const fileList = defineOperation({
  id: 'file.list',
  method: 'GET',
  path: '/connectors/{connector_id}/files',
  summary: 'List files in the order of their paths.',
  description: 'A page may be short; only a missing `next_cursor` is the end.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    path: z.string().default('/').describe('The folder to list.'),
    recursive: z.boolean().default(false).describe('Whether files in folders below are listed too.'),
    limit: z.int().min(1).max(1_000).default(1_000).describe('Entries in the page, at most.'),
    cursor: z.string().optional().describe('The `next_cursor` of the page before.'),
  }),
  output: z.object({ files: z.array(fileInfo).readonly(), next_cursor: z.string().optional() }),
  async run({ tenant, signal }, { connector_id, path, ...options }) {
    const connector = await tenant().file(connector_id);
    return toWire(await connector.listFiles(path, { ...options, signal }));
  },
});

export const fileRead = defineBytesOperation({
  id: 'file.read',
  method: 'GET',
  path: '/connectors/{connector_id}/files/{path+}',
  summary: 'Read a file, or a part of it, as a stream.',
  role: 'reader',
  tenant: 'required',
  headers: [
    { header: 'Range', field: 'range' },
    { header: 'If-None-Match', field: 'if_none_match' },
  ],
  input: z.strictObject({
    connector_id: connectorId,
    path: filePath,
    range: z
      .string()
      .optional()
      .describe('`bytes=0-99`, `bytes=100-` or `bytes=-100`; other forms read the whole.'),
    if_none_match: etags,
  }),
  async run({ tenant, signal }, { connector_id, path, range, if_none_match }) {
    const connector = await tenant().file(connector_id);
    if (range !== undefined || if_none_match !== undefined) {
      const info = await connector.statFile(path, { signal });
      if (isCurrent(info, if_none_match)) return { ...facts(info), notModified: true };
      const part = connector.fileCapabilities.ranges ? parseRange(range, info.size) : undefined;
      if (part) return opened(connector, path, { range: part, signal });
    }
    return opened(connector, path, { signal });
  },
});

export const fileStat = defineBytesOperation({
  id: 'file.stat',
  method: 'HEAD',
  path: '/connectors/{connector_id}/files/{path+}',
  summary: 'Show size, date and etag of a file.',
  role: 'reader',
  tenant: 'required',
  headers: [{ header: 'If-None-Match', field: 'if_none_match' }],
  input: z.strictObject({ connector_id: connectorId, path: filePath, if_none_match: etags }),
  async run({ tenant, signal }, { connector_id, path, if_none_match }) {
    const connector = await tenant().file(connector_id);
    const info = await connector.statFile(path, { signal });
    return { ...facts(info), notModified: isCurrent(info, if_none_match) };
  },
});

export const fileWrite = defineOperation({
  id: 'file.write',
  method: 'PUT',
  path: '/connectors/{connector_id}/files/{path+}',
  summary: 'Write a file from a stream: whole or not at all, and durable when answered.',
  role: 'operator',
  tenant: 'required',
  request: 'bytes',
  headers: [
    { header: 'If-None-Match', field: 'if_none_match' },
    { header: 'If-Match', field: 'if_match' },
    { header: 'Content-Type', field: 'content_type' },
    { header: METADATA_HEADERS, field: 'metadata' },
  ],
  input: z.strictObject({
    connector_id: connectorId,
    path: filePath,
    if_none_match: z.literal('*').optional().describe('`*` writes only where there is no file yet.'),
    if_match: oneEtag.optional().describe('One etag: writes only over the content that has it.'),
    content_type: z.string().max(256).optional().describe('Kept with the file where the backend can.'),
    metadata: fileMetadata
      .optional()
      .describe(
        'Your own words about the file, a header for each: `X-Meta-Author: Ada` is kept as `author`, `-` as `_`, and comes back with the file. Percent-encode what is not plain text.',
      ),
  }),
  output: writtenFile,
  async run({ tenant, content, signal }, { connector_id, path, if_none_match, if_match, ...given }) {
    const connector = await tenant().file(connector_id);
    // Every HTTP client sends some type; a backend that keeps none is no reason to refuse the file.
    const contentType = connector.fileCapabilities.contentType ? given.content_type : undefined;
    const metadata = provenByConnector<FileMetadata | undefined>(given.metadata);
    try {
      const conditions = { ifNoneMatch: if_none_match, ifMatch: if_match };
      const options = { contentType, metadata, ...conditions, signal };
      return toWire(await connector.writeFile(path, content, options));
    } catch (error) {
      throw if_none_match === undefined ? error : preconditionFailed(error);
    }
  },
});

export const fileDelete = defineOperation({
  id: 'file.delete',
  method: 'DELETE',
  path: '/connectors/{connector_id}/files/{path+}',
  summary: 'Remove a file; `deleted` is false where there was none.',
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId, path: filePath }),
  output: z.object({ deleted: z.boolean() }),
  async run({ tenant, signal }, { connector_id, path }) {
    const connector = await tenant().file(connector_id);
    return connector.deleteFile(path, { signal });
  },
});

async function opened(
  connector: FileConnector,
  path: string,
  {
    range,
    signal,
  }: { readonly range?: { readonly start: number; readonly end: number }; readonly signal: AbortSignal },
): Promise<BytesAnswer> {
  const { info, body } = await connector.openFile(path, { range, signal });
  if (!range) return { ...facts(info), body };
  // The file that was opened may be shorter than the one whose size the range was read against.
  return { ...facts(info), body, range: { start: range.start, end: Math.min(range.end, info.size - 1) } };
}

function facts({ size, lastModified, etag, contentType, metadata }: FileInfo): BytesAnswer {
  return { size, lastModified, etag, contentType, metadata };
}

/**
 * The bytes that a `Range` header asks for. `undefined` for several ranges and for other units: HTTP has the whole
 * answered then.
 *
 * @throws ConnectorError `invalid_argument` on `range`, with the size in its details, when it starts after the end.
 */
function parseRange(
  header: string | undefined,
  size: number,
): { readonly start: number; readonly end: number } | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  const suffix = first === '';
  const start = suffix ? Math.max(0, size - Number(last)) : Number(first);
  const end = suffix || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (!suffix && last !== '' && Number(last) < start) return undefined;
  if (start < size) return { start, end };
  const { message, issues } = invalidField(
    'range',
    `starts before the end of the file, which has ${size} bytes`,
  );
  throw new ConnectorError('invalid_argument', message, { issues, details: { size } });
}

/** Whether one of the caller's etags is the file's own; weak ones compare by their value. */
function isCurrent({ etag }: FileInfo, header: string | undefined): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((given) => unquoted(given) === etag);
}

function unquoted(etag: string): string {
  return etag
    .trim()
    .replace(/^W\//, '')
    .replace(/^"(.*)"$/, '$1');
}

/** HTTP's name for "there is a file already" when the caller asked for that condition. */
function preconditionFailed(error: unknown): unknown {
  if (!isConnectorError(error) || error.code !== 'already_exists') return error;
  const { message, connectorId, connectorType, details } = error;
  return new ConnectorError('conflict', message, {
    details,
    cause: error,
    ...(connectorId !== undefined && { connectorId }),
    ...(connectorType !== undefined && { connectorType }),
  });
}
