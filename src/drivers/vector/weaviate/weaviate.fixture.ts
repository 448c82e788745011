import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createServer as createGrpcServer, ServerError, Status, type CallContext } from 'nice-grpc';
import {
  HealthCheckResponse_ServingStatus,
  HealthDefinition,
} from '../../../../node_modules/weaviate-client/dist/node/esm/proto/google/health/v1/health.js';
import type { BatchObject } from '../../../../node_modules/weaviate-client/dist/node/esm/proto/v1/batch.js';
import type {
  SearchRequest,
  SearchResult,
} from '../../../../node_modules/weaviate-client/dist/node/esm/proto/v1/search_get.js';
import { WeaviateDefinition } from '../../../../node_modules/weaviate-client/dist/node/esm/proto/v1/weaviate.js';
import { wireContract, type WireContract } from '../../../testing/wire-contract.fixture.ts';
import { Refusal, WeaviateStore, type StoredObject } from './weaviate-store.fixture.ts';

/** A double of Weaviate on loopback, with its REST and its gRPC API at ports of their own. */
export type WeaviateDouble = {
  readonly endpoint: string;
  readonly grpcEndpoint: string;
  readonly store: WeaviateStore;
  /** The gRPC requests, read with the code that Weaviate's own client was generated with. */
  readonly requests: {
    readonly method: string;
    readonly message: unknown;
    readonly metadata: CallContext['metadata'];
  }[];
  close(): Promise<void>;
};

export type DoubleOptions = {
  /** Without it everybody may do everything. */
  readonly apiKey?: string;
  readonly version?: string;
  readonly grpcMaxMessageSize?: number;
  /** By REST for `/nodes`. */
  readonly vectorQueueLength?: number;
};

/**
 * Weaviate's published REST types, as its client's package carries them. They are properties of one interface that
 * refers to itself, so each is made a type by itself first.
 */
function published(): WireContract {
  const file = '../../../../node_modules/weaviate-client/dist/node/esm/openapi/schema.d.ts';
  const text = readFileSync(new URL(file, import.meta.url), 'utf8').replaceAll(/\/\*\*[\s\S]*?\*\//g, '');
  const [, definitions = ''] = /^export interface definitions \{$([\s\S]*?)^\}$/m.exec(text) ?? [];
  const folder = mkdtempSync(path.join(tmpdir(), 'weaviate-contract-'));
  try {
    const types = path.join(folder, 'types.d.ts');
    const apart = definitions
      .replaceAll(/^ {4}(\w+)\??: /gm, 'export type $1 = ')
      .replaceAll(/definitions\['(\w+)'\]/g, '$1');
    writeFileSync(types, apart);
    const read = wireContract(types);
    for (const type of ['Class', 'Property', 'Tenant', 'Meta', 'ErrorResponse']) read.check(type, {});
    return read;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// Here, because it takes seconds, and no test has to wait for it.
const contract = published();

/** Starts it at free ports. */
export async function weaviateDouble(options: DoubleOptions = {}): Promise<WeaviateDouble> {
  const store = new WeaviateStore();
  const requests: WeaviateDouble['requests'] = [];
  const sockets = new Set<Socket>();
  const http = createServer((request, response) => void answer(store, options, request, response));
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;

  const grpc = createGrpcServer({ 'grpc.max_receive_message_length': 104_858_000 });
  grpc.add(HealthDefinition, {
    check: async () => ({ status: HealthCheckResponse_ServingStatus.SERVING }),
    watch: () => {
      throw new ServerError(Status.UNIMPLEMENTED, 'watch');
    },
  });
  grpc.add(WeaviateDefinition, service(store, options, requests));
  const grpcPort = await grpc.listen('127.0.0.1:0');

  return {
    endpoint: `http://127.0.0.1:${port}`,
    grpcEndpoint: `http://127.0.0.1:${grpcPort}`,
    store,
    requests,
    async close() {
      grpc.forceShutdown();
      const closed = once(http, 'close');
      http.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function answer(
  store: WeaviateStore,
  options: DoubleOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk as string;
  const send = (status: number, body?: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(body === undefined ? '' : JSON.stringify(body));
  };
  if (options.apiKey !== undefined && request.headers.authorization !== `Bearer ${options.apiKey}`)
    return send(401, {
      error: [
        {
          message:
            'anonymous access not enabled. Please authenticate through one of the available methods: [API-keys]',
        },
      ],
    });
  try {
    const body = text === '' ? undefined : (JSON.parse(text) as unknown);
    const found = route(store, options, `${request.method} ${request.url}`, body);
    send(200, found);
  } catch (error) {
    if (!(error instanceof Refusal)) return send(500, { error: [{ message: String(error) }] });
    // A class that is not there is answered without a body.
    if (error.status === 404) return send(404);
    const refusal = { error: [{ message: error.message }] };
    contract.check('ErrorResponse', refusal);
    send(error.status, refusal);
  }
}

function route(store: WeaviateStore, options: DoubleOptions, call: string, body: unknown): unknown {
  const [, method = '', at = ''] = /^(\w+) \/v1([^?]*)/.exec(call) ?? [];
  const [area, name = '', part, item = ''] = at.split('/').slice(1).map(decodeURIComponent);
  const checked = <T>(type: string, value: T): T => {
    contract.check(type, value);
    return value;
  };
  switch (`${method} ${area} ${part ?? (name && '*')}`.trim()) {
    case 'GET meta':
      return checked('Meta', {
        hostname: 'http://[::]:8080',
        version: options.version ?? '1.34.0',
        modules: {},
        ...(options.grpcMaxMessageSize !== undefined && { grpcMaxMessageSize: options.grpcMaxMessageSize }),
      });
    case 'POST schema':
      return checked('Class', store.createClass(checked('Class', body) as never));
    case 'GET schema *':
      return checked('Class', store.class(name).definition);
    case 'DELETE schema *':
      store.classes.delete(name);
      return {};
    case 'POST schema properties':
      return checked('Property', store.addProperty(name, checked('Property', body) as never));
    case 'POST schema tenants': {
      const tenants = body as { readonly name: string }[];
      for (const tenant of tenants) checked('Tenant', tenant);
      store.createTenants(
        name,
        tenants.map((tenant) => tenant.name),
      );
      return tenants;
    }
    case 'GET schema tenants': {
      const shard = store.shards(name).get(item);
      if (!shard) throw new Refusal(404, 'tenant not found');
      return checked('Tenant', { name: item, activityStatus: shard.status });
    }
    case 'GET nodes *':
      return { nodes: [{ shards: [{ vectorQueueLength: options.vectorQueueLength ?? 0 }] }] };
    default:
      throw new Refusal(405, `method ${call} is not allowed`);
  }
}

function service(store: WeaviateStore, options: DoubleOptions, requests: WeaviateDouble['requests']) {
  /** What went wrong has the code UNKNOWN, unless it was the key. */
  const guarded =
    <Request, Reply>(method: string, run: (request: Request) => Reply) =>
    async (request: Request, { metadata }: CallContext): Promise<Reply> => {
      requests.push({ method, message: request, metadata });
      if (options.apiKey !== undefined && metadata.get('authorization') !== `Bearer ${options.apiKey}`)
        throw new ServerError(Status.UNAUTHENTICATED, 'extract auth: unauthorized: invalid api key');
      try {
        return run(request);
      } catch (error) {
        throw new ServerError(Status.UNKNOWN, error instanceof Error ? error.message : String(error));
      }
    };
  const unused = (): never => {
    throw new ServerError(Status.UNIMPLEMENTED, 'this double does not know the method');
  };
  return {
    search: guarded('Search', (request: SearchRequest) => ({ took: 0, results: search(store, request) })),
    batchObjects: guarded('BatchObjects', ({ objects }: { readonly objects: BatchObject[] }) => ({
      took: 0,
      errors: objects.flatMap((object, index) => {
        try {
          store.put(object.collection, object.tenant, storedObject(object));
          return [];
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          return [{ index, error: error.message }];
        }
      }),
    })),
    batchDelete: guarded('BatchDelete', (request: Parameters<typeof removed>[1]) => removed(store, request)),
    aggregate: guarded(
      'Aggregate',
      ({ collection, tenant, filters, objectsCount }: Parameters<typeof counted>[1]) =>
        counted(store, { collection, tenant, filters, objectsCount }),
    ),
    batchReferences: unused,
    tenantsGet: unused,
    batchStream: unused,
  };
}

type Filter = SearchRequest['filters'];

function removed(
  store: WeaviateStore,
  {
    collection,
    tenant = '',
    filters,
  }: { readonly collection: string; readonly tenant?: string | undefined; readonly filters?: Filter },
) {
  store.class(collection);
  if (!filters) throw new Refusal(422, 'no filters in batch delete request');
  const matches = store.matching(collection, tenant, filters);
  const { objects } = store.shard(collection, tenant);
  const gone = matches.slice(0, store.maxResults);
  for (const { uuid } of gone) objects.delete(uuid);
  return { took: 0, failed: 0, matches: matches.length, successful: gone.length, objects: [] };
}

function counted(
  store: WeaviateStore,
  {
    collection,
    tenant,
    filters,
    objectsCount,
  }: {
    readonly collection: string;
    readonly tenant: string;
    readonly filters?: Filter;
    readonly objectsCount: boolean;
  },
) {
  if (!objectsCount) throw new Refusal(422, 'this double counts objects alone');
  return { took: 0, singleResult: { objectsCount: store.matching(collection, tenant, filters).length } };
}

/** Numbers of a batch come as a Struct, lists of texts beside it. */
function storedObject({ uuid, vectorBytes, properties }: BatchObject): StoredObject {
  const lists = (properties?.textArrayProperties ?? []).map(
    ({ propName, values }) => [propName, values] as const,
  );
  return {
    uuid,
    vector: float32(vectorBytes),
    properties: {
      ...(properties?.nonRefProperties as StoredObject['properties']),
      ...Object.fromEntries(lists),
    },
  };
}

function search(store: WeaviateStore, request: SearchRequest): SearchResult[] {
  const { collection, tenant, limit, after, filters, nearVector, properties, metadata } = request;
  const known = new Set(store.class(collection).definition.properties.map(({ name }) => name));
  const wanted = properties?.nonRefProperties ?? [];
  for (const name of wanted)
    if (!known.has(name))
      throw new Refusal(422, `no such prop with name '${name}' found in class '${collection}'`);
  if (limit > store.maxResults) throw new Refusal(422, 'query maximum results exceeded');
  if (after !== '' && (filters || nearVector))
    throw new Refusal(422, 'where and search parameters are not compatible with the after parameter');
  const vector = nearVector?.vectors[0]?.vectorBytes;
  const byId = (a: StoredObject, b: StoredObject) => (a.uuid < b.uuid ? -1 : 1);
  const found = vector
    ? store.nearest(collection, tenant, float32(vector), filters)
    : store
        .matching(collection, tenant, filters)
        .filter(({ uuid }) => uuid > after)
        .sort(byId)
        .map((object) => ({ object, distance: undefined }));
  return found.slice(0, limit).map(({ object, distance }) => {
    const fields = wanted.flatMap((name) => {
      const value = object.properties[name];
      return typeof value === 'string' ? [[name, { textValue: value }] as const] : [];
    });
    return {
      properties: {
        refProps: [],
        targetCollection: collection,
        metadata: undefined,
        nonRefProps: { fields: Object.fromEntries(fields) },
        refPropsRequested: false,
      },
      metadata: {
        id: metadata?.uuid === true ? object.uuid : '',
        distance: distance !== undefined && metadata?.distance === true ? distance : 0,
        distancePresent: distance !== undefined,
        ...EMPTY_METADATA,
      },
    };
  });
}

const EMPTY_METADATA = {
  vector: [],
  creationTimeUnix: 0,
  creationTimeUnixPresent: false,
  lastUpdateTimeUnix: 0,
  lastUpdateTimeUnixPresent: false,
  certainty: 0,
  certaintyPresent: false,
  score: 0,
  scorePresent: false,
  explainScore: '',
  explainScorePresent: false,
  generative: '',
  generativePresent: false,
  isConsistentPresent: false,
  vectorBytes: new Uint8Array(),
  idAsBytes: new Uint8Array(),
  rerankScore: 0,
  rerankScorePresent: false,
  vectors: [],
};

function float32(bytes: Uint8Array): Float32Array {
  const view = Buffer.from(bytes);
  return Float32Array.from({ length: view.length / 4 }, (_, i) => view.readFloatLE(i * 4));
}
