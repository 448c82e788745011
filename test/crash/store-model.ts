import { NO_ACTIVITY } from '../../src/connectors/base.ts';
import { ConnectorConfig } from '../../src/connectors/config.ts';
import type { InvocationRecord } from '../../src/connectors/serverless/invocations.ts';
import type { ApiKeyRecord, NewConnector, Store } from '../../src/store/store.ts';

/** One write, as it is announced before it is made and acknowledged afterwards. */
export type Write =
  | { readonly kind: 'create'; readonly ids: readonly string[] }
  | { readonly kind: 'update'; readonly id: string; readonly version: number }
  | { readonly kind: 'delete'; readonly id: string }
  | { readonly kind: 'activity'; readonly id: string; readonly count: number }
  | { readonly kind: 'issue'; readonly id: string }
  | { readonly kind: 'revoke'; readonly id: string }
  | { readonly kind: 'queue'; readonly id: string; readonly connectorId: string }
  | { readonly kind: 'end'; readonly id: string }
  | { readonly kind: 'fact'; readonly value: string };

/** What one tenant has, as far as the writer's acknowledgements tell. */
export type Model = {
  /** By id: version, connection count, and the sealed text of the secret. */
  readonly connectors: Readonly<Record<string, readonly [number, number, string]>>;
  readonly keys: Readonly<Record<string, boolean>>;
  /** By request id: the connector, and whether it ended. */
  readonly calls: Readonly<Record<string, readonly [string, boolean]>>;
  readonly fact: string;
};

export const NOTHING: Model = { connectors: {}, keys: {}, calls: {}, fact: '' };

/** The model after one more write. */
export function after(model: Model, write: Write): Model {
  const { connectors, keys, calls } = model;
  switch (write.kind) {
    case 'create': {
      const created = write.ids.map((id) => [id, [1, 0, sealed(id, 1)]] as const);
      return { ...model, connectors: { ...connectors, ...Object.fromEntries(created) } };
    }
    case 'update': {
      const [, count = 0] = connectors[write.id] ?? [];
      const { version } = write;
      return {
        ...model,
        connectors: { ...connectors, [write.id]: [version, count, sealed(write.id, version)] },
      };
    }
    case 'activity': {
      const [version = 0, , secret = ''] = connectors[write.id] ?? [];
      return { ...model, connectors: { ...connectors, [write.id]: [version, write.count, secret] } };
    }
    case 'delete': {
      const left = Object.entries(calls).filter(([, [connectorId]]) => connectorId !== write.id);
      return { ...model, connectors: without(connectors, write.id), calls: Object.fromEntries(left) };
    }
    case 'issue':
      return { ...model, keys: { ...keys, [write.id]: true } };
    case 'revoke':
      return { ...model, keys: { ...keys, [write.id]: false } };
    case 'queue':
      return { ...model, calls: { ...calls, [write.id]: [write.connectorId, false] } };
    case 'end':
      return { ...model, calls: { ...calls, [write.id]: [calls[write.id]?.[0] ?? '', true] } };
    case 'fact':
      return { ...model, fact: write.value };
  }
}

/** Makes the write. */
export async function make(store: Store, tenantId: string, model: Model, write: Write): Promise<void> {
  switch (write.kind) {
    case 'create':
      return store.insertConnectors(write.ids.map((id) => newConnector(tenantId, id, 1)));
    case 'update': {
      const { record, secrets } = newConnector(tenantId, write.id, write.version);
      return expectTrue(await store.updateConnector(record, secrets));
    }
    case 'activity': {
      const activity = { ...NO_ACTIVITY, connectionCount: write.count };
      const [, count = 0] = model.connectors[write.id] ?? [];
      const since = { connections: write.count - count, errors: 0, isMoved: false, from: activity.status };
      await store.saveActivity([{ tenantId, connectorId: write.id, activity, since }]);
      return;
    }
    case 'delete':
      return expectTrue(await store.deleteConnector(tenantId, write.id));
    case 'issue':
      return store.insertKey(apiKey(tenantId, write.id));
    case 'revoke':
      return expectTrue(await store.revokeKey(tenantId, write.id, new Date()));
    case 'queue':
      await store.addInvocation(invocation(tenantId, write.connectorId, write.id));
      return;
    case 'end': {
      const ended = {
        status: 'completed',
        result: write.id,
        resultFile: null,
        error: null,
        logs: null,
        durationMs: 1,
      } as const;
      const lease = { tenantId, requestId: write.id, fence: 0 };
      const times = { endedAt: new Date(), expiresAt: new Date(Date.now() + 86_400_000) };
      return expectTrue(await store.endInvocation(lease, { ...ended, ...times }));
    }
    case 'fact':
      return store.setFact(tenantId, write.value);
  }
}

/** What the store has of a tenant, in the shape of a model; `calls` names the invocations to look for. */
export async function look(store: Store, tenantId: string, calls: Model['calls']): Promise<Model> {
  const connectors: Record<string, readonly [number, number, string]> = {};
  for (const { record, activity } of await store.listConnectors({ tenantId, limit: 1_000_000, offset: 0 })) {
    const { connectorId, version } = record;
    const secrets = await store.getSecrets(tenantId, connectorId);
    connectors[connectorId] = [version, activity.connectionCount, secrets.map((one) => one.sealed).join()];
  }
  const found: Record<string, readonly [string, boolean]> = {};
  for (const [id, [connectorId]] of Object.entries(calls)) {
    const call = await store.getInvocation(tenantId, connectorId, id);
    if (call) found[id] = [connectorId, call.status === 'completed' && call.result === id];
  }
  const keys = (await store.listKeys(tenantId)).map((key) => [key.keyId, key.revokedAt === null] as const);
  return {
    connectors,
    keys: Object.fromEntries(keys),
    calls: found,
    fact: (await store.getFact(tenantId)) ?? '',
  };
}

/** The sealed text of a connector's secret at a version: a torn update would show another version's. */
function sealed(id: string, version: number): string {
  return `${id} sealed for version ${version}`;
}

const CREATED = new Date(1_600_000_000_000);

function newConnector(tenantId: string, connectorId: string, version: number): NewConnector {
  return {
    record: {
      connectorId,
      tenantId,
      name: `name of ${connectorId}`,
      connectorType: 'vector',
      provider: 'embedded',
      config: new ConnectorConfig({ options: { version } }),
      settings: {},
      capabilities: ['read'],
      trusted: false,
      metadata: { filler: 'x'.repeat(200) },
      version,
      createdAt: CREATED,
      updatedAt: new Date(),
    },
    activity: NO_ACTIVITY,
    secrets: [{ field: 'api_key', keyId: 'key', sealed: sealed(connectorId, version) }],
  };
}

function apiKey(tenantId: string, keyId: string): ApiKeyRecord {
  const hash = `hash of ${keyId}`;
  return { keyId, tenantId, role: 'reader', label: '', hash, createdAt: new Date(), revokedAt: null };
}

function invocation(tenantId: string, connectorId: string, requestId: string): InvocationRecord {
  return {
    requestId,
    tenantId,
    connectorId,
    functionName: 'f',
    status: 'queued',
    payload: null,
    payloadHash: '',
    idempotencyKey: requestId,
    repeatable: false,
    timeoutMs: 1,
    failures: 0,
    takeovers: 0,
    fence: 0,
    dueAt: new Date(0),
    native: null,
    result: null,
    resultFile: null,
    error: null,
    logs: null,
    durationMs: null,
    createdAt: new Date(),
    endedAt: null,
    expiresAt: null,
  };
}

function expectTrue(done: boolean): void {
  if (!done) throw new Error('the store says that what the model has does not exist');
}

function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
}
