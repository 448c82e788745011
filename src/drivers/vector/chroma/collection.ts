import type { ChromaClient, Collection } from 'chromadb';
import {
  ConnectorError,
  isConnectorError,
  type DistanceMetric,
  type VectorOpenContext,
} from '../../../driver.ts';
import { isNotFound, misshapen, type Api } from './api.ts';

/** What Chroma calls the metrics. https://docs.trychroma.com/docs/collections/configure (read 2026-11-25) */
export const SPACES: Readonly<Record<DistanceMetric, 'cosine' | 'l2' | 'ip'>> = {
  cosine: 'cosine',
  euclidean: 'l2',
  dot: 'ip',
};

/** Where the dimension is noted in the collection's metadata: Chroma itself knows it from the first vector on. */
const DIMENSION = 'connector:dimension';

/** Given so that the client neither looks for its default, which is a package of its own, nor warns that it has none. */
const NO_EMBEDDING = {
  name: 'none',
  generate: () => Promise.reject(new Error('every record brings its vector')),
};

type Wanted = Pick<VectorOpenContext, 'dimension' | 'metric'> & { readonly name: string };

/**
 * The collection of that name, made when it does not exist.
 *
 * @throws ConnectorError `invalid_state` for one of another dimension or metric; `not_found` without the tenant or its
 *   database.
 */
export async function readyCollection(api: Api, wanted: Wanted): Promise<Collection> {
  const collection = (await findCollection(api.chroma, wanted.name)) ?? (await makeCollection(api, wanted));
  await checkShape(collection, wanted);
  return collection;
}

/** `undefined` when there is none. */
export async function findCollection(chroma: ChromaClient, name: string): Promise<Collection | undefined> {
  try {
    const collection = await chroma.getCollection({ name, embeddingFunction: NO_EMBEDDING });
    if (typeof collection.id !== 'string') throw misshapen('collection');
    return collection;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function makeCollection(api: Api, { name, dimension, metric }: Wanted): Promise<Collection> {
  const { chroma } = api;
  try {
    return await chroma.createCollection({
      name,
      embeddingFunction: NO_EMBEDDING,
      metadata: { [DIMENSION]: dimension },
      configuration: { hnsw: { space: SPACES[metric] } },
    });
  } catch (error) {
    const status = isConnectorError(error) ? error.details['backend_status'] : undefined;
    // Somebody else opened the same connector at the same time.
    const theirs = status === 409 ? await findCollection(chroma, name) : undefined;
    if (theirs) return theirs;
    // Of a database that does not exist, Chroma 1.0.0 says that no collection is there, and that the request is bad.
    if (status === 400) await api.requireDatabase();
    throw error;
  }
}

async function checkShape(collection: Collection, { name, dimension, metric }: Wanted): Promise<void> {
  const { hnsw, spann } = collection.configuration ?? {};
  const space = hnsw?.space ?? spann?.space;
  if (space !== SPACES[metric])
    throw mismatch(name, `compares by ${String(space)}, and not by ${SPACES[metric]} (${metric})`);
  const noted = collection.metadata?.[DIMENSION];
  const found = typeof noted === 'number' ? noted : await firstLength(collection);
  if (found !== undefined && found !== dimension)
    throw mismatch(name, `holds vectors of ${found} numbers, and not of ${dimension}`);
}

/** The length of a vector that is there, for collections that another tool made; `undefined` in an empty one. */
async function firstLength(collection: Collection): Promise<number | undefined> {
  const { embeddings } = await collection.get({ limit: 1, include: ['embeddings'] });
  return embeddings[0]?.length;
}

function mismatch(name: string, what: string): ConnectorError {
  return new ConnectorError(
    'invalid_state',
    `the collection ${name} ${what}; set the connector's dimension and metric to the collection's, or name another collection`,
  );
}
