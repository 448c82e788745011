import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { defineFileDriver } from '../connectors/file/driver.ts';
import type { ServerlessConnector } from '../connectors/serverless/connector.ts';
import { defineServerlessDriver } from '../connectors/serverless/driver.ts';
import type { Body } from '../connectors/serverless/functions.fixture.ts';
import { openMemory } from '../drivers/file/memory/client.ts';
import memory from '../drivers/file/memory/index.ts';
import { memoryOptions } from '../drivers/file/memory/options.ts';
import { ConnectorError } from '../errors/error.ts';
import type { RegistryOptions } from './opening.ts';
import { ConnectorRegistry } from './registry.ts';

const KEY = randomBytes(32).toString('base64');

/** What all servers reach where a test has files for them; `isAway` while they are not reached. */
export type SharedFiles = { readonly folder: string; isAway: boolean };

/** A server on a database that it shares with others, whose functions all do what `body` says. */
export async function serverOn(
  databaseUrl: string,
  body: Body,
  { files, ...options }: RegistryOptions & { readonly files?: SharedFiles } = {},
) {
  const calls: string[] = [];
  const functions = defineServerlessDriver({
    kind: 'serverless',
    id: 'proven',
    title: 'Functions of a test',
    remote: true,
    options: z.strictObject({}),
    capabilities: {
      ...{ deploy: false, logs: false, native: false },
      limits: { payloadBytes: 1_000, resultBytes: 1_000_000, timeoutSeconds: 900 },
    },
    open: async () => ({
      invoke(_name, payload, invocation, signal) {
        calls.push(invocation.requestId);
        return body(payload, invocation, signal);
      },
      listFunctions: async () => [],
      check: async () => [],
      close: async () => {},
    }),
  });
  const shared = defineFileDriver({
    ...memory,
    id: 'shared',
    remote: true,
    options: z.strictObject({}),
    async open(_options, context) {
      if (!files || files.isAway) throw new ConnectorError('backend_error', 'the files are away');
      // Kept in this process by connector and folder, so all servers of a test have the same.
      const client = await openMemory(memoryOptions.parse({}), { ...context, folder: files.folder });
      return new Proxy(client, {
        get(target, name) {
          if (files.isAway && name !== 'close')
            throw new ConnectorError('backend_error', 'the files are away');
          const member: unknown = Reflect.get(target, name);
          return typeof member === 'function' ? (member.bind(target) as unknown) : member;
        },
      });
    },
  });
  const registry = await ConnectorRegistry.open({
    databaseUrl,
    drivers: {
      'serverless/proven': async () => ({ default: functions }),
      'file/shared': async () => ({ default: shared }),
      'file/memory': async () => ({ default: memory }),
    },
    env: { CONNECTORS_MASTER_KEY: KEY },
    ...options,
  });
  return {
    registry,
    calls,
    functionsOf: async (connectorId: string) => (await registry.get(connectorId)) as ServerlessConnector,
  };
}
