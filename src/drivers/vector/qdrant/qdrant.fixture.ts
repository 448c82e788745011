import { once } from 'node:events';
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Schemas } from '@qdrant/js-client-rest';
import { wireContract } from '../../../testing/wire-contract.fixture.ts';
import { matchesFilter, Refusal } from './qdrant-filter.fixture.ts';
import { parsedByQdrant } from './qdrant-json.fixture.ts';

/** A double of Qdrant's REST API on loopback. */
export type QdrantDouble = {
  readonly url: string;
  /** What was asked for, such as `PUT /collections/a/points?wait=true`. */
  readonly requests: readonly string[];
  /** Requests and answers that Qdrant's published contract does not have. */
  readonly violations: readonly string[];
  /** Answers the next request with a failure. */
  refuseNext(status: number, body: string, headers?: OutgoingHttpHeaders): void;
  readonly collections: ReadonlyMap<string, Stored>;
  close(): Promise<void>;
};

type Payload = Record<string, unknown>;
type StoredPoint = { readonly id: string; readonly vector: Float32Array; readonly payload: Payload };
export type Stored = {
  readonly config: { readonly size: number; readonly distance: Schemas['Distance'] };
  readonly params: Schemas['CollectionParams'];
  readonly indexes: Map<string, Schemas['PayloadSchemaType']>;
  readonly points: Map<string, StoredPoint>;
};

const declarations = path.join(
  createRequire(import.meta.url).resolve('@qdrant/js-client-rest'),
  '../../types/openapi/generated_schema.d.ts',
);
// https://github.com/qdrant/qdrant/blob/master/config/config.yaml (`max_request_size_mb: 32`), read 2026-11-25.
const MAX_BODY_BYTES = 32 * 2 ** 20;
// https://qdrant.tech/documentation/manage-data/points/#point-ids (read 2026-11-25)
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const BODY = ['requestBody', 'content', 'application/json'];
const ANSWER = ['responses', '200', 'content', 'application/json'];

type Answer = readonly [status: number, body: string, headers?: OutgoingHttpHeaders];
type Request = { readonly name: string; readonly body: unknown; readonly query: URLSearchParams };
type Route = readonly [
  method: string,
  path: RegExp,
  operation: string,
  answer: (request: Request) => unknown,
];

/**
 * Starts the double. Each request and each answer is held against the types that `@qdrant/js-client-rest` carries,
 * which are generated from Qdrant's OpenAPI; what a request means is taken from Qdrant's documentation.
 *
 * It keeps no graph: every search compares all vectors, as Qdrant does for small collections. Equally near points come
 * in the order of their ids and are cut there, which is no order of ours.
 */
export async function qdrantDouble({
  apiKey,
  version = '1.19.0',
}: { readonly apiKey?: string; readonly version?: string } = {}): Promise<QdrantDouble> {
  const contract = wireContract(declarations);
  const collections = new Map<string, Stored>();
  const requests: string[] = [];
  const violations: string[] = [];
  let refusal: { status: number; body: string; headers: OutgoingHttpHeaders } | undefined;
  const at = (name: string): Stored => {
    const found = collections.get(name);
    if (!found) throw new Refusal(404, `Not found: Collection \`${name}\` doesn't exist!`);
    return found;
  };

  const routes: readonly Route[] = [
    ['GET', /^\/$/, 'root', () => ({ title: 'qdrant - vector search engine', version })],
    [
      'GET',
      /^\/collections\/([^/]+)\/exists$/,
      'collection_exists',
      ({ name }) => ({ exists: collections.has(name) }),
    ],
    ['GET', /^\/collections\/([^/]+)$/, 'get_collection', ({ name }) => infoOf(at(name))],
    [
      'PUT',
      /^\/collections\/([^/]+)$/,
      'create_collection',
      ({ name, body }) => {
        if (collections.has(name))
          throw new Refusal(409, `Wrong input: Collection \`${name}\` already exists!`);
        collections.set(name, created(body as Schemas['CreateCollection']));
        return true;
      },
    ],
    ['DELETE', /^\/collections\/([^/]+)$/, 'delete_collection', ({ name }) => collections.delete(name)],
    [
      'PUT',
      /^\/collections\/([^/]+)\/index$/,
      'create_field_index',
      ({ name, body, query }) => {
        const { field_name, field_schema } = body as Schemas['CreateFieldIndex'];
        at(name).indexes.set(field_name, field_schema as Schemas['PayloadSchemaType']);
        return done(query);
      },
    ],
    [
      'PUT',
      /^\/collections\/([^/]+)\/points$/,
      'upsert_points',
      ({ name, body, query }) => upserted(at(name), (body as Schemas['PointsList']).points, query),
    ],
    [
      'POST',
      /^\/collections\/([^/]+)\/points$/,
      'get_points',
      ({ name, body }) => retrieved(at(name), body as Schemas['PointRequest']),
    ],
    [
      'POST',
      /^\/collections\/([^/]+)\/points\/query$/,
      'query_points',
      ({ name, body }) => queried(at(name), body as Schemas['QueryRequest']),
    ],
    [
      'POST',
      /^\/collections\/([^/]+)\/points\/scroll$/,
      'scroll_points',
      ({ name, body }) => scrolled(at(name), body as Schemas['ScrollRequest']),
    ],
    [
      'POST',
      /^\/collections\/([^/]+)\/points\/count$/,
      'count_points',
      ({ name, body }) => ({ count: filtered(at(name), (body as Schemas['CountRequest']).filter).length }),
    ],
    [
      'POST',
      /^\/collections\/([^/]+)\/points\/delete$/,
      'delete_points',
      ({ name, body, query }) => deleted(at(name), body as Schemas['PointsSelector'], query),
    ],
  ];

  const published = (what: string, type: string, value: unknown, part: readonly string[]): void => {
    try {
      contract.check(type, value, part);
    } catch (error) {
      violations.push(`${what}: ${String(error)}`);
      throw new Refusal(400, `Format error in JSON body: ${String(error)}`);
    }
  };

  const respond = async (request: IncomingMessage): Promise<Answer> => {
    const { method = '', url = '/' } = request;
    const text = await bodyOf(request);
    requests.push(`${method} ${url}`);
    if (refusal) {
      const { status, body, headers } = refusal;
      refusal = undefined;
      return [status, body, headers];
    }
    const { pathname, searchParams: query } = new URL(url, 'http://double');
    // https://qdrant.tech/documentation/operations/security/ (read 2026-11-25): the header `api-key`. The words and
    // the plain text are those of `validate_request` in src/common/auth/mod.rs; the root needs no key.
    if (apiKey !== undefined && pathname !== '/') {
      const given = request.headers['api-key'];
      if (given === undefined) return [401, 'Must provide an API key or an Authorization bearer token'];
      if (given !== apiKey) return [401, 'Invalid API key or JWT'];
    }
    const route = routes.find(([verb, pattern]) => verb === method && pattern.test(pathname));
    if (!route) return [404, ''];
    const [, pattern, operation, answer] = route;
    const name = decodeURIComponent(pattern.exec(pathname)?.[1] ?? '');
    if (text.length > MAX_BODY_BYTES) throw new Refusal(413, 'Payload reached size limit');
    const what = `${method} ${url}`;
    const body = text === '' ? undefined : parsedByQdrant(text);
    if (method === 'PUT' || method === 'POST') published(what, operation, body, BODY);
    if (query.size > 0) published(what, operation, parametersOf(query), ['parameters', 'query']);
    const result = answer({ name, body, query });
    const whole = operation === 'root' ? result : { result, status: 'ok', time: 0.001 };
    published(`the answer to ${what}`, operation, whole, ANSWER);
    return [200, JSON.stringify(whole)];
  };

  const server = createServer((request, response) => {
    void respond(request)
      .catch((error: unknown): Answer => {
        if (!(error instanceof Refusal))
          violations.push(`${request.method} ${request.url}: ${String(error)}`);
        const failure = { status: { error: error instanceof Error ? error.message : '' }, time: 0.001 };
        return [error instanceof Refusal ? error.status : 500, JSON.stringify(failure)];
      })
      .then((answer) => send(response, ...answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    violations,
    refuseNext: (status, body, headers = {}) => (refusal = { status, body, headers }),
    collections,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function send(
  response: ServerResponse,
  status: number,
  text: string,
  headers: OutgoingHttpHeaders = {},
): void {
  const type = /^[[{]/.test(text) ? 'application/json' : 'text/plain';
  response.writeHead(status, { 'content-type': type, ...headers }).end(text);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Query parameters are text; the contract has the types that they stand for. */
function parametersOf(query: URLSearchParams): Record<string, unknown> {
  const typed = (text: string): unknown =>
    text === 'true' || text === 'false' ? text === 'true' : /^\d+$/.test(text) ? Number(text) : text;
  return Object.fromEntries([...query].map(([name, text]) => [name, typed(text)]));
}

function created(body: Schemas['CreateCollection']): Stored {
  const { size, distance } = body.vectors as Schemas['VectorParams'];
  const { replication_factor, write_consistency_factor } = body;
  const params = {
    vectors: { size, distance },
    shard_number: 1,
    replication_factor: replication_factor ?? 1,
    write_consistency_factor: write_consistency_factor ?? 1,
    on_disk_payload: true,
  };
  return { config: { size, distance }, params, indexes: new Map(), points: new Map() };
}

function infoOf({ params, indexes, points }: Stored): Schemas['CollectionInfo'] {
  const payload_schema = Object.fromEntries(
    [...indexes].map(([field, data_type]) => [field, { data_type, points: points.size }]),
  );
  return {
    status: 'green',
    optimizer_status: 'ok',
    points_count: points.size,
    segments_count: 1,
    config: {
      params,
      hnsw_config: { m: 16, ef_construct: 100, full_scan_threshold: 10_000 },
      optimizer_config: {
        deleted_threshold: 0.2,
        vacuum_min_vector_number: 1_000,
        default_segment_number: 0,
        flush_interval_sec: 5,
      },
    },
    payload_schema,
  };
}

/**
 * https://qdrant.tech/documentation/manage-data/points/#awaiting-result (read 2026-11-25): without `wait` a write is
 * acknowledged and not yet to be found. Here it is never found, so that nobody counts on luck.
 */
function done(query: URLSearchParams): Schemas['UpdateResult'] {
  return { operation_id: 0, status: query.get('wait') === 'true' ? 'completed' : 'acknowledged' };
}

function upserted(stored: Stored, given: readonly Schemas['PointStruct'][], query: URLSearchParams): unknown {
  const { size, distance } = stored.config;
  const points = given.map(({ id, vector, payload }) => {
    const values = Float32Array.from(vector as number[]);
    if (typeof id !== 'string' || !UUID.test(id))
      throw new Refusal(400, `value ${id} is not a valid point ID`);
    if (values.length !== size)
      throw new Refusal(
        400,
        `Wrong input: Vector dimension error: expected dim: ${size}, got ${values.length}`,
      );
    return {
      id,
      vector: distance === 'Cosine' ? normalised(values) : values,
      payload: payload ?? {},
    };
  });
  if (query.get('wait') === 'true') for (const point of points) stored.points.set(point.id, point);
  return done(query);
}

/**
 * "Vectors are automatically normalized during upload" (https://qdrant.tech/documentation/manage-data/collections/),
 * in float32 and with the exceptions of `cosine_preprocess` in
 * https://github.com/qdrant/qdrant/blob/master/lib/segment/src/spaces/simple.rs (both read 2026-11-25).
 */
function normalised(vector: Float32Array): Float32Array {
  const squares = sum32(vector, (x) => x * x);
  if (squares < 2 ** -23 || Math.abs(squares - 1) <= 1e-6) return vector;
  const length = Math.fround(Math.sqrt(squares));
  return vector.map((x) => x / length);
}

/**
 * The score as the metric has it, in float32: "Euclid" is the distance itself, smaller is nearer (`postprocess` in
 * simple.rs, as above, and https://qdrant.tech/documentation/search/search/#filtering-results-by-score).
 */
function scoreOf(distance: Schemas['Distance'], query: Float32Array, vector: Float32Array): number {
  if (distance === 'Euclid')
    return Math.fround(Math.sqrt(sum32(vector, (x, i) => (x - (query[i] ?? 0)) ** 2)));
  return sum32(vector, (x, i) => x * (query[i] ?? 0));
}

function sum32(vector: Float32Array, term: (x: number, i: number) => number): number {
  return vector.reduce((sum, x, i) => Math.fround(sum + Math.fround(term(x, i))), 0);
}

function queried(stored: Stored, request: Schemas['QueryRequest']): Schemas['QueryResponse'] {
  const { query, filter, limit, with_payload, with_vector } = request;
  const { distance, size } = stored.config;
  if (!Array.isArray(query) || query.length !== size)
    throw new Refusal(400, `Wrong input: Vector dimension error: expected dim: ${size}`);
  const given = Float32Array.from(query as number[]);
  const vector = distance === 'Cosine' ? normalised(given) : given;
  const sign = distance === 'Euclid' ? 1 : -1;
  const points = filtered(stored, filter)
    .map((point) => ({ point, score: scoreOf(distance, vector, point.vector) }))
    .sort((a, b) => sign * (a.score - b.score) || (a.point.id < b.point.id ? -1 : 1))
    .slice(0, limit ?? 10)
    .map(({ point, score }) => ({ ...shown(point, { with_payload, with_vector }), version: 0, score }));
  return { points };
}

function filtered(stored: Stored, filter: unknown): readonly StoredPoint[] {
  const indexed = new Set(stored.indexes.keys());
  const points = [...stored.points.values()];
  if (filter === undefined || filter === null) return points;
  return points.filter(({ id, payload }) =>
    matchesFilter(filter as Schemas['Filter'], payload, { prefix: '', indexed, id }),
  );
}

/** "All resulting points are sorted by ID", https://qdrant.tech/documentation/manage-data/points/#scroll-points (read 2026-11-25). */
function scrolled(stored: Stored, request: Schemas['ScrollRequest']): Schemas['ScrollResult'] {
  const { offset, limit, filter, with_payload = true, with_vector } = request;
  const sorted = filtered(stored, filter).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const from = sorted.filter(({ id }) => offset === undefined || offset === null || id >= String(offset));
  const size = limit ?? 10;
  return {
    points: from.slice(0, size).map((point) => shown(point, { with_payload, with_vector })),
    next_page_offset: from[size]?.id ?? null,
  };
}

function retrieved(
  stored: Stored,
  { ids, with_payload = true, with_vector }: Schemas['PointRequest'],
): unknown {
  // Nothing is said about their order.
  return [...stored.points.values()]
    .filter(({ id }) => ids.includes(id))
    .map((point) => shown(point, { with_payload, with_vector }));
}

function deleted(stored: Stored, selector: Schemas['PointsSelector'], query: URLSearchParams): unknown {
  const ids = 'points' in selector ? selector.points : filtered(stored, selector.filter).map(({ id }) => id);
  if (query.get('wait') === 'true') for (const id of ids) stored.points.delete(String(id));
  return done(query);
}

type Shown = { readonly with_payload: unknown; readonly with_vector: unknown };

function shown(
  { id, payload, vector }: StoredPoint,
  { with_payload, with_vector }: Shown,
): Schemas['Record'] {
  const fields = Array.isArray(with_payload) ? (with_payload as string[]) : undefined;
  const selected = fields ? fields.filter((field) => Object.hasOwn(payload, field)) : Object.keys(payload);
  return {
    id,
    ...(with_payload !== undefined &&
      with_payload !== false && {
        payload: Object.fromEntries(selected.map((field) => [field, payload[field]])),
      }),
    ...(with_vector === true && { vector: [...vector] }),
  };
}
