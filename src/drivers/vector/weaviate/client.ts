import { z } from 'zod';
import {
  asConnectorError,
  ConnectorError,
  inTerms,
  invalidField,
  isConnectorError,
  nearer,
  parseFilter,
  quoted,
  reach,
  targetOf,
  type ClientMatch,
  type Filter,
  type Note,
  type ListedVector,
  type UpsertError,
  type VectorClient,
  type VectorOpenContext,
} from '../../../driver.ts';
import { collectionOf, MAX_NUMBER_PROPERTIES, type Collection } from './collection.ts';
import { asksForOrder, compile, everything, numberProperties } from './filter.ts';
import { grpcChannel, type GrpcChannel } from './grpc.ts';
import * as wire from './messages.ts';
import type { WeaviateOptions } from './options.ts';
import { grpcTarget } from './options.ts';
import { rest, type Rest } from './rest.ts';
import { propertiesFor, rawScoreOf, toObject, toRecord, uuidOf, withValues } from './rows.ts';

// QUERY_MAXIMUM_RESULTS, unless the server was told another: https://docs.weaviate.io/deploy/configuration/env-vars
// (read 2026-11-25)
export const MAX_RESULTS = 10_000;
const IDS_AT_ONCE = 1_000;
// What a gRPC message may hold at least, where the server's meta has no grpcMaxMessageSize.
const MESSAGE_BYTES = 10_000_000;
/** More is not better: a large message is in memory as a whole, here and there. */
const MAX_BATCH_BYTES = 8 * 2 ** 20;
const MAX_ANSWER_BYTES = 32 * 2 ** 20;
/** What a record is taken to have besides its values, when it is decided how many may come at once. */
const RECORD_BYTES = 8_192;
/** ContainsNone came with 1.33: https://github.com/weaviate/typescript-client/pull/342 (read 2026-11-25) */
const MINIMUM = [1, 33] as const;

const NO_OBJECT = '00000000-0000-0000-0000-000000000000';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Opens the connector's collection.
 *
 * @throws ConnectorError `unsupported` for a server that is too old, `invalid_state` for a collection that does not
 *   match.
 */
export async function openWeaviate(
  options: WeaviateOptions,
  context: VectorOpenContext,
): Promise<VectorClient> {
  const { endpoint, api_key: key, ca, tenant } = options;
  const { network, clock, signal } = context;
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  await reach(context, targetOf(endpoint, ca));
  const fetcher = network.fetcher({ ca });
  const grpc = grpcChannel({ network, clock }, grpcTarget(options), headers);
  const close = async () => {
    grpc.close();
    await fetcher.close();
  };
  try {
    const api = rest({ fetcher, clock }, endpoint, headers);
    const collection = options.collection ?? `Connector_${context.connectorId.replaceAll('-', '')}`;
    const { dimension, metric } = context;
    const held = collectionOf(api, { collection, tenant }, { dimension, metric });
    const { version, messageBytes } = await context.stage('credentials', async () => {
      const meta = await metaOf(api, signal);
      await health(grpc, options, signal);
      return meta;
    });
    await context.stage('collection', async () => {
      checkVersion(version);
      await held.prepare(signal);
    });
    // Four thirds of four bytes for each number.
    const rowBytes = Math.ceil((dimension * 16) / 3) + RECORD_BYTES;
    const answerBytes = Math.min(MAX_ANSWER_BYTES, messageBytes / 2);
    return weaviateClient({
      api,
      grpc,
      held,
      metric,
      batchBytes: Math.min(MAX_BATCH_BYTES, messageBytes / 2),
      rowsAtOnce: Math.min(IDS_AT_ONCE, Math.max(1, Math.floor(answerBytes / rowBytes))),
      close,
    });
  } catch (error) {
    await close();
    throw error;
  }
}

function weaviateClient({
  api,
  grpc,
  held,
  metric,
  batchBytes,
  rowsAtOnce,
  close,
}: {
  readonly api: Rest;
  readonly grpc: GrpcChannel;
  readonly held: Collection;
  readonly metric: VectorOpenContext['metric'];
  /** Of objects in one batch at most. */
  readonly batchBytes: number;
  /** Whole records in one answer at most. */
  readonly rowsAtOnce: number;
  readonly close: () => Promise<void>;
}): VectorClient {
  const { scope } = held;

  const call = async (method: string, request: Uint8Array, signal: AbortSignal): Promise<Buffer> => {
    try {
      return await grpc.call(`/weaviate.v1.Weaviate/${method}`, request, signal);
    } catch (error) {
      // A collection or a tenant that is gone has no status of its own, so that is looked up.
      const isRefusal = isConnectorError(error) && error.code === 'backend_error';
      if (isRefusal && error.details['backend_status'] !== undefined) await held.stand(signal);
      throw error;
    }
  };

  const found = async (request: Omit<wire.SearchRequest, keyof wire.Scope>, signal: AbortSignal) =>
    wire.searchReply(await call('Search', wire.searchRequest({ ...scope, ...request }), signal));

  /** Records by id; those that do not exist are left out. */
  const stored = async (ids: readonly string[], properties: readonly string[], signal: AbortSignal) => {
    const records = new Map<string, ListedVector>();
    for (const some of chunks(ids, rowsAtOnce)) {
      const rows = await found({ where: withIds(some), properties, limit: some.length }, signal);
      for (const record of rows.map(toRecord)) records.set(record.id, record);
    }
    return records;
  };

  const whereOf = async (filter: Filter, signal: AbortSignal): Promise<wire.Where> => {
    const terms = inTerms(parseFilter(filter));
    return compile(terms, asksForOrder(terms) ? await held.properties(signal) : new Set());
  };

  const count = async (where: wire.Where | undefined, signal: AbortSignal): Promise<number> =>
    wire.countReply(await call('Aggregate', wire.countRequest(scope, where), signal));

  const remove = async (where: wire.Where, signal: AbortSignal): Promise<wire.Deleted> => {
    const result = wire.deleteReply(await call('BatchDelete', wire.deleteRequest(scope, where), signal));
    if (result.failed === 0 && (result.successful > 0 || result.matches === 0)) return result;
    throw new ConnectorError('backend_error', `Weaviate could not delete ${result.failed} of the records`);
  };

  return {
    async check(signal) {
      const { version } = await metaOf(api, signal);
      checkVersion(version);
      const notes: readonly Note[] = await held.stand(signal);
      // What is counted came by gRPC.
      await count(undefined, signal);
      return [{ level: 'info', message: `Weaviate ${version}` }, ...notes];
    },

    close,

    async upsert(records, signal) {
      // Reading the collection first also keeps a server with AUTOSCHEMA_ENABLED from making it anew.
      const wanted = records.map(({ metadata }) => Object.keys(numberProperties(metadata)));
      const properties = await held.withNumbers(new Set(wanted.flat()), signal);
      const errors: UpsertError[] = [];
      const objects: { readonly index: number; readonly id: string; readonly bytes: Uint8Array }[] = [];
      for (const [index, record] of records.entries()) {
        const { id } = record;
        if (wanted[index]?.every((name) => properties.has(name)))
          objects.push({ index, id, bytes: wire.batchObject(scope, toObject(record)) });
        else errors.push({ index, id, ...TOO_MANY_NUMBERS });
      }
      for (const batch of bySize(objects, batchBytes)) {
        const request = wire.batchRequest(batch.map(({ bytes }) => bytes));
        const refused = wire.batchReply(await call('BatchObjects', request, signal));
        // That no record was taken may mean that the collection is gone: then this throws.
        if (refused.length > 0 && refused.length === batch.length) await held.stand(signal);
        errors.push(...refused.map((one) => refusal(batch[one.index], one.message)));
      }
      return errors;
    },

    async search(vector, { topK, filter, includeValues, includeMetadata }, signal) {
      const where = filter && (await whereOf(filter, signal));
      const shown = { includeValues, includeMetadata };
      // One more than asked for tells whether the cut goes through records that are equally near.
      for (let limit = Math.min(topK + 1, MAX_RESULTS); ; limit = Math.min(limit * 4, MAX_RESULTS)) {
        const isWhole = limit <= rowsAtOnce;
        const properties = isWhole ? propertiesFor(shown) : ['record_id'];
        const rows = await found({ vector, where, properties, limit }, signal);
        const isCutInTie = rows.length > topK && rows[topK - 1]?.distance === rows.at(-1)?.distance;
        if (isCutInTie && rows.length === limit && limit < MAX_RESULTS) continue;
        const best = rows
          .map((row) => ({ ...toRecord(row), rawScore: rawScoreOf(metric, row.distance) }))
          .sort(nearer(metric))
          .slice(0, topK);
        if (isWhole) return best;
        const records = await stored(
          best.map(({ id }) => id),
          propertiesFor(shown),
          signal,
        );
        return best.flatMap((match): ClientMatch[] => {
          const record = records.get(match.id);
          // Gone between the two requests.
          return record ? [{ ...match, ...record }] : [];
        });
      }
    },

    async delete(selector, signal) {
      let deleted = 0;
      if ('ids' in selector) {
        for (const ids of chunks([...new Set(selector.ids)], IDS_AT_ONCE))
          deleted += (await remove(withIds(ids), signal)).successful;
        return deleted;
      }
      const where = 'filter' in selector ? await whereOf(selector.filter, signal) : everything;
      // One request deletes no more than a query may find.
      for (;;) {
        const { successful } = await remove(where, signal);
        if (successful === 0) return deleted;
        deleted += successful;
      }
    },

    async fetch(ids, signal) {
      const properties = propertiesFor({ includeValues: true, includeMetadata: true });
      const records = await stored([...new Set(ids)], properties, signal);
      return ids.flatMap((id) => {
        const record = records.get(id);
        return record ? withValues(record) : [];
      });
    },

    count: async (filter, signal) => count(filter && (await whereOf(filter, signal)), signal),

    async list({ limit, cursor, includeValues }, signal) {
      if (cursor !== undefined && !UUID.test(cursor))
        throw invalidField('cursor', 'is what the page before answered');
      const properties = propertiesFor({ includeValues, includeMetadata: true });
      // With `after`, objects come in the order of their ids: https://docs.weaviate.io/weaviate/manage-objects/read-all-objects
      // (read 2026-11-25). One more than asked for tells whether there is another page.
      const most = Math.min(limit, rowsAtOnce);
      const rows = await found({ properties, limit: most + 1, after: cursor ?? NO_OBJECT }, signal);
      const page = rows.slice(0, most);
      const last = page.at(-1);
      return {
        records: page.map(toRecord),
        ...(rows.length > most && last && { nextCursor: last.uuid }),
      };
    },
  };
}

const TOO_MANY_NUMBERS = {
  code: 'unsupported',
  message: `its metadata has a number in a field that would be one more than the ${MAX_NUMBER_PROPERTIES} such fields that a collection may have in Weaviate; store it as a string`,
} as const;

function refusal(
  object: { readonly index: number; readonly id: string } | undefined,
  message: string,
): UpsertError {
  if (!object) throw new ConnectorError('backend_error', 'Weaviate refused an object that was not sent');
  const { index, id } = object;
  return { index, id, code: 'backend_error', message: `Weaviate refused the record: ${quoted(message)}` };
}

function withIds(ids: readonly string[]): wire.Where {
  return { op: 'containsAny', property: wire.ID_PROPERTY, values: ids.map((id) => uuidOf(id)) };
}

function chunks<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}

/** As many objects in one batch as fit into one message, and one at least. */
function* bySize<T extends { readonly bytes: Uint8Array }>(
  objects: readonly T[],
  batchBytes: number,
): Generator<readonly T[]> {
  let batch: T[] = [];
  let length = 0;
  for (const object of objects) {
    if (batch.length > 0 && length + object.bytes.length > batchBytes) {
      yield batch;
      batch = [];
      length = 0;
    }
    batch.push(object);
    length += object.bytes.length;
  }
  if (batch.length > 0) yield batch;
}

const meta = z.object({ version: z.string(), grpcMaxMessageSize: z.number().positive().optional() });

/** What the server says of itself: it needs credentials, and is the cheapest request that does. */
async function metaOf(api: Rest, signal: AbortSignal) {
  const { version, grpcMaxMessageSize = MESSAGE_BYTES } = await api.json('GET', '/meta', meta, { signal });
  return { version, messageBytes: grpcMaxMessageSize };
}

/** @throws ConnectorError `unsupported` for a server that is too old. */
function checkVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [minMajor, minMinor] = MINIMUM;
  if (major > minMajor || (major === minMajor && minor >= minMinor)) return;
  throw new ConnectorError(
    'unsupported',
    `the server is Weaviate ${quoted(version)}, and filters need ${MINIMUM.join('.')} at least`,
    { details: { capability: 'version' } },
  );
}

/** That calls arrive at the gRPC port, which is another one than that of the endpoint. */
async function health(grpc: GrpcChannel, options: WeaviateOptions, signal: AbortSignal): Promise<void> {
  const { host, port } = grpcTarget(options);
  try {
    const reply = await grpc.call('/grpc.health.v1.Health/Check', new Uint8Array(), signal);
    if (wire.healthReply(reply)) return;
  } catch (error) {
    if (signal.aborted) throw error;
    const { code, message, details, retryAfterMs } = asConnectorError(error);
    throw new ConnectorError(code, `gRPC at ${host}:${port}, the option grpc_endpoint: ${message}`, {
      cause: error,
      details,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  }
  throw new ConnectorError('unavailable', `gRPC at ${host}:${port} does not take calls yet`);
}
