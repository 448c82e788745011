import { z } from 'zod';
import type { ServerlessConnector } from '../connectors/serverless/connector.ts';
import {
  defineServerlessDriver,
  type ServerlessCapabilities,
  type ServerlessClient,
  type ServerlessDriver,
} from '../connectors/serverless/driver.ts';
import type { RegistryOptions } from '../registry/opening.ts';
import type { ServerlessConnectorSpec } from '../registry/spec.ts';
import { ConnectorRegistry } from '../registry/registry.ts';

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

/** A connector of a registry of its own, in memory, on a client that is already open; closing the registry closes it. */
export async function serverlessConnector(
  client: ServerlessClient,
  capabilities: ServerlessCapabilities,
  {
    spec,
    outcomeOf,
    ...options
  }: RegistryOptions & {
    readonly spec?: Partial<ServerlessConnectorSpec>;
    readonly outcomeOf?: ServerlessDriver['outcomeOf'];
  } = {},
): Promise<{ readonly functions: ServerlessConnector; readonly registry: ConnectorRegistry }> {
  const driver = defineServerlessDriver({
    kind: 'serverless',
    id: 'proven',
    title: 'The driver that is proven',
    options: z.strictObject({}),
    capabilities,
    open: async () => client,
    ...(outcomeOf && { outcomeOf }),
  });
  const registry = await ConnectorRegistry.open({
    drivers: { 'serverless/proven': async () => ({ default: driver }) },
    ...options,
  });
  const functions = await registry.createServerlessConnector({
    tenantId: 'tenant-1',
    name: 'functions',
    provider: 'proven',
    // Suites call on purpose what fails; none of it is repeated.
    config: { maxRetries: 0 },
    ...spec,
  });
  return { functions, registry };
}

/** A connector whose client fails a test that reaches it. */
export function idleServerlessConnector(
  capabilities: ServerlessCapabilities,
): Promise<{ readonly functions: ServerlessConnector; readonly registry: ConnectorRegistry }> {
  const touched = (): never => {
    throw new Error('the client was touched');
  };
  const client: ServerlessClient = {
    invoke: touched,
    start: touched,
    listFunctions: touched,
    deploy: touched,
    remove: touched,
    logs: touched,
    check: touched,
    close: async () => {},
  };
  return serverlessConnector(client, capabilities);
}
