import { NO_ACTIVITY, type ConnectorActivity, type ConnectorRecord } from '../connectors/base.ts';
import { ConnectorConfig } from '../connectors/config.ts';
import type { InvocationRecord } from '../connectors/serverless/invocations.ts';
import type { NewConnector, SealedSecret, Store } from '../store/store.ts';

/** What the cases of the store's suite share: one store, in which each works with names of its own. */
export type StoreSuite = {
  store(): Store;
  /** A name that no other case has. */
  fresh(what: string): string;
  /** A connector that is not stored yet. */
  connector(patch?: ConnectorPatch): NewConnector;
  /** A connector that is stored. */
  stored(patch?: ConnectorPatch): Promise<NewConnector>;
};

export type ConnectorPatch = Partial<ConnectorRecord & Pick<NewConnector, 'activity' | 'secrets'>>;

export function storeSuite(store: () => Store): StoreSuite {
  let made = 0;
  const fresh = (what: string) => `${what}-${String(++made).padStart(4, '0')}`;
  const connector = (patch: ConnectorPatch = {}) => newConnector({ connectorId: fresh('id'), ...patch });
  return {
    store,
    fresh,
    connector,
    async stored(patch) {
      const one = connector(patch);
      await store().insertConnectors([one]);
      return one;
    },
  };
}

/** A page that holds everything. */
export const ALL = { limit: 1_000_000, offset: 0 };
export const CREATED = new Date(1_600_000_000_000);

function newConnector({
  activity,
  secrets,
  ...record
}: ConnectorPatch & { connectorId: string }): NewConnector {
  return {
    record: {
      tenantId: 'tenant',
      name: `name of ${record.connectorId}`,
      connectorType: 'vector',
      provider: 'embedded',
      config: new ConnectorConfig(),
      settings: { vector_dimension: 3 },
      capabilities: ['read', 'vector_search'],
      metadata: {},
      trusted: false,
      version: 1,
      createdAt: CREATED,
      updatedAt: CREATED,
      ...record,
    },
    activity: activity ?? NO_ACTIVITY,
    secrets: secrets ?? [],
  };
}

export function secret(field: string, sealed: string, keyId = 'key-1'): SealedSecret {
  return { field, keyId, sealed };
}

export const FAILED: ConnectorActivity = {
  status: 'error',
  lastConnected: new Date(1_650_000_000_001),
  lastError: { code: 'timeout', message: 'no answer within 30 s', at: new Date(1_650_000_000_002) },
  connectionCount: 3,
  errorCount: 2,
};

export function invocation(
  { tenantId, connectorId }: ConnectorRecord,
  patch: Partial<InvocationRecord> & { requestId: string },
): InvocationRecord {
  return {
    tenantId,
    connectorId,
    functionName: 'greet',
    status: 'queued',
    payload: { name: 'world' },
    payloadHash: 'a hash',
    idempotencyKey: null,
    repeatable: true,
    timeoutMs: 30_000,
    failures: 0,
    takeovers: 0,
    fence: 0,
    dueAt: CREATED,
    native: null,
    result: null,
    resultFile: null,
    error: null,
    logs: null,
    durationMs: null,
    createdAt: CREATED,
    endedAt: null,
    expiresAt: null,
    ...patch,
  };
}
