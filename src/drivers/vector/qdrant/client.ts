import type { Schemas } from '@qdrant/js-client-rest';
import { z } from 'zod';
import {
  invalidField,
  nearer,
  reach,
  targetOf,
  type ClientMatch,
  type ClientQuery,
  type DeleteSelector,
  type DistanceMetric,
  type Fetcher,
  type Filter,
  type ListPage,
  type Note,
  type StoredVector,
  type UpsertError,
  type VectorClient,
  type VectorOpenContext,
  type VectorPage,
  type VectorRecord,
} from '../../../driver.ts';
import { restApi, type Api, type Call } from './api.ts';
import { collectionNotes, doesExist, ensureCollection, type Collection } from './collection.ts';
import { compiled, EVERYTHING } from './filter.ts';
import type { QdrantOptions } from './options.ts';
import { point, pointId, pointOf, RECORD_FIELDS, recordOf, valuesOf, vectorOf, type Point } from './point.ts';

// `max_request_size_mb: 32` (https://github.com/qdrant/qdrant/blob/master/config/config.yaml, read 2026-11-25), with
// room for a megabyte that is a million bytes and for what stands around the points.
const MAX_BODY_BYTES = 31_900_000;
/** Of an answer at most, about: all of it is one string in memory, which half a gigabyte cannot be. */
const MAX_ANSWER_BYTES = 64_000_000;
/** A number of a vector in JSON at most, or in the payload of a cosine. */
const NUMBER_BYTES = 16;
/** What a record is taken to have besides its values, when it is decided how many may come at once. */
const RECORD_BYTES = 8_192;
/** Matches that a search reads at most to find all that are as near as the last one. */
const MAX_TIED = 65_536;
const CONNECTIONS = 8;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

// https://qdrant.tech/documentation/manage-data/points/#awaiting-result and
// https://qdrant.tech/documentation/scaling/consistency-guarantees/ (read 2026-11-25): a write is answered when it can
// be found, and writes go through the leader of their shard, one after the other.
const WRITE = { wait: 'true', ordering: 'strong' };

const written = z.object({ status: z.literal('completed') });
const points = z.array(point);
const scored = z.object({ points: z.array(point.extend({ score: z.number() })) });
const counted = z.object({ count: z.int().nonnegative() });
const scrolled = z.object({ points, next_page_offset: z.union([z.string(), z.number()]).nullish() });

/** Opens the collection of a connector, stage by stage, and makes it where it does not exist. */
export async function openQdrant(options: QdrantOptions, context: VectorOpenContext): Promise<VectorClient> {
  const { signal, dimension, metric } = context;
  const collection: Collection = {
    name: options.collection ?? `connector_${context.connectorId.replaceAll('-', '')}`,
    replicationFactor: options.replication_factor,
    dimension,
    metric,
  };
  await reach(context, targetOf(options.endpoint, options.ca));
  const fetcher = context.network.fetcher({ ca: options.ca, connections: CONNECTIONS });
  const api = restApi(options, fetcher, context.clock);
  try {
    const isThere = await context.stage('credentials', () => doesExist(api, collection.name, signal));
    await context.stage('collection', () => ensureCollection(api, collection, isThere, signal));
  } catch (error) {
    await fetcher.close();
    throw error;
  }
  return new QdrantClient(api, fetcher, collection, options);
}

class QdrantClient implements VectorClient {
  readonly #api: Api;
  readonly #fetcher: Fetcher;
  readonly #collection: Collection;
  readonly #metric: DistanceMetric;
  readonly #options: QdrantOptions;

  constructor(api: Api, fetcher: Fetcher, collection: Collection, options: QdrantOptions) {
    this.#api = api;
    this.#fetcher = fetcher;
    this.#collection = collection;
    this.#metric = collection.metric;
    this.#options = options;
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const notes = await collectionNotes(this.#api, this.#collection, signal);
    const { endpoint, api_key } = this.#options;
    if (api_key === undefined || endpoint.startsWith('https:')) return notes;
    return [...notes, { level: 'warn', message: 'the API key is sent in clear; use an endpoint with https' }];
  }

  close(): Promise<void> {
    return this.#fetcher.close();
  }

  async upsert(records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly UpsertError[]> {
    const errors: UpsertError[] = [];
    const kept: string[] = [];
    for (const [index, record] of records.entries()) {
      const text = JSON.stringify(pointOf(record, this.#metric));
      if (Buffer.byteLength(text) <= MAX_BODY_BYTES) kept.push(text);
      else {
        const message = `the record is more than ${MAX_BODY_BYTES} bytes as JSON`;
        errors.push({ index, id: record.id, code: 'payload_too_large', message });
      }
    }
    for (const part of inBodies(kept)) {
      const body = `{"points":[${part.join(',')}]}`;
      await this.#call({ method: 'PUT', path: ['points'], query: WRITE, body, answer: written }, signal);
    }
    return errors;
  }

  async search(
    vector: readonly number[] | Float32Array,
    { topK, filter, includeValues, includeMetadata }: ClientQuery,
    signal: AbortSignal,
  ): Promise<readonly ClientMatch[]> {
    const { exact, hnsw_ef } = this.#options;
    const query: Schemas['QueryRequest'] = {
      query: vectorOf(vector, this.#metric),
      ...(filter && { filter: compiled(filter) }),
      ...((exact || hnsw_ef !== undefined) && {
        params: { exact, ...(hnsw_ef !== undefined && { hnsw_ef }) },
      }),
    };
    const wanted = { values: includeValues, metadata: includeMetadata };
    let limit = topK + 1;
    const isWhole = limit <= this.#rowsAtOnce(wanted);
    let found = await this.#ranked(
      { ...query, limit, ...(isWhole ? this.#selected(wanted) : ID_ALONE) },
      signal,
    );
    const known = new Map<string, Point>(isWhole ? found.map(({ id, point }) => [id, point]) : []);
    // Qdrant cuts equally near points anywhere: read on until the last one is farther than the one at our cut.
    while (
      found.length === limit &&
      found[topK - 1]?.rawScore === found.at(-1)?.rawScore &&
      limit < MAX_TIED
    ) {
      limit = Math.min(limit * 4, MAX_TIED);
      found = await this.#ranked({ ...query, limit, ...ID_ALONE }, signal);
    }
    const best = found.toSorted(nearer(this.#metric)).slice(0, topK);
    const missing = best.flatMap(({ id }) => (known.has(id) ? [] : [id]));
    for (const read of await this.#retrieve(missing, wanted, signal)) known.set(recordOf(read).id, read);
    return best.flatMap(({ id, rawScore }) => {
      // Gone between the two requests.
      const at = known.get(id);
      if (!at) return [];
      const { metadata, text } = recordOf(at);
      return {
        id,
        rawScore,
        ...(metadata !== undefined && { metadata }),
        ...(text !== undefined && { text }),
        ...(includeValues && { values: valuesOf(at, this.#metric) }),
      };
    });
  }

  async delete(selector: DeleteSelector, signal: AbortSignal): Promise<number> {
    if ('ids' in selector) {
      const ids = [...new Set(selector.ids)].map(pointId);
      const existing = await this.#points({ ids, with_payload: false }, signal);
      if (existing.length > 0) await this.#delete({ points: existing.map(({ id }) => id) }, signal);
      return existing.length;
    }
    const filter = 'filter' in selector ? compiled(selector.filter) : EVERYTHING;
    const count = await this.#count(filter, signal);
    if (count > 0) await this.#delete({ filter }, signal);
    return count;
  }

  async fetch(ids: readonly string[], signal: AbortSignal): Promise<readonly StoredVector[]> {
    const wanted = { values: true, metadata: true };
    const found = await this.#retrieve([...new Set(ids)], wanted, signal);
    const records = new Map(
      found.map((one) => [recordOf(one).id, { ...recordOf(one), values: valuesOf(one, this.#metric) }]),
    );
    return ids.flatMap((id) => records.get(id) ?? []);
  }

  count(filter: Filter | undefined, signal: AbortSignal): Promise<number> {
    return this.#count(filter ? compiled(filter) : EVERYTHING, signal);
  }

  async list({ limit, cursor, includeValues }: ListPage, signal: AbortSignal): Promise<VectorPage> {
    if (cursor !== undefined && !UUID.test(cursor))
      throw invalidField('cursor', 'is what the page before answered');
    const wanted = { values: includeValues, metadata: true };
    const body: Schemas['ScrollRequest'] = {
      limit: Math.min(limit, this.#rowsAtOnce(wanted)),
      ...(cursor !== undefined && { offset: cursor }),
      ...this.#selected(wanted),
    };
    const { points: found, next_page_offset: next } = await this.#read(
      ['points', 'scroll'],
      body,
      scrolled,
      signal,
    );
    const records = found.map((one) => ({
      ...recordOf(one),
      ...(includeValues && { values: valuesOf(one, this.#metric) }),
    }));
    return { records, ...(typeof next === 'string' && { nextCursor: next }) };
  }

  async #ranked(
    request: Schemas['QueryRequest'],
    signal: AbortSignal,
  ): Promise<readonly (Ranked & { readonly point: Point })[]> {
    const found = await this.#read(['points', 'query'], request, scored, signal);
    return found.points.map((one) => ({
      id: recordOf(one).id,
      // Rounding takes a cosine of float32 beyond 1.
      rawScore: this.#metric === 'cosine' ? Math.min(1, Math.max(-1, one.score)) : one.score,
      point: one,
    }));
  }

  async #retrieve(ids: readonly string[], wanted: Wanted, signal: AbortSignal): Promise<readonly Point[]> {
    const found: Point[] = [];
    const most = this.#rowsAtOnce(wanted);
    for (let start = 0; start < ids.length; start += most) {
      const part = ids.slice(start, start + most).map(pointId);
      found.push(...(await this.#points({ ids: part, ...this.#selected(wanted) }, signal)));
    }
    return found;
  }

  /** Records that one answer may hold. */
  #rowsAtOnce({ values }: Wanted): number {
    const bytes = RECORD_BYTES + (values ? this.#collection.dimension * NUMBER_BYTES : 0);
    return Math.max(1, Math.floor(MAX_ANSWER_BYTES / bytes));
  }

  #points(request: Schemas['PointRequest'], signal: AbortSignal): Promise<readonly Point[]> {
    return this.#read(['points'], request, points, signal);
  }

  async #count(filter: Schemas['Filter'], signal: AbortSignal): Promise<number> {
    const request: Schemas['CountRequest'] = { filter, exact: true };
    return (await this.#read(['points', 'count'], request, counted, signal)).count;
  }

  async #delete(selector: Schemas['PointsSelector'], signal: AbortSignal): Promise<void> {
    const body = JSON.stringify(selector);
    const path = ['points', 'delete'];
    await this.#call({ method: 'POST', path, query: WRITE, body, answer: written }, signal);
  }

  #read<Answer>(
    path: readonly string[],
    request: object,
    answer: z.ZodType<Answer>,
    signal: AbortSignal,
  ): Promise<Answer> {
    return this.#call({ method: 'POST', path, body: JSON.stringify(request), answer }, signal);
  }

  #call<Answer>(call: Call<Answer>, signal: AbortSignal): Promise<Answer> {
    return this.#api({ ...call, path: ['collections', this.#collection.name, ...call.path] }, signal);
  }

  /** What of each point is read: the original values are in the payload for cosine, and are the vector otherwise. */
  #selected({ values, metadata }: Wanted): {
    readonly with_payload: string[];
    readonly with_vector: boolean;
  } {
    const inPayload = this.#metric === 'cosine';
    const skipped = new Set([...(metadata ? [] : ['json']), ...(values && inPayload ? [] : ['values'])]);
    return {
      with_payload: RECORD_FIELDS.filter((field) => !skipped.has(field)),
      with_vector: values && !inPayload,
    };
  }
}

/** What a ranking needs of each point. */
const ID_ALONE = { with_payload: ['id'] };

type Wanted = { readonly values: boolean; readonly metadata: boolean };
type Ranked = { readonly id: string; readonly rawScore: number };

/** The texts in parts that fit into a request each. */
function* inBodies(texts: readonly string[]): Generator<readonly string[]> {
  let part: string[] = [];
  let bytes = 0;
  for (const text of texts) {
    const size = Buffer.byteLength(text) + 1;
    if (bytes + size > MAX_BODY_BYTES) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(text);
    bytes += size;
  }
  if (part.length > 0) yield part;
}
