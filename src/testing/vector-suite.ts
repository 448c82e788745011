import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { ConnectorConfig } from '../connectors/config.ts';
import type { ClientSession } from '../connectors/session.ts';
import { VectorConnector } from '../connectors/vector/connector.ts';
import type {
  DistanceMetric,
  VectorCapabilities,
  VectorClient,
  VectorOpenContext,
  VectorRecord,
} from '../connectors/vector/driver.ts';
import { NEVER, type Policy } from '../policies/pipeline.ts';
import { openContext } from './open-context.ts';

/** What the parts of the suite share. */
export type VectorProof = {
  readonly capabilities: VectorCapabilities;
  /** The metric of tests that are about something else: the first that is declared. */
  readonly metric: DistanceMetric;
  /** A context for a collection that does not exist yet. */
  context(dimension?: number, metric?: DistanceMetric): VectorOpenContext;
  /** Opens the collection of a context; the suite closes it. */
  start(context: VectorOpenContext): Promise<VectorClient>;
  /** A connector on an open collection of its own, of 3 dimensions unless told. */
  collection(dimension?: number, metric?: DistanceMetric): Promise<VectorConnector>;
};

/** Makes the collection hold these records and no others. */
export async function fill(connector: VectorConnector, records: readonly VectorRecord[]): Promise<void> {
  await connector.deleteVectors({ all: true });
  const { failed, errors } = await connector.upsertVectors(records);
  if (failed > 0) throw new Error(`${failed} records were refused, the first: ${errors[0]?.message}`);
}

/** A connector on a client that is already open, with no policies unless told. */
export function vectorConnector(
  client: VectorClient,
  { connectorId, dimension, metric }: VectorOpenContext,
  capabilities: VectorCapabilities,
  policy: Policy = (next) => next,
): VectorConnector {
  return new VectorConnector({
    record: vectorRecord(connectorId, dimension, metric),
    session: directSession(client, policy),
    capabilities,
  });
}

/** What a host gives to `open()`, for a collection of its own below `scratch`. */
export function vectorContext(scratch: string, dimension: number, metric: DistanceMetric): VectorOpenContext {
  const connectorId = randomUUID();
  const folder = path.join(scratch, connectorId);
  return { ...openContext({ connectorId, folder, tenantFolder: scratch }), dimension, metric };
}

function vectorRecord(connectorId: string, dimension: number, metric: DistanceMetric) {
  const now = new Date(0);
  return {
    connectorId,
    tenantId: 'conformance',
    name: connectorId,
    connectorType: 'vector',
    provider: 'conformance',
    config: new ConnectorConfig(),
    settings: { vector_dimension: dimension, distance_metric: metric },
    capabilities: [],
    metadata: {},
    trusted: false,
    version: 1,
    createdAt: now,
    updatedAt: now,
  } as const;
}

/** A connector whose client fails a test that reaches it. */
export function idleVectorConnector({
  dimension,
  metric,
  capabilities,
}: {
  readonly dimension: number;
  readonly metric: DistanceMetric;
  readonly capabilities: VectorCapabilities;
}): VectorConnector {
  return new VectorConnector({
    record: vectorRecord('idle', dimension, metric),
    session: UNTOUCHABLE,
    capabilities,
  });
}

function directSession(client: VectorClient, policy: Policy): ClientSession<VectorClient> {
  return {
    run: ({ operation, idempotent, signal = NEVER }, run) =>
      policy((call) => run(client, call))({ operation, idempotent, signal, attempt: 1, progress: () => {} }),
    hold: () => () => {},
    connect: async () => {},
    disconnect: () => client.close(),
    check: async () => ({ ok: true, stages: [] }),
  };
}

const touched = (): never => {
  throw new Error('the client was touched');
};
const UNTOUCHABLE: ClientSession<VectorClient> = {
  run: touched,
  hold: touched,
  connect: touched,
  disconnect: touched,
  check: touched,
};

/** Vectors of float32 numbers between -1 and 1, the same in each run: a linear congruential generator. */
export function numbers(count: number, dimension: number, seed = 1): readonly (readonly number[])[] {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.fround(state / 2 ** 31 - 1);
  };
  return Array.from({ length: count }, () => Array.from({ length: dimension }, next));
}
