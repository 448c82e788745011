import { randomBytes } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  BlobServiceClient,
  StorageSharedKeyCredential,
  type ContainerClient,
  type StoragePipelineOptions,
} from '@azure/storage-blob';
import { freePort, startChildServer } from '../../../testing/child-server.fixture.ts';

/** A certificate and its private key, in PEM. */
export type Certificate = { readonly cert: string; readonly key: string };

/** An account of a blob service, and the official client beside the driver's, which other tools are played by. */
export type AzureAccount = {
  /** The account's URL, without a slash at its end. */
  readonly endpoint: string;
  readonly account: string;
  readonly key: string;
  readonly host: string;
  readonly port: number;
  /** A new container, or the one that was named from outside. */
  container(): Promise<ContainerClient>;
  close(): Promise<void>;
};

/** The account that the environment names, or one of an Azurite that is started for it. */
export async function azureAccount(): Promise<AzureAccount> {
  const {
    CONNECTORS_TEST_AZURE_URL: endpoint,
    CONNECTORS_TEST_AZURE_ACCOUNT: account = '',
    CONNECTORS_TEST_AZURE_KEY: key = '',
    CONNECTORS_TEST_AZURE_CONTAINER: name = '',
  } = process.env;
  if (endpoint === undefined) return startAzurite();
  const { hostname, port } = new URL(endpoint);
  const client = new BlobServiceClient(endpoint, new StorageSharedKeyCredential(account, key));
  return {
    ...{ endpoint: endpoint.replace(/\/$/, ''), account, key, host: hostname },
    port: Number(port) || 443,
    container: async () => client.getContainerClient(name),
    close: async () => {},
  };
}

/**
 * Starts Azurite's blob service alone, in a process of its own, in memory, on a free loopback port.
 *
 * @param certificate to speak TLS with, which has it also take tokens whose claims are right; nobody checks who signed
 *   them.
 * @throws Error with the server's own output, when it ends or does not answer within 30 seconds.
 */
export async function startAzurite(certificate?: Certificate): Promise<AzureAccount> {
  const port = await freePort();
  const host = '127.0.0.1';
  const account = 'acme';
  const key = randomBytes(64).toString('base64');
  const folder = await mkdtemp(path.join(tmpdir(), 'azurite-'));
  if (certificate !== undefined) {
    await writeFile(path.join(folder, 'cert.pem'), certificate.cert);
    await writeFile(path.join(folder, 'key.pem'), certificate.key, { mode: 0o600 });
  }
  const secure = ['--cert', 'cert.pem', '--key', 'key.pem', '--oauth', 'basic'];
  const main = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js');
  const args = [
    ...[main, '--blobHost', host, '--blobPort', String(port), '--inMemoryPersistence', '--silent'],
    ...['--disableTelemetry', '--skipApiVersionCheck', ...(certificate === undefined ? [] : secure)],
  ];
  const env = { HOME: folder, AZURITE_ACCOUNTS: `${account}:${key}` };
  const isReady = (output: string) => output.includes('successfully listen');
  const { close } = await startChildServer({ command: process.execPath, args, env, folder, isReady });
  const endpoint = `http${certificate === undefined ? '' : 's'}://${host}:${port}/${account}`;
  // The client hands it on to its core, though its types do not say so.
  const options: StoragePipelineOptions & { readonly tlsOptions: { readonly ca?: string } } = {
    tlsOptions: certificate === undefined ? {} : { ca: certificate.cert },
  };
  const client = new BlobServiceClient(endpoint, new StorageSharedKeyCredential(account, key), options);
  let made = 0;
  return {
    ...{ endpoint, account, key, host, port, close },
    async container() {
      const { containerClient } = await client.createContainer(`files-${++made}`);
      return containerClient;
    },
  };
}
