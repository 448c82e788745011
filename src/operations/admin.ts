import { z } from 'zod';
import { ConnectorType } from '../connectors/kinds.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import type { ApiKeyRecord } from '../store/store.ts';
import { instant } from './fields.ts';
import { defineOperation } from './operation.ts';
import { toWire } from './wire.ts';

const role = z.enum(['reader', 'operator', 'admin']);

const apiKey = z
  .object({
    key_id: z.string(),
    tenant_id: z.string().nullable().describe('Null for an administrator of all tenants.'),
    role,
    label: z.string(),
    created_at: instant,
    revoked_at: instant.nullable(),
  })
  .meta({ id: 'ApiKey' });

export const statsGet = defineOperation({
  id: 'stats.get',
  method: 'GET',
  path: '/stats',
  summary: 'Show how many connectors there are and what happened.',
  description: 'An administrator of all tenants who names none gets the figures of all.',
  role: 'reader',
  tenant: 'optional',
  input: z.strictObject({}),
  output: z
    .object({
      total_connectors: z.int().min(0),
      ready_connectors: z.int().min(0),
      connected_connectors: z.int().min(0),
      error_connectors: z.int().min(0),
      connectors_by_type: z.partialRecord(
        z.enum(Object.values(ConnectorType) as [ConnectorType, ...ConnectorType[]]),
        z.int().min(1),
      ),
      total_connections: z.int().min(0),
      total_errors: z.int().min(0),
    })
    .meta({ id: 'Statistics' }),
  async run({ registry, tenantId }) {
    return (await registry.getStatistics({ tenantId: tenantId ?? undefined })).toDict();
  },
});

export const providerList = defineOperation({
  id: 'provider.list',
  method: 'GET',
  path: '/providers',
  summary: 'List the backends that connectors can be made for, with their capabilities, limits and options.',
  role: 'reader',
  tenant: 'none',
  input: z.strictObject({}),
  output: z.object({
    providers: z
      .array(
        z
          .object({
            connector_type: z.string(),
            provider: z.string(),
            title: z.string(),
            capabilities: z.record(z.string(), z.unknown()),
            secrets: z.array(z.string()).readonly().describe('The options that are credentials.'),
            admin_only: z
              .array(z.string())
              .readonly()
              .describe('The options that only an administrator may set.'),
            peers: z
              .record(z.string(), z.string())
              .describe('Packages that must be installed, with their versions.'),
            options: z.record(z.string(), z.unknown()).describe('JSON Schema of the options.'),
          })
          .meta({ id: 'Provider' }),
      )
      .readonly(),
  }),
  async run({ registry }) {
    return { providers: toWire(await registry.providers()) };
  },
});

export const keyList = defineOperation({
  id: 'key.list',
  method: 'GET',
  path: '/keys',
  summary: 'List API keys, revoked ones among them; the keys themselves are not kept.',
  role: 'admin',
  tenant: 'optional',
  input: z.strictObject({}),
  output: z.object({ keys: z.array(apiKey).readonly() }),
  run: async ({ registry, tenantId }) => ({ keys: (await registry.keys.list(tenantId)).map(shown) }),
});

export const keyCreate = defineOperation({
  id: 'key.create',
  method: 'POST',
  path: '/keys',
  summary: 'Make an API key; it is shown this once.',
  description:
    'Without a tenant, which only an administrator of all may leave out, the key is one for all tenants.',
  role: 'admin',
  tenant: 'optional',
  input: z.strictObject({
    role: role.describe('`reader` looks, `operator` also changes and invokes, `admin` also manages keys.'),
    label: z.string().max(256).default('').describe('What the key is for.'),
  }),
  output: apiKey.extend({ key: z.string().describe('Shown this once.') }).meta({ id: 'NewApiKey' }),
  statuses: [201],
  reply: () => ({ status: 201 }),
  async run({ registry, tenantId }, { role: wanted, label }) {
    const { key, record } = await registry.keys.create({ tenantId, role: wanted, label });
    return { ...shown(record), key };
  },
});

export const keyRevoke = defineOperation({
  id: 'key.revoke',
  method: 'DELETE',
  path: '/keys/{key_id}',
  summary: 'End an API key at once.',
  role: 'admin',
  tenant: 'optional',
  input: z.strictObject({ key_id: z.string().min(1).max(64).describe('The id of the key, not the key.') }),
  output: z.object({ revoked: z.literal(true) }),
  async run({ registry, tenantId }, { key_id }) {
    if (!(await registry.keys.revoke(tenantId, key_id))) {
      throw new ConnectorError('not_found', `there is no key ${key_id} that could be revoked`);
    }
    return { revoked: true } as const;
  },
});

export const tenantClear = defineOperation({
  id: 'tenant.clear',
  method: 'DELETE',
  path: '/tenants/{tenant}',
  summary: 'Remove every connector of a tenant and all that is stored for them; API keys stay.',
  role: 'admin',
  tenant: 'optional',
  input: z.strictObject({
    tenant: z.string().describe('The tenant, spelled out once more, so that none is cleared by accident.'),
  }),
  output: z.object({ removed: z.int().min(0) }),
  async run({ registry, tenantId }, { tenant: named }) {
    if (tenantId !== null && tenantId !== named) throw invalidField('tenant', 'is the tenant of this key');
    return { removed: await registry.clearTenant(named) };
  },
});

function shown({
  keyId,
  tenantId,
  role: held,
  label,
  createdAt,
  revokedAt,
}: ApiKeyRecord): z.input<typeof apiKey> {
  return {
    key_id: keyId,
    tenant_id: tenantId,
    role: held,
    label,
    created_at: createdAt.toISOString(),
    revoked_at: revokedAt?.toISOString() ?? null,
  };
}
