import type { BaseConnector } from '../connectors/base.ts';
import { ConnectorRegistry, type ListOptions, type Scope } from './registry.ts';
import type { RegistryOptions } from './opening.ts';

let opened: Promise<ConnectorRegistry> | undefined;

/**
 * The registry of this process, opened by the first caller: in `CONNECTORS_DATA_DIR` where that is set, in memory
 * otherwise. Options of later calls are ignored.
 */
export function getConnectorRegistry(options: RegistryOptions = {}): Promise<ConnectorRegistry> {
  if (!opened) {
    const dataDir = options.dataDir ?? process.env['CONNECTORS_DATA_DIR'];
    opened = ConnectorRegistry.open({ ...options, dataDir });
    // A failed opening must not stick.
    opened.catch(() => (opened = undefined));
  }
  return opened;
}

/** Registers a connector of the application's own class with the registry of this process. */
export async function registerConnector(connector: BaseConnector): Promise<void> {
  return (await getConnectorRegistry()).register(connector);
}

/** A connector of the registry of this process. @throws ConnectorError `not_found`. */
export async function getConnector(connectorId: string, scope?: Scope): Promise<BaseConnector> {
  return (await getConnectorRegistry()).get(connectorId, scope);
}

/** Connectors of the registry of this process, sorted by name, then id. */
export async function listConnectors(options?: ListOptions): Promise<readonly BaseConnector[]> {
  return (await getConnectorRegistry()).list(options);
}

/** Closes the registry of this process, so that the next caller opens a new one; for tests. */
export async function resetConnectorRegistry(): Promise<void> {
  const closing = opened;
  opened = undefined;
  await (await closing)?.close();
}
