import { z } from 'zod';
import {
  ConnectorError,
  isConnectorError,
  type DistanceMetric,
  type Note,
  type VectorOpenContext,
} from '../../../driver.ts';
import { TERMS } from './filter.ts';
import type { Scope } from './messages.ts';
import type { Rest } from './rest.ts';

/**
 * Properties of numbers in one collection at most. Each costs Weaviate an index on disk and in memory, and records
 * choose their own fields.
 */
export const MAX_NUMBER_PROPERTIES = 128;

/** https://docs.weaviate.io/weaviate/config-refs/distances (read 2026-11-25) */
const DISTANCES: Readonly<Record<DistanceMetric, string>> = {
  cosine: 'cosine',
  euclidean: 'l2-squared',
  dot: 'dot',
};

/** Weaviate knows no dimension before the first vector, so it is kept where a person reads it, too. */
const DESCRIPTION = /^Vectors of (\d+) numbers, kept by connector-registry\.$/;

const classShape = z.object({
  description: z.string().optional(),
  vectorIndexConfig: z.object({ distance: z.string() }).optional(),
  multiTenancyConfig: z.object({ enabled: z.boolean().optional() }).nullish(),
  replicationConfig: z.object({ factor: z.number().optional() }).nullish(),
  properties: z.array(z.object({ name: z.string() })).nullish(),
});
type Class = z.output<typeof classShape>;

const tenantShape = z.object({ name: z.string(), activityStatus: z.string().optional() });
const nodes = z.object({
  nodes: z
    .array(z.object({ shards: z.array(z.object({ vectorQueueLength: z.number().optional() })).nullish() }))
    .nullish(),
});

const text = { dataType: ['text'], tokenization: 'field', indexSearchable: false } as const;
const kept = { ...text, indexFilterable: false } as const;
const PROPERTIES = [
  { ...text, name: 'record_id', indexFilterable: true },
  { ...kept, name: 'metadata' },
  { ...kept, name: 'text' },
  { ...kept, name: 'values' },
  { ...text, name: TERMS, dataType: ['text[]'], indexFilterable: true },
];

/** The connector's collection, or its tenant of one, as the REST API tells of it. */
export type Collection = {
  readonly scope: Scope;
  /**
   * Makes the collection and the tenant where they do not exist, and compares them with the connector where they do.
   *
   * @throws ConnectorError `invalid_state` for another dimension, metric or kind of collection.
   */
  prepare(signal: AbortSignal): Promise<void>;
  /**
   * That the collection and the tenant are still there and usable.
   *
   * @throws ConnectorError `not_found`, `invalid_state`.
   */
  stand(signal: AbortSignal): Promise<readonly Note[]>;
  /** The names of its properties. @throws ConnectorError `not_found` */
  properties(signal: AbortSignal): Promise<ReadonlySet<string>>;
  /**
   * Adds properties of numbers that it does not have yet.
   *
   * @returns the names of all that it has then: without those that were one too many.
   */
  withNumbers(names: Iterable<string>, signal: AbortSignal): Promise<ReadonlySet<string>>;
};

export function collectionOf(
  rest: Rest,
  scope: Scope,
  { dimension, metric }: Pick<VectorOpenContext, 'dimension' | 'metric'>,
): Collection {
  const { collection, tenant } = scope;
  const path = `/schema/${encodeURIComponent(collection)}`;
  const tenantPath = `${path}/tenants/${encodeURIComponent(tenant ?? '')}`;

  const gone = () =>
    new ConnectorError('not_found', `the collection ${collection} is not in Weaviate any more`, {
      details: { collection },
    });

  const read = async (signal: AbortSignal): Promise<Class> => {
    const found = await unlessMissing(rest.json('GET', path, classShape, { signal }));
    if (found) return found;
    throw gone();
  };

  /**
   * Makes something, and answers why it could not be made. Somebody else may have made the same at the same time, and
   * theirs is as good: whether it is there is for the caller to see.
   */
  const make = async (
    at: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<ConnectorError | undefined> => {
    try {
      await rest.json('POST', at, z.unknown(), { signal, body });
      return undefined;
    } catch (error) {
      if (isConnectorError(error) && error.details['backend_status'] === 422) return error;
      throw error;
    }
  };

  const properties = async (signal: AbortSignal): Promise<ReadonlySet<string>> =>
    new Set((await read(signal)).properties?.map(({ name }) => name));

  const compare = (found: Class): void => {
    const held = DESCRIPTION.exec(found.description ?? '')?.[1];
    const refuse = (what: string, advice: string): never => {
      throw new ConnectorError('invalid_state', `the collection ${collection} ${what}; ${advice}`, {
        details: { collection },
      });
    };
    const another = 'name another collection, or make another connector';
    if (held === undefined) return refuse('was not made by a connector', another);
    if (Number(held) !== dimension)
      refuse(`holds vectors of ${held} numbers, and the connector has ${dimension}`, another);
    const distance = found.vectorIndexConfig?.distance ?? 'none';
    if (distance !== DISTANCES[metric])
      refuse(`compares by ${distance}, and the connector by ${DISTANCES[metric]}`, another);
    const isMultiTenant = found.multiTenancyConfig?.enabled === true;
    if (isMultiTenant && tenant === undefined) refuse('is multi-tenant', 'set the option tenant');
    if (!isMultiTenant && tenant !== undefined) refuse('is not multi-tenant', 'leave out the option tenant');
  };

  const standTenant = async (signal: AbortSignal): Promise<void> => {
    if (tenant === undefined) return;
    const found = await unlessMissing(rest.json('GET', tenantPath, tenantShape, { signal }));
    if (!found)
      throw new ConnectorError('not_found', `the tenant ${tenant} is not in ${collection} any more`);
    // The older name of ACTIVE is HOT.
    const { activityStatus = 'ACTIVE' } = found;
    if (!['ACTIVE', 'HOT'].includes(activityStatus))
      throw new ConnectorError(
        'invalid_state',
        `the tenant ${tenant} of ${collection} is ${activityStatus}; activate it in Weaviate`,
      );
  };

  return {
    scope,
    properties,

    async prepare(signal) {
      const get = () => unlessMissing(rest.json('GET', path, classShape, { signal }));
      let found = await get();
      if (!found) {
        const problem = await make('/schema', definition(scope, dimension, metric), signal);
        found = await get();
        if (!found) throw problem ?? gone();
      }
      compare(found);
      if (tenant === undefined) return;
      const isThere = await unlessMissing(rest.json('GET', tenantPath, tenantShape, { signal }));
      if (!isThere) await make(`${path}/tenants`, [{ name: tenant }], signal);
      await standTenant(signal);
    },

    async stand(signal) {
      const found = await read(signal);
      compare(found);
      await standTenant(signal);
      return [...replicas(found), ...(await waiting(rest, collection, signal))];
    },

    async withNumbers(names, signal) {
      const held = new Set(await properties(signal));
      for (const name of names) {
        if (held.has(name)) continue;
        if (held.size >= PROPERTIES.length + MAX_NUMBER_PROPERTIES) continue;
        const property = { name, dataType: ['number'], indexFilterable: false, indexRangeFilters: true };
        const problem = await make(`${path}/properties`, property, signal);
        if (problem && !(await properties(signal)).has(name)) throw problem;
        held.add(name);
      }
      return held;
    },
  };
}

function definition({ collection, tenant }: Scope, dimension: number, metric: DistanceMetric) {
  return {
    class: collection,
    description: `Vectors of ${dimension} numbers, kept by connector-registry.`,
    vectorizer: 'none',
    vectorIndexType: 'hnsw',
    // Without the last, a server may be set to compress every new collection, which makes its distances inexact:
    // https://docs.weaviate.io/weaviate/configuration/compression/uncompressed (read 2026-11-25)
    vectorIndexConfig: { distance: DISTANCES[metric], skipDefaultQuantization: true },
    properties: PROPERTIES,
    ...(tenant !== undefined && { multiTenancyConfig: { enabled: true } }),
  };
}

function replicas({ replicationConfig }: Class): readonly Note[] {
  const factor = replicationConfig?.factor ?? 1;
  if (factor <= 1) return [];
  const message = `the collection has ${factor} replicas, and a write waits for all of them, so that every one shows it`;
  return [{ level: 'info', message }];
}

/** With ASYNC_INDEXING a search does not see what waits here. Not every key may ask. */
async function waiting(rest: Rest, collection: string, signal: AbortSignal): Promise<readonly Note[]> {
  const path = `/nodes/${encodeURIComponent(collection)}?output=verbose`;
  const found = await rest.json('GET', path, nodes, { signal }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    return { nodes: [] };
  });
  const queued = (found.nodes ?? [])
    .flatMap(({ shards }) => shards ?? [])
    .reduce((sum, { vectorQueueLength = 0 }) => sum + vectorQueueLength, 0);
  if (queued === 0) return [];
  const message = `${queued} vectors wait to be indexed (ASYNC_INDEXING), and a search does not see them until then`;
  return [{ level: 'warn', message }];
}

async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isConnectorError(error) && error.code === 'not_found') return undefined;
    throw error;
  }
}
