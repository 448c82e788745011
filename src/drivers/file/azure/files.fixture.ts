import type { ContainerClient } from '@azure/storage-blob';
import type { FileClient, OpenContext } from '../../../driver.ts';
import type { FileConnector } from '../../../connectors/file/connector.ts';
import { fileConnector } from '../../../testing/file-suite.ts';
import { openContext } from '../../../testing/open-context.ts';
import type { AzureAccount } from './azure.fixture.ts';
import driver from './index.ts';

type Options = Readonly<Record<string, unknown>>;

/** Clients of the driver for one account, ended together. */
export type AzureClients = {
  open(options: Options, context?: Partial<OpenContext>): Promise<FileClient>;
  /** A container with a client and a connector over it, by the account's key unless told. */
  files(options?: Options): Promise<{
    readonly container: ContainerClient;
    readonly client: FileClient;
    readonly files: FileConnector;
  }>;
  close(): Promise<void>;
};

export function azureClients({ endpoint, account, key, container: create }: AzureAccount): AzureClients {
  const opened: FileClient[] = [];
  const open: AzureClients['open'] = async (options, context = {}) => {
    const parsed = driver.options.parse({ account, endpoint, ...options });
    const client = await driver.open(parsed, openContext({ folder: '/nowhere', ...context }));
    opened.push(client);
    return client;
  };
  return {
    open,
    async files(options = { account_key: key }) {
      const container = await create();
      const client = await open({ container: container.containerName, ...options });
      return { container, client, files: fileConnector({ client, capabilities: driver.capabilities }) };
    },
    async close() {
      for (const client of opened.splice(0)) await client.close();
    },
  };
}

/** What a promise rejects with. */
export function failureOf(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => undefined,
    (error: unknown) => error,
  );
}
