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
} from '../connectors/vector/driver.ts';
import { NEVER, type Policy } from '../policies/pipeline.ts';
import { openContext } from './open-context.ts';

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
