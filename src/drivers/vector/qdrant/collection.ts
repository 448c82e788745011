import type { Schemas } from '@qdrant/js-client-rest';
import { z } from 'zod';
import { ConnectorError, isConnectorError, type DistanceMetric, type Note } from '../../../driver.ts';
import type { Api } from './api.ts';

/** The collection of a connector, and what it must be. */
export type Collection = {
  readonly name: string;
  readonly dimension: number;
  readonly metric: DistanceMetric;
  readonly replicationFactor: number;
};

const DISTANCES = { cosine: 'Cosine', euclidean: 'Euclid', dot: 'Dot' } as const satisfies Record<
  DistanceMetric,
  Schemas['Distance']
>;
/** The payload fields that filters ask about. Collections in strict mode refuse filters over others. */
const INDEXES = {
  terms: 'keyword',
  'numbers[].field': 'keyword',
  'numbers[].high': 'integer',
  'numbers[].low': 'integer',
} as const satisfies Record<string, Schemas['PayloadSchemaType']>;
/** `points/query`: https://qdrant.tech/documentation/search/search/#query-api (read 2026-11-25). */
const FIRST_VERSION = [1, 10] as const;

const acknowledged = z.literal(true);
const exists = z.object({ exists: z.boolean() });
const version = z.object({ title: z.string(), version: z.string() });
const info = z.object({
  status: z.string(),
  config: z.object({
    params: z.object({
      vectors: z.unknown(),
      replication_factor: z.number().optional(),
      write_consistency_factor: z.number().optional(),
    }),
  }),
  payload_schema: z.record(z.string(), z.unknown()),
});
const vectors = z.object({ size: z.number(), distance: z.string() });

/** The cheapest request that needs the key. Whether the collection exists. */
export async function doesExist(api: Api, name: string, signal: AbortSignal): Promise<boolean> {
  const found = await api({ method: 'GET', path: ['collections', name, 'exists'], answer: exists }, signal);
  return found.exists;
}

/**
 * Makes the collection and its indexes where they do not exist.
 *
 * @throws ConnectorError `invalid_state` where it exists with another dimension, metric or kind of vectors, and for a
 *   server that is too old.
 */
export async function ensureCollection(
  api: Api,
  collection: Collection,
  isThere: boolean,
  signal: AbortSignal,
): Promise<void> {
  const server = await serverVersion(api, signal);
  const [major = 0, minor = 0] = server.split('.').map(Number);
  if (major < FIRST_VERSION[0] || (major === FIRST_VERSION[0] && minor < FIRST_VERSION[1])) {
    throw new ConnectorError(
      'invalid_state',
      `the server is Qdrant ${server}; this driver needs ${FIRST_VERSION.join('.')} or later`,
    );
  }
  if (!isThere) await create(api, collection, signal);
  const { payload_schema } = await inspect(api, collection, signal);
  for (const [field_name, field_schema] of Object.entries(INDEXES)) {
    if (Object.hasOwn(payload_schema, field_name)) continue;
    const body: Schemas['CreateFieldIndex'] = { field_name, field_schema };
    const answer = z.object({ status: z.literal('completed') });
    const path = ['collections', collection.name, 'index'];
    await api({ method: 'PUT', path, query: { wait: 'true' }, body: JSON.stringify(body), answer }, signal);
  }
}

/** What a person should know of the collection; it is still there and still what it must be. */
export async function collectionNotes(
  api: Api,
  collection: Collection,
  signal: AbortSignal,
): Promise<readonly Note[]> {
  const { status, config, payload_schema } = await inspect(api, collection, signal);
  const { replication_factor: copies = 1, write_consistency_factor: acknowledging = 1 } = config.params;
  const missing = Object.keys(INDEXES).filter((field) => !Object.hasOwn(payload_schema, field));
  const notes: Note[] = [
    { level: 'info', message: `Qdrant ${await serverVersion(api, signal)}, collection ${collection.name}` },
  ];
  const warn = (message: string) => notes.push({ level: 'warn', message });
  if (status === 'red') warn('the collection reports a failed operation (status red)');
  if (missing.length > 0) warn(`filters are slow or refused: no payload index for ${missing.join(', ')}`);
  if (acknowledging < copies)
    warn(
      `a write may not be seen at once: ${acknowledging} of ${copies} replicas acknowledge it; set write_consistency_factor to ${copies}`,
    );
  return notes;
}

async function serverVersion(api: Api, signal: AbortSignal): Promise<string> {
  return (await api({ method: 'GET', path: [], answer: version }, signal)).version;
}

async function create(
  api: Api,
  { name, dimension, metric, replicationFactor }: Collection,
  signal: AbortSignal,
): Promise<void> {
  const body: Schemas['CreateCollection'] = {
    vectors: { size: dimension, distance: DISTANCES[metric] },
    // A read asks one replica, so a write that is acknowledged must be held by all. The other way, reading with
    // `consistency=majority`, asks every replica each time and fails while one is down (`execute_cluster_read_operation`
    // in https://github.com/qdrant/qdrant/tree/master/lib/collection/src/shards/replica_set, read 2026-11-25).
    ...(replicationFactor > 1 && {
      replication_factor: replicationFactor,
      write_consistency_factor: replicationFactor,
    }),
  };
  try {
    const path = ['collections', name];
    await api({ method: 'PUT', path, body: JSON.stringify(body), answer: acknowledged }, signal);
  } catch (error) {
    // Another opening of the same connector was faster: its collection is as good.
    if (!isConnectorError(error) || error.details?.['backend_status'] !== 409) throw error;
  }
}

async function inspect(
  api: Api,
  { name, dimension, metric }: Collection,
  signal: AbortSignal,
): Promise<z.output<typeof info>> {
  const found = await api({ method: 'GET', path: ['collections', name], answer: info }, signal);
  const { data } = vectors.safeParse(found.config.params.vectors);
  const differs = (what: string) =>
    new ConnectorError(
      'invalid_state',
      `the collection ${name} ${what}; name another collection, or make the connector as the collection is`,
    );
  if (!data) throw differs('has named vectors, which this driver does not write');
  if (data.size !== dimension) throw differs(`has ${data.size} dimensions, and the connector ${dimension}`);
  if (data.distance !== DISTANCES[metric])
    throw differs(`has the metric ${data.distance}, and the connector ${DISTANCES[metric]} (${metric})`);
  return found;
}
