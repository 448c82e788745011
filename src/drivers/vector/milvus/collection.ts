import type { FieldType, MilvusClient } from '@zilliz/milvus2-sdk-node';
import { ConnectorError, sleep, type DistanceMetric, type VectorOpenContext } from '../../../driver.ts';
import { checkStatus, codeOf, nonsense } from './errors.ts';
import { ID_BYTES, MAX_TERMS, TERM_BYTES, TEXT_BYTES } from './records.ts';

// https://milvus.io/docs/metric.md (read 2026-11-25): L2 is given as its square.
export const METRIC_TYPES: Readonly<Record<DistanceMetric, string>> = {
  cosine: 'COSINE',
  euclidean: 'L2',
  dot: 'IP',
};
const POLL_EVERY_MS = 100;
const COLLECTION_NOT_FOUND = 100;
const INDEX_NOT_FOUND = 700;

/** What a collection of ours is. */
export type Shape = {
  readonly name: string;
  readonly dimension: number;
  readonly metric: DistanceMetric;
  readonly index: 'autoindex' | 'flat';
};

/**
 * Makes the collection where there is none, or checks the one there is, and loads it. What a crash left half made is
 * completed.
 *
 * @throws ConnectorError `invalid_state` for another dimension, metric or layout.
 */
export async function ensureCollection(
  sdk: MilvusClient,
  shape: Shape,
  { clock, signal }: VectorOpenContext,
): Promise<void> {
  const { name } = shape;
  const found = await sdk.describeCollection({ collection_name: name, cache: false });
  if (codeOf(found.status) === COLLECTION_NOT_FOUND) {
    checkStatus(
      await sdk.createCollection({
        collection_name: name,
        description: 'Vectors of a connector; metadata is in metadata, terms and numbers are its index.',
        fields: fieldsOf(shape),
        consistency_level: 'Strong',
        enable_dynamic_field: false,
      }),
    );
    // Two connectors that make it at once both go on with the one that stands.
    await checkLayout(sdk, shape);
  } else await checkLayout(sdk, shape, found);
  await ensureIndexes(sdk, shape);
  checkStatus(await sdk.loadCollectionAsync({ collection_name: name }));
  while (!(await isLoaded(sdk, name))) await sleep(clock, POLL_EVERY_MS, signal);
}

/** @throws ConnectorError `not_found` for a collection that is gone. */
export async function isLoaded(sdk: MilvusClient, name: string): Promise<boolean> {
  const { status, state } = await sdk.getLoadState({ collection_name: name });
  checkStatus(status);
  return (state as string) === 'LoadStateLoaded';
}

/** The server's version, such as `v2.6.4`: its cheapest request that needs the credentials. */
export async function serverVersion(sdk: MilvusClient): Promise<string> {
  // The answer has a status, too, which the SDK's type leaves out.
  const { status, version } = (await sdk.getVersion()) as { status?: unknown; version: string };
  checkStatus(status);
  return version;
}

function fieldsOf({ dimension }: Shape): FieldType[] {
  return [
    { name: 'id', data_type: 'VarChar', is_primary_key: true, max_length: ID_BYTES },
    { name: 'vector', data_type: 'FloatVector', dim: dimension },
    {
      name: 'terms',
      data_type: 'Array',
      element_type: 'VarChar',
      max_length: TERM_BYTES,
      max_capacity: MAX_TERMS,
    },
    { name: 'numbers', data_type: 'JSON' },
    { name: 'metadata', data_type: 'VarChar', max_length: TEXT_BYTES, nullable: true },
    { name: 'text', data_type: 'VarChar', max_length: TEXT_BYTES, nullable: true },
  ];
}

type Described = Awaited<ReturnType<MilvusClient['describeCollection']>>;

async function checkLayout(sdk: MilvusClient, shape: Shape, given?: Described): Promise<void> {
  const { name, dimension } = shape;
  const { status, schema } = given ?? (await sdk.describeCollection({ collection_name: name, cache: false }));
  checkStatus(status);
  for (const { name: field, data_type: type } of fieldsOf(shape)) {
    const has = schema.fields.find((one) => one.name === field);
    if (has?.data_type === type) continue;
    throw mismatch(name, `its field ${field} is ${has ? has.data_type : 'missing'}, not ${String(type)}`);
  }
  if (schema.fields.find(({ is_primary_key: is }) => is)?.name !== 'id')
    throw mismatch(name, 'its primary key is not id');
  const has = Number(schema.fields.find((one) => one.name === 'vector')?.dim);
  if (has !== dimension)
    throw mismatch(name, `it holds vectors of ${has} numbers, the connector has vectors of ${dimension}`);
}

async function ensureIndexes(sdk: MilvusClient, { name, metric, index }: Shape): Promise<void> {
  const { status, index_descriptions: described } = await sdk.describeIndex({ collection_name: name });
  if (codeOf(status) !== INDEX_NOT_FOUND) checkStatus(status);
  if (!Array.isArray(described)) throw nonsense(described);
  const ofVectors = described.find(({ field_name: field }) => field === 'vector');
  const has = ofVectors?.params.find(({ key }) => key === 'metric_type')?.value;
  if (ofVectors && has !== METRIC_TYPES[metric]) {
    const held = Object.entries(METRIC_TYPES).find(([, type]) => type === has)?.[0] ?? String(has);
    throw mismatch(name, `its metric is ${held}, the connector's is ${metric}`);
  }
  if (!ofVectors)
    checkStatus(
      await sdk.createIndex({
        collection_name: name,
        field_name: 'vector',
        index_name: 'vector',
        index_type: index === 'flat' ? 'FLAT' : 'AUTOINDEX',
        metric_type: METRIC_TYPES[metric],
      }),
    );
  if (!described.some(({ field_name: field }) => field === 'terms'))
    checkStatus(
      await sdk.createIndex({
        collection_name: name,
        field_name: 'terms',
        index_name: 'terms',
        index_type: 'INVERTED',
      }),
    );
}

function mismatch(name: string, what: string): ConnectorError {
  return new ConnectorError(
    'invalid_state',
    `the collection ${name} is not this connector's: ${what}; name another collection, or create another connector`,
  );
}
