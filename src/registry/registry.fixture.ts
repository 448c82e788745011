import { afterEach } from 'vitest';
import { ConnectorRegistry } from './registry.ts';
import { scriptedDriver } from './scripted-driver.fixture.ts';

const opened: ConnectorRegistry[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((registry) => registry.close()));
});

/** A registry in memory over a scripted driver, closed after the test. */
export async function registryWith(
  script: Parameters<typeof scriptedDriver>[0] = {},
  options: Parameters<typeof ConnectorRegistry.open>[0] = {},
) {
  const scripted = scriptedDriver(script);
  const registry = await ConnectorRegistry.open({ drivers: scripted.drivers, env: {}, ...options });
  opened.push(registry);
  return { registry, seen: scripted.seen };
}

/** The specification of a connector of the scripted driver. */
export function vectors(name = 'docs', tenantId = 'acme') {
  return { tenantId, name, provider: 'scripted', vectorDimension: 3 };
}
