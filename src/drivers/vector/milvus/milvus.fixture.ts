import { createRequire } from 'node:module';
import type * as Grpc from '@grpc/grpc-js';
import type * as Loader from '@grpc/proto-loader';
import type * as Protobuf from 'protobufjs';
import { compileExpression, type Bound, type Fields, type Missing } from './expression.fixture.ts';
import { columnOf, param, rowsIn, type FieldData, type FieldSchema } from './rows.fixture.ts';

/**
 * A double of Milvus on loopback. Requests and answers are read and written by the .proto contract that Milvus
 * publishes, in the form in which the SDK's package carries it; what they mean is from its documentation:
 * https://milvus.io/docs metric.md, consistency.md, limitations.md, upsert-entities.md, delete-entities.md,
 * get-and-scalar-query.md (read 2026-11-25).
 */
export type MilvusDouble = {
  readonly url: string;
  readonly port: number;
  /** Every request so far, decoded. */
  readonly requests: readonly Request[];
  /** How many of the calls that were left waiting their callers gave up. */
  readonly cancelled: () => number;
  /** Answers one method otherwise from now on: `undefined` leaves the caller waiting. */
  answer(method: string, answer: Answer): void;
  /** Undoes {@link answer}. */
  restore(method: string): void;
  /** How many connections there are. */
  connections(): number;
  drop(collection: string): void;
  close(): Promise<void>;
};
/** What a method answers instead: a message, an error of gRPC, or bytes that are no message. */
export type Answer = () =>
  object | { readonly grpc: keyof typeof Grpc.status; readonly details: string } | Buffer | undefined;
export type Request = {
  readonly method: string;
  /** The `:authority` that the client named. */
  readonly host: string;
  readonly body: Body;
};

// The SDK's dependencies are not ours, so they are found from where it lies.
const sdk = createRequire(createRequire(import.meta.url).resolve('@zilliz/milvus2-sdk-node'));
const grpc = sdk('@grpc/grpc-js') as typeof Grpc;
const loader = sdk('@grpc/proto-loader') as typeof Loader;
const protobuf = sdk('protobufjs') as typeof Protobuf;
const { default: contract } = sdk('./proto-json/milvus') as { default: Protobuf.INamespace };
const SERVICE = 'milvus.proto.milvus.MilvusService';
const DECODED = { keepCase: true, longs: String, enums: String, defaults: true } as const;
const root = protobuf.Root.fromJSON(contract);
const definition = loader.fromJSON(contract, DECODED)[SERVICE] as Grpc.ServiceDefinition;

/** A decoded message; its fields are checked by the contract, so the double reads those that it needs. */
type Pair = { readonly key: string; readonly value: string };
export type Body = {
  readonly collection_name: string;
  readonly db_name: string;
  readonly schema: Uint8Array;
  readonly field_name: string;
  readonly index_name: string;
  readonly extra_params: readonly Pair[];
  readonly fields_data: readonly FieldData[];
  readonly num_rows: number;
  readonly expr: string;
  readonly dsl: string;
  readonly placeholder_group: Uint8Array;
  readonly search_params: readonly Pair[];
  readonly query_params: readonly Pair[];
  readonly output_fields: readonly string[];
  readonly consistency_level: string;
  readonly expr_template_values: Readonly<Record<string, TemplateValue>>;
};
type TemplateValue = {
  readonly string_val?: string;
  readonly array_val?: { readonly string_data?: { readonly data: readonly string[] } } | null;
};
type Collection = {
  readonly fields: readonly FieldSchema[];
  readonly indexes: Map<string, { readonly index_name: string; readonly params: readonly Pair[] }>;
  loaded: 'LoadStateNotLoad' | 'LoadStateLoading' | 'LoadStateLoaded';
  rows: ReadonlyMap<string, Fields>;
  /** What a read sees that does not ask for strong consistency: everything but the last write. */
  stale: ReadonlyMap<string, Fields>;
};

const OK = { error_code: 'Success', code: 0, reason: '' };
const ABSENT = 100;
const INVALID = 1100;
const MAX_ROWS = 16_384;

class Refused extends Error {
  readonly code: number;
  constructor(code: number, reason: string) {
    super(reason);
    this.code = code;
  }
}

export async function startMilvus({
  token,
  tls,
  missing = 'unknown',
  version = 'v2.6.4',
}: {
  /** The token, or user:password, that every request must have; nobody is asked unless told. */
  readonly token?: string;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly missing?: Missing;
  readonly version?: string;
} = {}): Promise<MilvusDouble> {
  const collections = new Map<string, Collection>();
  const requests: Request[] = [];
  const answers = new Map<string, Answer>();
  let cancelled = 0;

  const collectionOf = ({ collection_name: name }: Body): Collection => {
    const found = collections.get(name);
    if (!found) throw new Refused(ABSENT, `can't find collection[database=default][collection=${name}]`);
    return found;
  };
  const seen = (body: Body): { readonly collection: Collection; readonly rows: readonly Fields[] } => {
    const collection = collectionOf(body);
    if (collection.loaded !== 'LoadStateLoaded') throw new Refused(101, 'collection not loaded');
    const rows = body.consistency_level === 'Strong' ? collection.rows : collection.stale;
    return { collection, rows: [...rows.values()] };
  };
  const matching = (body: Body, text: string) => {
    const { collection, rows } = seen(body);
    const types = Object.fromEntries(collection.fields.map((field) => [field.name, field.data_type]));
    const matches = compileExpression(text, { bound: boundIn(body), types, missing });
    return { collection, rows: rows.filter((row) => matches(row) === true) };
  };
  const write = (collection: Collection, change: (rows: Map<string, Fields>) => void): void => {
    const rows = new Map(collection.rows);
    change(rows);
    collection.stale = collection.rows;
    collection.rows = rows;
  };
  const columns = (collection: Collection, names: readonly string[], rows: readonly Fields[]) =>
    names.map((name) => {
      const field = collection.fields.find((one) => one.name === name);
      if (!field) throw new Refused(INVALID, `field ${name} not exist`);
      return columnOf(rows, field);
    });

  const methods: Readonly<Record<string, (body: Body) => object>> = {
    Connect: () => ({ status: OK, identifier: 1, server_info: { build_tags: version } }),
    GetVersion: () => ({ status: OK, version }),
    DescribeCollection(body) {
      const { fields } = collectionOf(body);
      const schema = { name: body.collection_name, fields };
      return { status: OK, schema, collectionID: 1, consistency_level: 'Bounded' };
    },
    CreateCollection(body) {
      const type = root.lookupType('milvus.proto.schema.CollectionSchema');
      const { fields } = type.toObject(type.decode(body.schema), { ...DECODED, arrays: true }) as {
        fields: FieldSchema[];
      };
      const dim = Number(
        param(fields.find((one) => one.data_type === 'FloatVector')?.type_params ?? [], 'dim'),
      );
      if (!(dim >= 2 && dim <= 32_768)) throw new Refused(INVALID, `invalid dimension: ${dim}`);
      const empty: ReadonlyMap<string, Fields> = new Map();
      collections.set(body.collection_name, {
        fields,
        indexes: new Map(),
        loaded: 'LoadStateNotLoad',
        rows: empty,
        stale: empty,
      });
      return OK;
    },
    CreateIndex(body) {
      const { field_name: field, index_name, extra_params: params } = body;
      collectionOf(body).indexes.set(field, { index_name, params });
      return OK;
    },
    DescribeIndex(body) {
      const { indexes } = collectionOf(body);
      if (indexes.size === 0) throw new Refused(700, `index not found[collection=${body.collection_name}]`);
      const described = [...indexes].map(([field_name, index]) => ({
        field_name,
        ...index,
        state: 'Finished',
      }));
      return { status: OK, index_descriptions: described };
    },
    LoadCollection(body) {
      const collection = collectionOf(body);
      if (!collection.indexes.has('vector')) throw new Refused(700, 'there is no vector index');
      if (collection.loaded !== 'LoadStateLoaded') collection.loaded = 'LoadStateLoading';
      return OK;
    },
    GetLoadState(body) {
      const collection = collectionOf(body);
      const state = collection.loaded;
      // Loading takes a while: it is over by the second time that somebody asks.
      if (state === 'LoadStateLoading') collection.loaded = 'LoadStateLoaded';
      return { status: OK, state };
    },
    DropCollection(body) {
      collections.delete(body.collection_name);
      return OK;
    },
    Upsert(body) {
      const collection = collectionOf(body);
      const rows = rowsIn(body.fields_data, collection.fields, body.num_rows);
      write(collection, (held) => {
        for (const row of rows) held.set(String(row['id']), row);
      });
      return { status: OK, succ_index: rows.map((_, i) => i), upsert_cnt: rows.length };
    },
    Delete(body) {
      const { collection, rows } = matching(body, body.expr);
      write(collection, (held) => rows.forEach((row) => held.delete(String(row['id']))));
      // By design of the vendor, see `remove` in client.ts.
      const named = body.expr.startsWith('id IN') ? boundIn(body)['ids'] : undefined;
      return { status: OK, delete_cnt: named?.length ?? rows.length };
    },
    Query(body) {
      const { collection, rows } = matching(body, body.expr);
      if (body.output_fields.includes('count(*)')) {
        const count = {
          type: 'Int64',
          field_name: 'count(*)',
          scalars: { long_data: { data: [rows.length] } },
        };
        return { status: OK, fields_data: [count] };
      }
      const limit = Number(param(body.query_params, 'limit') ?? (body.expr === '' ? 0 : MAX_ROWS));
      if (!(limit >= 1 && limit <= MAX_ROWS)) throw new Refused(INVALID, 'limit is in the range [1, 16384]');
      // In no order that anybody could rely on, but for iterators.
      const inOrder = param(body.query_params, 'iterator') === 'True';
      const page = (inOrder ? rows.toSorted(byId) : rows.toReversed()).slice(0, limit);
      return { status: OK, fields_data: columns(collection, body.output_fields, page) };
    },
    Search(body) {
      const { collection, rows } = matching(body, body.dsl);
      const limit = Number(param(body.search_params, 'topk'));
      if (!(limit >= 1 && limit <= MAX_ROWS)) throw new Refused(INVALID, 'topk is in the range [1, 16384]');
      const metric = param(collection.indexes.get('vector')?.params ?? [], 'metric_type') ?? '';
      const asked = param(body.search_params, 'metric_type');
      if (asked !== '' && asked !== metric)
        throw new Refused(INVALID, `metric type not match: invalid [expected=${metric}][actual=${asked}]`);
      const query = queryIn(body.placeholder_group);
      const sign = metric === 'L2' ? 1 : -1;
      const best = rows
        .map((row) => ({ row, score: scoreOf(metric, query, row['vector'] as readonly number[]) }))
        // Equal ones in the worst order there is for whoever cuts too early.
        .sort((a, b) => sign * (a.score - b.score) || byId(b.row, a.row))
        .slice(0, limit);
      const found = best.map(({ row }) => row);
      return {
        status: OK,
        results: {
          num_queries: 1,
          top_k: limit,
          topks: [best.length],
          scores: best.map(({ score }) => score),
          ids: { str_id: { data: found.map((row) => row['id']) } },
          fields_data: columns(collection, body.output_fields, found),
          output_fields: body.output_fields,
        },
      };
    },
  };

  const expected = token && Buffer.from(token).toString('base64');
  const handle = (
    method: string,
    call: Grpc.ServerUnaryCall<Body, object>,
    done: Grpc.sendUnaryData<object>,
  ): void => {
    requests.push({ method, host: call.getHost(), body: call.request });
    const instead = answers.get(method);
    if (instead) {
      const answer = instead();
      if (answer && 'grpc' in answer) done({ code: grpc.status[answer.grpc], details: answer.details });
      else if (answer) done(null, answer);
      // It is emitted for calls that have ended well, too.
      else call.once('cancelled', () => (cancelled += 1));
      return;
    }
    const [given] = call.metadata.get('authorization');
    if (expected !== undefined && given !== expected) {
      const details = 'auth check failure, please check username and password are correct';
      return done({ code: grpc.status.UNAUTHENTICATED, details });
    }
    try {
      done(null, methods[method]?.(call.request) ?? {});
    } catch (error) {
      const code = error instanceof Refused ? error.code : INVALID;
      const legacy = code === ABSENT ? 'CollectionNotExists' : 'UnexpectedError';
      const status = { error_code: legacy, code, reason: (error as Error).message };
      // Some methods answer a bare status.
      done(null, { ...status, status });
    }
  };

  // https://milvus.io/docs/limitations.md (read 2026-11-25): 64 MB for each request.
  const server = new grpc.Server({ 'grpc.max_receive_message_length': 64 * 2 ** 20 });
  const methodsHere = Object.keys(methods);
  server.addService(
    Object.fromEntries(
      methodsHere.map((method) => {
        const published = definition[method];
        if (!published) throw new Error(`${method} is not in the contract`);
        // An answer may be bytes that are no message, for those who try that.
        const responseSerialize = (answer: object): Buffer =>
          Buffer.isBuffer(answer) ? answer : published.responseSerialize(answer);
        return [method, { ...published, responseSerialize }];
      }),
    ),
    Object.fromEntries(
      methodsHere.map((method) => [
        method,
        (call: Grpc.ServerUnaryCall<Body, object>, done: Grpc.sendUnaryData<object>) =>
          handle(method, call, done),
      ]),
    ),
  );
  const credentials = tls
    ? grpc.ServerCredentials.createSsl(null, [
        { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) },
      ])
    : grpc.ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, at) => (error ? reject(error) : resolve(at)));
  });
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    requests,
    cancelled: () => cancelled,
    answer: (method, answer) => void answers.set(method, answer),
    restore: (method) => void answers.delete(method),
    // Not public, and nothing public counts them.
    connections: () =>
      (server as unknown as { readonly sessions: ReadonlyMap<unknown, unknown> }).sessions.size,
    drop: (collection) => void collections.delete(collection),
    // A call that is never answered would keep a shutdown waiting.
    close: async () => server.forceShutdown(),
  };
}

function boundIn({ expr_template_values: values }: Body): Bound {
  return Object.fromEntries(
    Object.entries(values).map(([name, { string_val: text, array_val: list }]) => {
      return [name, list ? (list.string_data?.data ?? []) : (text ?? '')];
    }),
  );
}

function queryIn(group: Uint8Array): readonly number[] {
  const type = root.lookupType('milvus.proto.common.PlaceholderGroup');
  const { placeholders } = type.toObject(type.decode(group), DECODED) as {
    placeholders: { type: string; values: Uint8Array[] }[];
  };
  const [first] = placeholders;
  const [bytes] = first?.values ?? [];
  if (first?.type !== 'FloatVector' || !bytes) throw new Refused(INVALID, 'no float vector is given');
  const view = Buffer.from(bytes);
  return Array.from({ length: view.length / 4 }, (_, i) => view.readFloatLE(4 * i));
}

/** In float32, as the engine counts. */
function scoreOf(metric: string, a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length)
    throw new Refused(INVALID, `vector dimension mismatch: ${a.length}, ${b.length}`);
  const sum = (term: (x: number, y: number) => number): number =>
    a.reduce((total, x, i) => Math.fround(total + Math.fround(term(x, b[i] ?? 0))), 0);
  if (metric === 'L2') return sum((x, y) => (x - y) ** 2);
  const product = sum((x, y) => x * y);
  if (metric === 'IP') return product;
  return Math.fround(product / Math.sqrt(sum((x) => x * x) * sum((_, y) => y * y)));
}

function byId(a: Fields, b: Fields): number {
  return Buffer.compare(Buffer.from(String(a['id'])), Buffer.from(String(b['id'])));
}
