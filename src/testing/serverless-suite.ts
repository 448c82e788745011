import { ConnectorConfig } from '../connectors/config.ts';
import { ServerlessConnector } from '../connectors/serverless/connector.ts';
import type { ServerlessCapabilities, ServerlessClient } from '../connectors/serverless/driver.ts';
import type { InvocationLog, InvocationRecord } from '../connectors/serverless/invocations.ts';
import type { ClientSession } from '../connectors/session.ts';
import { systemClock } from '../contract/clock.ts';
import { NEVER } from '../policies/pipeline.ts';

/**
 * The functions that the suite calls. It deploys them itself where the driver can; for any other driver they must be
 * there before, written for its platform so that they do the same.
 */
export const CONFORMANCE_FUNCTIONS = {
  /** Answers its payload. */
  echo: 'export const handler = (event) => event;',
  /** Throws a TypeError with the message `on purpose`. */
  fails: "export const handler = () => { throw new TypeError('on purpose'); };",
  /** Never ends. */
  endless: 'export const handler = () => new Promise((resolve) => setTimeout(resolve, 1e9));',
  /** Answers a text as long as its payload says. */
  large: "export const handler = (length) => 'x'.repeat(length);",
  /** Answers another text each time. */
  random: 'export const handler = () => `${Math.random()}`;',
} as const;

/** A connector on a client that is already open, with no policies; invocations are kept in memory. */
export function serverlessConnector(
  client: ServerlessClient,
  capabilities: ServerlessCapabilities,
): ServerlessConnector {
  return connectorOn(
    {
      run: ({ operation, idempotent, signal = NEVER }, run) =>
        run(client, { operation, idempotent, signal, attempt: 1, progress: () => {} }),
      hold: () => () => {},
      connect: async () => {},
      disconnect: () => client.close(),
      check: async () => ({ ok: true, stages: [] }),
    },
    capabilities,
  );
}

/** A connector whose client fails a test that reaches it. */
export function idleServerlessConnector(capabilities: ServerlessCapabilities): ServerlessConnector {
  const touched = (): never => {
    throw new Error('the client was touched');
  };
  const session = { run: touched, hold: touched, connect: touched, disconnect: touched, check: touched };
  return connectorOn(session, capabilities);
}

function connectorOn(
  session: ClientSession<ServerlessClient>,
  capabilities: ServerlessCapabilities,
): ServerlessConnector {
  const at = new Date(0);
  return new ServerlessConnector({
    record: {
      connectorId: 'connector-1',
      tenantId: 'conformance',
      name: 'functions',
      connectorType: 'serverless',
      provider: 'under-test',
      config: new ConnectorConfig(),
      settings: {},
      capabilities: [],
      metadata: {},
      trusted: false,
      version: 1,
      createdAt: at,
      updatedAt: at,
    },
    session,
    capabilities,
    invocations: memoryInvocations(),
    clock: systemClock,
  });
}

function memoryInvocations(): InvocationLog {
  const rows = new Map<string, InvocationRecord>();
  const byKey = new Map<string, string>();
  const change = async (requestId: string, patch: Partial<InvocationRecord>) => {
    const row = rows.get(requestId);
    if (row) rows.set(requestId, { ...row, ...patch });
  };
  return {
    async add(record) {
      const { requestId, idempotencyKey } = record;
      const holder = idempotencyKey === null ? undefined : rows.get(byKey.get(idempotencyKey) ?? '');
      if (holder) return holder;
      rows.set(requestId, record);
      if (idempotencyKey !== null) byKey.set(idempotencyKey, requestId);
      return record;
    },
    markRunning: (requestId) => change(requestId, { status: 'running' }),
    end: change,
    get: async (requestId) => rows.get(requestId),
  };
}
