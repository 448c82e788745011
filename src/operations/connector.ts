import { z } from 'zod';
import type { BaseConnector } from '../connectors/base.ts';
import { connectorConfig } from '../connectors/config.ts';
import { ConnectorCapability, ConnectorStatus, ConnectorType } from '../connectors/kinds.ts';
import { connectorPatch, newConnector } from '../registry/spec.ts';
import { notFound } from '../registry/session.ts';
import { connectorId, errorCode, instant } from './fields.ts';
import { defineOperation } from './operation.ts';
import { toWire } from './wire.ts';

const type = z.enum(Object.values(ConnectorType) as [ConnectorType, ...ConnectorType[]]);
const status = z.enum(Object.values(ConnectorStatus) as [ConnectorStatus, ...ConnectorStatus[]]);

/** A connector as every answer shows it, credentials masked; the kind's own settings stand beside these fields. */
export const connectorAnswer = z
  .looseObject({
    connector_id: z.string(),
    tenant_id: z.string(),
    name: z.string(),
    connector_type: type,
    provider: z.string(),
    status,
    capabilities: z.array(
      z.enum(Object.values(ConnectorCapability) as [ConnectorCapability, ...ConnectorCapability[]]),
    ),
    config: connectorConfig,
    metadata: z.record(z.string(), z.json()),
    version: z.int().min(1),
    last_connected: instant.nullable(),
    last_error: z.object({ code: errorCode, message: z.string(), at: instant }).nullable(),
    connection_count: z.int().min(0),
    error_count: z.int().min(0),
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'Connector' });

const healthReport = z
  .object({
    ok: z.boolean(),
    stages: z
      .array(
        z.object({
          name: z.string(),
          status: z.enum(['ok', 'warn', 'failed', 'skipped']),
          ms: z.number().min(0).describe('How long the stage took, in milliseconds.'),
          code: errorCode.optional(),
          message: z.string().optional(),
          remedy: z.string().optional().describe('What a person can do about it.'),
        }),
      )
      .readonly(),
  })
  .meta({ id: 'HealthReport' });

export const connectorList = defineOperation({
  id: 'connector.list',
  method: 'GET',
  path: '/connectors',
  summary: 'List connectors, sorted by name.',
  description:
    'Fewer connectors than `limit` means that there are no more. An administrator of all tenants who names none sees those of all.',
  role: 'reader',
  tenant: 'optional',
  input: z.strictObject({
    name: z.string().max(128).optional().describe('Only connectors of exactly this name.'),
    connector_type: type.optional().describe('Only connectors of this type.'),
    status: status.optional().describe('Only connectors with this status.'),
    limit: z.int().min(1).max(1_000).default(100).describe('Connectors in the answer, at most.'),
    offset: z.int().min(0).default(0).describe('How many to skip.'),
  }),
  output: z.object({ connectors: z.array(connectorAnswer).readonly() }),
  async run({ registry, tenantId }, { connector_type: connectorType, ...rest }) {
    const connectors = await registry.list({ tenantId: tenantId ?? undefined, connectorType, ...rest });
    return { connectors: connectors.map(shown) };
  },
});

export const connectorCreate = defineOperation({
  id: 'connector.create',
  method: 'POST',
  path: '/connectors',
  summary: 'Register a connector.',
  description: 'Credentials are sealed before they are stored and are never shown again.',
  role: 'operator',
  tenant: 'required',
  input: newConnector,
  output: connectorAnswer,
  statuses: [201],
  reply: (connector) => ({ status: 201, location: `/connectors/${connector.connector_id}` }),
  run: async ({ tenant }, input) => shown(await tenant().createFromDict(input)),
});

export const connectorGet = defineOperation({
  id: 'connector.get',
  method: 'GET',
  path: '/connectors/{connector_id}',
  summary: 'Show a connector: its configuration, status and figures.',
  role: 'reader',
  tenant: 'optional',
  input: z.strictObject({ connector_id: connectorId }),
  output: connectorAnswer,
  run: async ({ registry, tenantId }, { connector_id }) =>
    shown(await registry.get(connector_id, { tenantId: tenantId ?? undefined })),
});

export const connectorUpdate = defineOperation({
  id: 'connector.update',
  method: 'PATCH',
  path: '/connectors/{connector_id}',
  summary: 'Change a connector.',
  description:
    'What is absent stays. A credential sent as `***` keeps its stored value. With `version` the change is refused unless that is the stored version.',
  role: 'operator',
  tenant: 'required',
  input: connectorPatch.extend({ connector_id: connectorId }),
  output: connectorAnswer,
  run: async ({ tenant }, { connector_id, ...patch }) =>
    shown(await tenant().updateFromDict(connector_id, patch)),
});

export const connectorDelete = defineOperation({
  id: 'connector.delete',
  method: 'DELETE',
  path: '/connectors/{connector_id}',
  summary: 'Remove a connector, and what an embedded engine stored for it.',
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId }),
  output: z.object({ deleted: z.literal(true) }),
  async run({ tenant }, { connector_id }) {
    if (!(await tenant().delete(connector_id))) throw notFound(connector_id);
    return { deleted: true } as const;
  },
});

export const connectorConnect = defineOperation({
  id: 'connector.connect',
  method: 'POST',
  path: '/connectors/{connector_id}/connect',
  summary: 'Open the connection now instead of at first use.',
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId }),
  output: connectorAnswer,
  async run({ tenant, signal }, { connector_id }) {
    const connector = await tenant().get(connector_id);
    await connector.connect({ signal });
    return shown(connector);
  },
});

export const connectorDisconnect = defineOperation({
  id: 'connector.disconnect',
  method: 'POST',
  path: '/connectors/{connector_id}/disconnect',
  summary: 'Close the connection; the next use opens it again.',
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId }),
  output: connectorAnswer,
  async run({ tenant }, { connector_id }) {
    const connector = await tenant().get(connector_id);
    await connector.disconnect();
    return shown(connector);
  },
});

export const connectorTest = defineOperation({
  id: 'connector.test',
  method: 'POST',
  path: '/connectors/{connector_id}/test',
  summary: 'Find out, stage by stage, whether a connector works.',
  description: 'A backend that fails is a report with `ok: false`, not an error.',
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId }),
  output: healthReport,
  run: async ({ tenant, signal }, { connector_id }) => toWire(await tenant().test(connector_id, { signal })),
});

export const connectorHealth = defineOperation({
  id: 'connector.health',
  method: 'GET',
  path: '/connectors/{connector_id}/health',
  summary: 'Check whether the backend of a connector answers.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId }),
  output: z
    .object({ connector_id: z.string(), status, ok: z.boolean(), stages: healthReport.shape.stages })
    .meta({ id: 'Health' }),
  async run({ tenant, signal }, { connector_id }) {
    const connector = await tenant().get(connector_id);
    const report = await connector.healthCheck({ signal });
    return { connector_id, status: connector.status, ...toWire(report) };
  },
});

function shown(connector: BaseConnector): z.input<typeof connectorAnswer> {
  // `toDict` is what the schema describes; tests hold every answer against it.
  return connector.toDict() as z.input<typeof connectorAnswer>;
}
