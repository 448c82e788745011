import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { defineServerlessDriver } from '../connectors/serverless/driver.ts';
import { ConnectorRegistry } from './registry.ts';

/** Drivers of platforms with regions and of one without, which remember what they were opened with. */
function platforms() {
  const seen: unknown[] = [];
  const platform = (id: string, options: z.ZodObject) =>
    defineServerlessDriver({
      ...{ kind: 'serverless', id, title: id, options },
      capabilities: {
        ...{ deploy: false, logs: false, native: false },
        limits: { payloadBytes: 1_000, timeoutSeconds: 60 },
      },
      async open(given) {
        seen.push(given);
        return {
          invoke: async () => ({ status: 'completed' as const, result: null }),
          listFunctions: async () => [],
          check: async () => [],
          close: async () => {},
        };
      },
    });
  const region = z.string().regex(/^[a-z0-9-]+$/, 'is a region');
  const regional = platform(
    'regional',
    z.strictObject({ region }).refine(() => true),
  );
  const placeless = platform('placeless', z.strictObject({}));
  const drivers = {
    'serverless/regional': async () => ({ default: regional }),
    'serverless/placeless': async () => ({ default: placeless }),
  };
  return { seen, drivers };
}

async function opened(dataDir?: string) {
  const { seen, drivers } = platforms();
  const registry = await ConnectorRegistry.open({ drivers, dataDir });
  onTestFinished(() => registry.close());
  return { seen, registry, tenant: registry.forTenant('acme') };
}

it('of a connector is what its driver is opened with, also after a restart', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'region-'));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  const first = await opened(dataDir);
  const spec = { name: 'f', provider: 'regional', region: 'eu-west-1' };
  const made = await first.tenant.createServerlessConnector(spec);
  expect([made.status, made.region]).toEqual(['ready', 'eu-west-1']);
  expect(made.toDict()).toMatchObject({ region: 'eu-west-1', config: { options: {} } });
  expect(await made.healthCheck()).toMatchObject({ ok: true });
  await first.registry.close();
  const second = await opened(dataDir);
  await (await second.tenant.getByName('f')).connect();
  expect([...first.seen, ...second.seen]).toEqual([{ region: 'eu-west-1' }, { region: 'eu-west-1' }]);
});

it('counts after what the options say', async () => {
  const { seen, tenant } = await opened();
  const config = { options: { region: 'us-east-1' } };
  const spec = { name: 'f', provider: 'regional', region: 'eu-west-1', config };
  await (await tenant.createServerlessConnector(spec)).connect();
  expect(seen).toEqual([{ region: 'us-east-1' }]);
});

it('is nothing that a driver without regions hears of', async () => {
  const { seen, tenant } = await opened();
  await (
    await tenant.createServerlessConnector({ name: 'f', provider: 'placeless', region: 'eu-west-1' })
  ).connect();
  expect(seen).toEqual([{}]);
});

it('is checked as the driver checks its option, when the connector is made and when it is changed', async () => {
  const { tenant } = await opened();
  const refused = { code: 'invalid_argument', issues: [{ path: 'config.options.region' }] };
  const make = (region?: string) =>
    tenant.createServerlessConnector({ name: 'f', provider: 'regional', ...(region && { region }) });
  await expect(make()).rejects.toMatchObject(refused);
  await expect(make('Not A Region')).rejects.toMatchObject(refused);
  const { connectorId } = await make('eu-west-1');
  await tenant.update(connectorId, { config: { options: {} } });
  await expect(tenant.update(connectorId, { config: { options: { region: 'No' } } })).rejects.toMatchObject(
    refused,
  );
});

it('is all that Lambda needs to know of a place, and names the place of a project on Google Cloud', async () => {
  const registry = await ConnectorRegistry.open();
  onTestFinished(() => registry.close());
  const make = (provider: string, options: Readonly<Record<string, unknown>> = {}) =>
    registry.createServerlessConnector({
      ...{ tenantId: 'acme', name: provider, provider, region: 'europe-west1' },
      config: { options },
    });
  for (const made of [await make('aws_lambda'), await make('gcp_functions', { project_id: 'acme-project' })])
    expect([made.status, made.region]).toEqual(['ready', 'europe-west1']);
});
