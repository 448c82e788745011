import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { wireContract } from '../../../testing/wire-contract.fixture.ts';
import { InvalidArgument } from './pinecone-filter.fixture.ts';
import {
  checkId,
  decimals,
  doubleNamespace,
  type DoubleMetric,
  type DoubleNamespace,
  type DoubleVector,
  type QueryBody,
} from './pinecone-index.fixture.ts';

const require = createRequire(import.meta.url);
const generated = path.join(
  path.dirname(require.resolve('@pinecone-database/pinecone')),
  'pinecone-generated-ts-fetch',
);
/** The generated mapping between names on the wire (`deployment_type`) and in the models (`deploymentType`). */
const control = require(path.join(generated, 'db_control')) as Record<string, (value: unknown) => unknown>;
const controlContract = wireContract(path.join(generated, 'db_control/models/*.d.ts'));
const dataContract = wireContract(path.join(generated, 'db_data/models/*.d.ts'));

const API_VERSION = '2026-07';
const MAX_UPSERT_BYTES = 2_000_000;
/** Requests for statistics after which they are brought up to date. */
const STATISTICS_LAG = 4;

type Index = {
  readonly name: string;
  readonly dimension: number;
  readonly metric: DoubleMetric;
  readonly host: string;
  readonly namespaces: Map<string, DoubleNamespace>;
  readonly server: Server;
  statistics: Readonly<Record<string, { readonly vectorCount: number }>>;
  statisticsAge: number;
  readonly lags: readonly number[];
  /** Descriptions before it says that it is ready. */
  unready: number;
};
type Reply = { readonly status?: number; readonly body: unknown; readonly headers?: Record<string, string> };
type Request = {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly text: string;
};

/** A double of Pinecone on loopback. */
export type PineconeDouble = {
  /** Of the control plane; each index has a server of its own. */
  readonly endpoint: string;
  readonly apiKey: string;
  /** `POST /query` …, in order. */
  readonly requests: readonly string[];
  /** What in a request or an answer was not as Pinecone publishes it. */
  readonly violations: readonly string[];
  createIndex(name: string, dimension: number, metric: DoubleMetric): Promise<void>;
  /** Takes an index away beneath everybody. */
  removeIndex(name: string): void;
  /** Answers the next request to an index with this instead. */
  failNext(reply: Reply): void;
  close(): Promise<void>;
};

/**
 * Pinecone's control plane and its data plane for dense vectors, in memory, as its documentation has them. Each request
 * and each answer is held against the models that are generated from its OpenAPI documents and come with its client.
 */
export async function pineconeDouble({
  apiKey = 'pcsk_double-key',
  lags = [2, 3],
}: {
  readonly apiKey?: string;
  /** For each reader of a namespace the queries to it before it sees a write; they are asked in turn. */
  readonly lags?: readonly number[];
} = {}): Promise<PineconeDouble> {
  const indexes = new Map<string, Index>();
  const requests: string[] = [];
  const violations: string[] = [];
  const failures: Reply[] = [];

  const checked = <T>(check: () => T): T | undefined => {
    try {
      return check();
    } catch (error) {
      violations.push(String(error));
      return undefined;
    }
  };
  const serve = async (answer: (request: Request) => Reply | Promise<Reply>): Promise<Server> => {
    const server = createServer((request, response) => {
      void handle(request, response, answer);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  const handle = async (
    request: IncomingMessage,
    response: ServerResponse,
    answer: (request: Request) => Reply | Promise<Reply>,
  ): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', 'http://double');
    requests.push(`${request.method} ${url.pathname}`);
    const text = Buffer.concat(chunks).toString();
    let reply: Reply;
    if (request.headers['api-key'] !== apiKey) reply = { status: 401, body: 'Unauthorized' };
    else {
      if (request.headers['x-pinecone-api-version'] !== API_VERSION) violations.push('no version of the API');
      reply = await answer({
        method: request.method ?? '',
        path: url.pathname,
        query: url.searchParams,
        text,
      });
    }
    const isText = typeof reply.body === 'string';
    response
      .writeHead(reply.status ?? 200, {
        'content-type': isText ? 'text/plain' : 'application/json',
        ...reply.headers,
      })
      .end(isText ? reply.body : JSON.stringify(reply.body));
  };

  const create = async (
    name: string,
    dimension: number,
    metric: DoubleMetric,
    unready = 0,
  ): Promise<Index> => {
    const server = await serve((request) => {
      const failure = failures.shift();
      if (failure) return failure;
      if (indexes.get(name) !== index) return rpcError(404, 5, 'Index not found');
      return checkedData(request, () => dataPlane(index, request), checked);
    });
    const index: Index = {
      name,
      dimension,
      metric,
      host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      namespaces: new Map(),
      server,
      lags,
      statistics: {},
      statisticsAge: 0,
      unready,
    };
    indexes.set(name, index);
    return index;
  };

  const controlPlane = async ({ method, path: at, text }: Request): Promise<Reply> => {
    const answer = (type: string, body: unknown, status = 200): Reply => {
      checked(() => checkControl(type, body));
      return { status, body };
    };
    const failure = (status: number, code: string, message: string) =>
      answer('ErrorResponse', { status, error: { code, message } }, status);
    if (method === 'GET' && at === '/indexes')
      return answer('IndexList', { indexes: [...indexes.values()].map(described) });
    if (method === 'POST' && at === '/indexes') {
      const body = JSON.parse(text) as {
        name: string;
        schema: { fields: Record<string, { dimension: number; metric: DoubleMetric }> };
      };
      checked(() => checkControl('CreateIndexRequest', body));
      if (indexes.has(body.name)) return failure(409, 'ALREADY_EXISTS', 'Resource already exists');
      const field = body.schema.fields['_values'];
      if (!field) return failure(422, 'UNPROCESSABLE_ENTITY', 'the schema holds no _values');
      return answer('IndexModel', described(await create(body.name, field.dimension, field.metric, 2)), 201);
    }
    const index = indexes.get(decodeURIComponent(at.replace('/indexes/', '')));
    if (method !== 'GET' || !index) return failure(404, 'NOT_FOUND', `Resource ${at} not found`);
    index.unready = Math.max(0, index.unready - 1);
    return answer('IndexModel', described(index));
  };

  const server = await serve(controlPlane);
  const all: Server[] = [server];
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    apiKey,
    requests,
    violations,
    async createIndex(name, dimension, metric) {
      await create(name, dimension, metric);
    },
    removeIndex(name) {
      const index = indexes.get(name);
      // It goes on answering, for the clients that know its host.
      if (index) all.push(index.server);
      indexes.delete(name);
    },
    failNext: (reply) => void failures.push(reply),
    async close() {
      for (const one of [...all, ...[...indexes.values()].map((index) => index.server)]) {
        const closed = once(one, 'close');
        one.close();
        one.closeAllConnections();
        await closed;
      }
    },
  };
}

function described({ name, dimension, metric, host, unready }: Index) {
  return {
    name,
    host,
    status: { ready: unready === 0, state: unready === 0 ? 'Ready' : 'Initializing' },
    deployment: { deployment_type: 'managed', cloud: 'aws', region: 'us-east-1' },
    read_capacity: { mode: 'OnDemand', status: { state: 'Ready' } },
    schema: {
      fields: {
        _values: { type: 'dense_vector', dimension, metric },
        _sparse_values: { type: 'sparse_vector' },
      },
    },
    tags: null,
    deletion_protection: 'disabled',
  };
}

/** The value in the names of the models is of the type, and on the way back nothing of it is lost. */
function checkControl(type: string, wire: unknown): void {
  const read = control[`${type}FromJSON`]?.(wire);
  controlContract.check(type, JSON.parse(JSON.stringify(read)));
  const back: unknown = JSON.parse(JSON.stringify(control[`${type}ToJSON`]?.(read)));
  const sent: unknown = JSON.parse(JSON.stringify(wire, (_, value: unknown) => value ?? undefined));
  if (!isDeepStrictEqual(back, sent))
    throw new Error(`not ${type} as published: ${JSON.stringify(sent)} is read as ${JSON.stringify(back)}`);
}

/** The models of each request of the data plane and of its answer, whose names are those on the wire. */
const MODELS: Readonly<Record<string, readonly [request: string | undefined, answer: string | undefined]>> = {
  'POST /vectors/upsert': ['UpsertRequest', 'UpsertResponse'],
  'POST /vectors/delete': ['DeleteRequest', undefined],
  'POST /query': ['QueryRequest', 'QueryResponse'],
  'GET /vectors/fetch': [undefined, 'FetchResponse'],
  'POST /vectors/fetch_by_metadata': ['FetchByMetadataRequest', 'FetchByMetadataResponse'],
  'GET /vectors/list': [undefined, 'ListResponse'],
  'POST /describe_index_stats': ['DescribeIndexStatsRequest', 'IndexDescription'],
};

function checkedData(
  { method, path: at, text }: Request,
  answer: () => Reply,
  checked: (check: () => void) => void,
): Reply {
  const [request, response] = MODELS[`${method} ${at}`] ?? [];
  if (request !== undefined) checked(() => dataContract.check(request, JSON.parse(text)));
  let reply: Reply;
  try {
    reply = answer();
  } catch (error) {
    if (!(error instanceof InvalidArgument)) throw error;
    reply = rpcError(400, 3, error.message);
  }
  const type = (reply.status ?? 200) < 400 ? response : 'RpcStatus';
  if (type !== undefined) checked(() => dataContract.check(type, JSON.parse(JSON.stringify(reply.body))));
  return reply;
}

function dataPlane(index: Index, { method, path: at, query, text }: Request): Reply {
  const body = (text === '' ? {} : JSON.parse(text)) as {
    readonly namespace?: string;
    readonly vectors?: readonly Partial<DoubleVector>[];
    readonly ids?: readonly string[];
    readonly deleteAll?: boolean;
    readonly filter?: unknown;
    readonly limit?: number;
    readonly paginationToken?: string;
  };
  const name = body.namespace ?? query.get('namespace') ?? '';
  const known = index.namespaces.get(name);
  const space = known ?? doubleNamespace(index.dimension, index.metric, index.lags);
  const usage = { readUnits: 1 };
  switch (`${method} ${at}`) {
    case 'POST /vectors/upsert': {
      const vectors = body.vectors ?? [];
      if (Buffer.byteLength(text) > MAX_UPSERT_BYTES)
        throw new InvalidArgument('Request size exceeds the maximum supported size of 2MB');
      if (vectors.length < 1 || vectors.length > 1_000) throw new InvalidArgument('1 to 1000 vectors');
      const lsn = space.upsert(
        vectors.map(({ id = '', values = [], metadata = {} }) => ({
          id,
          values: values.map(Math.fround),
          metadata,
        })),
      );
      index.namespaces.set(name, space);
      return { body: { upsertedCount: vectors.length }, headers: written(lsn) };
    }
    case 'POST /vectors/delete': {
      // https://github.com/pinecone-io/pinecone-ts-client/issues/324 (read 2026-11-25)
      if (!space.exists()) return rpcError(404, 5, 'Namespace not found');
      if (body.deleteAll) return { body: {}, headers: written(space.deleteAll()) };
      if (body.filter !== undefined) return { body: {}, headers: written(space.deleteMatching(body.filter)) };
      return { body: {}, headers: written(space.deleteIds(ids(body.ids ?? []))) };
    }
    case 'POST /query': {
      const { matches, indexed } = space.query(body as QueryBody);
      const headers = indexed === undefined ? {} : { 'x-pinecone-max-indexed-lsn': String(indexed) };
      return { body: { results: [], matches, namespace: name, usage }, headers };
    }
    case 'GET /vectors/fetch': {
      const found = space.fetch(ids(query.getAll('ids'))).map(decimals);
      return {
        body: { vectors: Object.fromEntries(found.map((one) => [one.id, one])), namespace: name, usage },
      };
    }
    case 'POST /vectors/fetch_by_metadata': {
      const { limit = 100, paginationToken = null } = body;
      if (limit < 1 || limit > 10_000) throw new InvalidArgument('limit is from 1 to 10000');
      const found = space.matching(body.filter).sort((a, b) => (a.id < b.id ? -1 : 1));
      const { items, pagination } = page(found, limit, paginationToken);
      return {
        body: {
          vectors: Object.fromEntries(items.map(decimals).map((one) => [one.id, one])),
          namespace: name,
          usage,
          ...pagination,
        },
      };
    }
    case 'GET /vectors/list': {
      const limit = Number(query.get('limit') ?? 100);
      if (limit < 1 || limit > 100) throw new InvalidArgument('limit is from 1 to 100');
      const all = space.ids().map((id) => ({ id }));
      const { items, pagination } = page(all, limit, query.get('paginationToken'));
      return { body: { vectors: items, namespace: name, usage, ...pagination } };
    }
    case 'POST /describe_index_stats': {
      if (index.statisticsAge++ % STATISTICS_LAG === 0) index.statistics = counts(index);
      return {
        body: {
          namespaces: index.statistics,
          dimension: index.dimension,
          indexFullness: 0,
          totalVectorCount: Object.values(index.statistics).reduce((sum, one) => sum + one.vectorCount, 0),
          metric: index.metric,
          vectorType: 'dense',
        },
      };
    }
    default:
      return rpcError(404, 5, 'no such endpoint');
  }
}

function counts({ namespaces }: Index): Index['statistics'] {
  const all = [...namespaces].map(([name, space]) => [name, { vectorCount: space.count() }] as const);
  return Object.fromEntries(all.filter(([, { vectorCount }]) => vectorCount > 0));
}

function ids(all: readonly string[]): readonly string[] {
  if (all.length < 1 || all.length > 1_000) throw new InvalidArgument('1 to 1000 ids');
  all.forEach(checkId);
  return all;
}

/** The items after the one that the token names, and the token of the last, as Pinecone's own look. */
function page<T extends { readonly id: string }>(items: readonly T[], limit: number, token: string | null) {
  const after = token === null || token === '' ? '' : skipPast(token);
  const rest = items.filter(({ id }) => id > after);
  const last = rest[limit - 1];
  const next = last && Buffer.from(JSON.stringify({ skip_past: last.id })).toString('base64');
  return {
    items: rest.slice(0, limit),
    pagination: next !== undefined && rest.length > limit ? { pagination: { next } } : {},
  };
}

function skipPast(token: string): string {
  try {
    const read = JSON.parse(Buffer.from(token, 'base64').toString()) as { readonly skip_past: string };
    return read.skip_past;
  } catch {
    throw new InvalidArgument('Invalid pagination token');
  }
}

function written(lsn: number): Record<string, string> {
  return { 'x-pinecone-request-lsn': String(lsn) };
}

function rpcError(status: number, code: number, message: string): Reply {
  return { status, body: { code, message, details: [] } };
}
