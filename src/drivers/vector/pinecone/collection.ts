import type { Pinecone } from '@pinecone-database/pinecone';
import { z } from 'zod';
import { type Clock, ConnectorError, type DistanceMetric, isConnectorError, sleep } from '../../../driver.ts';
import type { PineconeOptions } from './options.ts';
import type { Transport } from './transport.ts';

/** What the control plane says of an index. */
export type IndexDescription = {
  readonly host: string;
  readonly ready: boolean;
  /** `Ready`, `Initializing`, `Terminating` … */
  readonly state: string;
  /** `managed` (serverless), `byoc` or `pod`. */
  readonly deployment: string;
  /** Absent for an index of documents or of sparse vectors. */
  readonly vectors?: { readonly dimension: number; readonly metric: string };
};

/** What an index must be for a connector, and how its control plane is asked. */
export type IndexAccess = {
  readonly pinecone: Pinecone;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly options: Pick<PineconeOptions, 'index' | 'create_index'>;
  readonly dimension: number;
  readonly metric: DistanceMetric;
};

// The reserved name of the dense vectors of an index that the vectors API serves: CreateIndexSchema of
// db_control_2026-07.oas.yaml in github.com/pinecone-io/pinecone-api, read 2026-11-25
const VECTORS = '_values';
const METRICS = { cosine: 'cosine', euclidean: 'euclidean', dot: 'dotproduct' } as const;
const READY_POLL_MS = 500;

const described = z.object({
  host: z.string().min(1),
  status: z.object({ ready: z.boolean(), state: z.string() }),
  deployment: z.object({ deploymentType: z.string() }),
  schema: z.object({ fields: z.record(z.string(), z.unknown()) }),
});
const denseField = z.object({
  type: z.literal('dense_vector'),
  dimension: z.int().positive(),
  metric: z.string(),
});

/** The index as the control plane has it, `undefined` when it has none of that name. */
export async function describeIndex(
  { pinecone, transport, options }: IndexAccess,
  signal: AbortSignal,
): Promise<IndexDescription | undefined> {
  try {
    const { value } = await transport.call(signal, async () =>
      toDescription(await pinecone.indexes.describe(options.index)),
    );
    return value;
  } catch (error) {
    if (isConnectorError(error) && error.code === 'not_found') return undefined;
    throw error;
  }
}

/**
 * The index, ready to be used: made where there is none and the options say where, and compared with what the connector
 * needs.
 *
 * @throws ConnectorError `not_found` when there is none, `invalid_state` when it has another dimension or metric.
 */
export async function readyIndex(
  access: IndexAccess,
  found: IndexDescription | undefined,
  signal: AbortSignal,
): Promise<IndexDescription> {
  if (!found) await createIndex(access, signal);
  for (;;) {
    const index = found ?? (await describeIndex(access, signal));
    if (!index) throw missingIndex(access);
    checkIndex(access, index);
    if (index.ready) return index;
    if (!access.options.create_index)
      throw new ConnectorError(
        'unavailable',
        `the Pinecone index ${access.options.index} is not ready (${index.state}); try again later`,
      );
    await sleep(access.clock, READY_POLL_MS, signal);
    found = undefined;
  }
}

export function missingIndex({ options }: Pick<IndexAccess, 'options'>): ConnectorError {
  return new ConnectorError(
    'not_found',
    `there is no Pinecone index ${options.index}; create it, or set create_index to a cloud and a region and open the connector again`,
    { details: { index: options.index } },
  );
}

/** @throws ConnectorError `invalid_state` naming both sides. */
export function checkIndex({ options, dimension, metric }: IndexAccess, { vectors }: IndexDescription): void {
  const refuse = (what: string) =>
    new ConnectorError(
      'invalid_state',
      `the Pinecone index ${options.index} ${what}; name another index, or make the connector to match`,
      { details: { index: options.index, ...vectors } },
    );
  if (!vectors) throw refuse('does not hold dense vectors of the vectors API');
  if (vectors.dimension !== dimension)
    throw refuse(`has dimension ${vectors.dimension}, and the connector ${dimension}`);
  if (vectors.metric !== METRICS[metric])
    throw refuse(`has the metric ${vectors.metric}, and the connector ${METRICS[metric]} (${metric})`);
}

async function createIndex(
  { pinecone, transport, options, dimension, metric }: IndexAccess,
  signal: AbortSignal,
): Promise<void> {
  const { create_index: where, index: name } = options;
  if (!where) throw missingIndex({ options });
  const field = { type: 'dense_vector', dimension, metric: METRICS[metric] } as const;
  try {
    await transport.call(signal, () =>
      pinecone.indexes.create({
        name,
        schema: { fields: { [VECTORS]: field } },
        deployment: { deploymentType: 'managed', ...where },
      }),
    );
  } catch (error) {
    // Another connector made it at the same time.
    if (isConnectorError(error) && error.details['backend_status'] === 409) return;
    throw error;
  }
}

function toDescription(answer: unknown): IndexDescription {
  const { host, status, deployment, schema } = described.parse(answer);
  const vectors = denseField.safeParse(schema.fields[VECTORS]);
  return {
    host,
    ready: status.ready,
    state: status.state,
    deployment: deployment.deploymentType,
    ...(vectors.success && { vectors: { dimension: vectors.data.dimension, metric: vectors.data.metric } }),
  };
}
