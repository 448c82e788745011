import { z } from 'zod';
import type { DeleteSelector, Filter, VectorRecord } from '../connectors/vector/driver.ts';
import { invalidField } from '../errors/error.ts';
import { connectorId, errorCode, filter, provenByConnector, vectorMetadata } from './fields.ts';
import { importRecords } from './import.ts';
import { defineOperation } from './operation.ts';
import { toWire } from './wire.ts';

const MiB = 2 ** 20;

const record = z.object({
  id: z.string().min(1).max(512),
  values: z.array(z.number()).describe('Exactly as many finite numbers as the connector has dimensions.'),
  metadata: vectorMetadata.optional(),
  text: z.string().optional(),
});

// Documented in full and read as unknown: the connector checks every number, in slices that let the event loop turn.
const vector = z.unknown().meta(documented(z.array(z.number()).min(1)));
const records = z.array(z.unknown().meta(documented(record))).describe('1 to 10,000 records.');
const ids = z.array(z.string()).describe('Ids of records, at most 10,000.');

const match = z.object({
  id: z.string(),
  score: z.number().min(0).max(1).describe('Larger is nearer, whatever the metric and the backend.'),
  raw_score: z.number().describe('The cosine, the euclidean distance or the dot product itself.'),
  metadata: vectorMetadata.optional(),
  text: z.string().optional(),
  values: z.array(z.number()).readonly().optional(),
});

const refused = z.object({
  index: z.int().min(0),
  id: z.string(),
  code: errorCode,
  message: z.string(),
});
const written = z.object({ upserted: z.int().min(0), failed: z.int().min(0) });

const upsertResult = written
  .extend({
    errors: z.array(refused).readonly().describe('The records that were not written, by their index.'),
  })
  .meta({ id: 'UpsertResult' });

const importResult = written
  .extend({
    errors: z
      .array(refused.extend({ line: z.int().min(1).describe('Where in the stream it stands.') }))
      .readonly()
      .describe('The first 1,000 records that were not written.'),
  })
  .meta({ id: 'ImportResult' });

export const vectorUpsert = defineOperation({
  id: 'vector.upsert',
  method: 'POST',
  path: '/connectors/{connector_id}/vectors',
  summary: 'Write vectors, replacing those with the same ids.',
  description:
    'All records are checked before any is written. For more than a few thousand, send NDJSON: a large JSON body is parsed in one piece and holds everybody up meanwhile.',
  role: 'operator',
  tenant: 'required',
  bodyLimitBytes: 32 * MiB,
  input: z.strictObject({ connector_id: connectorId, records }),
  output: upsertResult,
  async run({ tenant, signal }, { connector_id, records: given }) {
    const connector = await tenant().vector(connector_id);
    return connector.upsertVectors(provenByConnector<readonly VectorRecord[]>(given), { signal });
  },
});

export const vectorImport = defineOperation({
  id: 'vector.import',
  method: 'POST',
  path: '/connectors/{connector_id}/vectors',
  summary: 'Write vectors from a stream of NDJSON, one record a line, in bounded memory.',
  description:
    'Lines are checked and written in batches of 1,000. A bad line ends the import: its batch is not written, the batches before it stand, and the error says how many records were upserted and at which line to go on.',
  role: 'operator',
  tenant: 'required',
  request: 'ndjson',
  input: z.strictObject({
    connector_id: connectorId,
    first_line: z
      .int()
      .min(1)
      .default(1)
      .describe('The number of the first line, for errors about a part of a larger file.'),
  }),
  output: importResult,
  async run({ tenant, content, signal }, { connector_id, first_line: firstLine }) {
    return importRecords(await tenant().vector(connector_id), content, { signal, firstLine });
  },
});

export const vectorSearch = defineOperation({
  id: 'vector.search',
  method: 'POST',
  path: '/connectors/{connector_id}/search',
  summary: 'Find the records nearest to a vector.',
  description: 'Best first, ties by id. Fewer than `top_k` matches means that there are no more.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    vector: vector.describe('As many finite numbers as the connector has dimensions.'),
    top_k: z.int().min(1).default(10).describe('Matches at most.'),
    filter: filter.optional(),
    include_values: z.boolean().default(false).describe('Whether matches carry their vectors.'),
    include_metadata: z.boolean().default(true).describe('Whether matches carry metadata and text.'),
    min_score: z.number().min(0).max(1).optional().describe('Leave out matches below this score.'),
  }),
  output: z.object({ matches: z.array(match).readonly() }),
  async run({ tenant, signal }, input) {
    const connector = await tenant().vector(input.connector_id);
    const matches = await connector.search(provenByConnector<readonly number[]>(input.vector), {
      topK: input.top_k,
      filter: provenByConnector<Filter | undefined>(input.filter),
      includeValues: input.include_values,
      includeMetadata: input.include_metadata,
      minScore: input.min_score,
      signal,
    });
    return { matches: toWire(matches) };
  },
});

export const vectorDelete = defineOperation({
  id: 'vector.delete',
  method: 'POST',
  path: '/connectors/{connector_id}/vectors/delete',
  summary: 'Remove vectors by their ids, by a filter, or all.',
  role: 'operator',
  tenant: 'required',
  bodyLimitBytes: 32 * MiB,
  input: z.strictObject({
    connector_id: connectorId,
    ids: ids.optional(),
    filter: filter.optional(),
    all: z.literal(true).optional().describe('Remove every record.'),
  }),
  output: z.object({ deleted: z.int().min(0) }),
  async run({ tenant, signal }, { connector_id, ids: named, filter: conditions, all }) {
    const connector = await tenant().vector(connector_id);
    const given: readonly DeleteSelector[] = [
      ...(named ? [{ ids: named }] : []),
      ...(conditions !== undefined ? [{ filter: provenByConnector<Filter>(conditions) }] : []),
      ...(all ? [{ all }] : []),
    ];
    const [selector] = given;
    if (!selector || given.length > 1) throw invalidField('input', 'has exactly one of ids, filter and all');
    return connector.deleteVectors(selector, { signal });
  },
});

export const vectorFetch = defineOperation({
  id: 'vector.fetch',
  method: 'POST',
  path: '/connectors/{connector_id}/vectors/fetch',
  summary: 'Show records by their ids; those that do not exist are left out.',
  role: 'reader',
  tenant: 'required',
  bodyLimitBytes: 32 * MiB,
  input: z.strictObject({ connector_id: connectorId, ids }),
  output: z.object({
    records: z
      .array(
        match
          .pick({ id: true, metadata: true, text: true })
          .extend({ values: z.array(z.number()).readonly() }),
      )
      .readonly(),
  }),
  async run({ tenant, signal }, { connector_id, ids: named }) {
    const connector = await tenant().vector(connector_id);
    return { records: toWire(await connector.fetchVectors(named, { signal })) };
  },
});

export const vectorList = defineOperation({
  id: 'vector.list',
  method: 'GET',
  path: '/connectors/{connector_id}/vectors',
  summary: 'Show all records, page by page.',
  description:
    'In an order of the backend. A record that nobody changes meanwhile comes once. A page may be short; only a missing `next_cursor` is the end.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    limit: z.int().min(1).max(1_000).default(100).describe('Records in the page, at most.'),
    cursor: z.string().max(4_096).optional().describe('The `next_cursor` of the page before.'),
    include_values: z.boolean().default(true).describe('Whether records carry their vectors.'),
  }),
  output: z.object({
    records: z.array(match.pick({ id: true, values: true, metadata: true, text: true })).readonly(),
    next_cursor: z.string().optional(),
  }),
  async run({ tenant, signal }, { connector_id, limit, cursor, include_values: includeValues }) {
    const connector = await tenant().vector(connector_id);
    return toWire(await connector.listVectors({ limit, cursor, includeValues, signal }));
  },
});

export const vectorCount = defineOperation({
  id: 'vector.count',
  method: 'POST',
  path: '/connectors/{connector_id}/vectors/count',
  summary: 'Count the records, or those that match a filter.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId, filter: filter.optional() }),
  output: z.object({ count: z.int().min(0) }),
  async run({ tenant, signal }, { connector_id, filter: conditions }) {
    const connector = await tenant().vector(connector_id);
    return {
      count: await connector.countVectors({
        filter: provenByConnector<Filter | undefined>(conditions),
        signal,
      }),
    };
  },
});

/** The JSON Schema of a schema, as the metadata of another that reads less. */
function documented(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest;
}
