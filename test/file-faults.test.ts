/** Every driver of a remote file backend, through the registry, on connections to a real server that break in each way there is. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAzurite } from '../src/drivers/file/azure/azure.fixture.ts';
import { gcsDouble } from '../src/drivers/file/gcs/gcs.fixture.ts';
import { startS3 } from '../src/drivers/file/s3/s3.fixture.ts';
import { hasSshd, startSshd } from '../src/drivers/file/sftp/sshd.fixture.ts';
import { rcloneVersion, startWebdav, USER } from '../src/drivers/file/webdav/webdav.fixture.ts';
import { ConnectorRegistry, type FileConnector } from '../src/index.ts';
import { faultProxy, type Fault, type FaultProxy } from '../src/testing/fault-proxy.fixture.ts';
import { collect } from '../src/testing/file-suite.ts';

/** A server that was started, and how a connector reaches it through another port. */
type Server = {
  readonly url: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly credentials: Readonly<Record<string, string>>;
  close(): Promise<void>;
};

const SERVERS: Readonly<Record<string, { readonly missing: string | undefined; start(): Promise<Server> }>> =
  {
    s3: {
      missing: undefined,
      async start() {
        const server = await startS3();
        const { endpoint, region, accessKeyId, secretAccessKey } = server;
        return {
          url: endpoint,
          options: { region, bucket: await server.bucket() },
          credentials: { access_key_id: accessKeyId, secret_access_key: secretAccessKey },
          close: () => server.close(),
        };
      },
    },
    azure: {
      missing: undefined,
      async start() {
        const server = await startAzurite();
        const { containerName: container } = await server.container();
        const { endpoint, account, key } = server;
        return {
          url: endpoint,
          options: { account, container },
          credentials: { account_key: key },
          close: () => server.close(),
        };
      },
    },
    gcs: {
      missing: undefined,
      async start() {
        const server = await gcsDouble();
        // The double's options are those of the driver, of which these two are texts.
        const { endpoint, service_account_key, ...options } = server.options as Record<string, string>;
        return {
          url: endpoint ?? '',
          options,
          credentials: { service_account_key: service_account_key ?? '' },
          close: () => server.close(),
        };
      },
    },
    sftp: {
      missing: hasSshd ? undefined : 'this machine has no sshd',
      async start() {
        const server = await startSshd();
        const { endpoint, private_key, ...options } = server.options;
        return { url: endpoint, options, credentials: { private_key }, close: () => server.close() };
      },
    },
    webdav: {
      missing: rcloneVersion() === undefined ? 'this machine has no rclone' : undefined,
      async start() {
        const server = await startWebdav();
        const { username, password } = USER;
        return {
          url: server.url,
          options: { username },
          credentials: { password },
          close: () => server.close(),
        };
      },
    },
  };

const OLD = Buffer.from('old');
const LARGE = randomBytes(4 * 2 ** 20);
/** Bytes of an answer that are over when a large body is on its way: after any handshake, well before its end. */
const WITHIN_BODY = 1_000_000;

let registry: ConnectorRegistry;
beforeAll(async () => {
  registry = await ConnectorRegistry.open();
});
afterAll(() => registry.close());

for (const [provider, { missing, start }] of Object.entries(SERVERS)) {
  describe.skipIf(missing !== undefined)(`${provider}${missing === undefined ? '' : `: ${missing}`}`, () => {
    let server: Server;
    let proxy: FaultProxy;
    let files: FileConnector;

    beforeAll(async () => {
      server = await start();
      const at = new URL(server.url);
      proxy = await faultProxy({ host: at.hostname, port: Number(at.port) });
      at.port = String(proxy.port);
      files = await registry.createFileConnector({
        ...{ tenantId: 'acme', name: provider, provider },
        config: {
          // One repetition, for a connection of the pool that broke while nobody was looking.
          ...{ endpoint: at.href.replace(/\/$/, ''), timeoutSeconds: 1, maxRetries: 1, retryDelaySeconds: 0 },
          ...{ options: server.options, credentials: server.credentials },
        },
      });
      await files.writeFile('small', OLD);
      await files.writeFile('large', Readable.from([LARGE]));
    }, 60_000);
    afterAll(async () => {
      await proxy.close();
      await server.close();
    });

    const read = async () => collect((await files.openFile('large')).body);
    const write = () => files.writeFile('small', LARGE);
    const list = () => files.listFiles();
    const cases: readonly (readonly [
      what: string,
      fault: Fault,
      use: () => Promise<unknown>,
      code: string,
    ])[] = [
      ['is reset when it is made', { kind: 'reset' }, list, 'unavailable'],
      ['is reset within the first answer', { kind: 'resetAfter', bytes: 10 }, list, 'unavailable'],
      ['ends within the first answer', { kind: 'endAfter', bytes: 10 }, list, 'unavailable'],
      ['says nothing', { kind: 'stallAfter', bytes: 0 }, list, 'timeout'],
      ['is reset within a body', { kind: 'resetAfter', bytes: WITHIN_BODY }, read, 'unavailable'],
      ['ends within a body', { kind: 'endAfter', bytes: WITHIN_BODY }, read, 'unavailable'],
      ['stalls within a body', { kind: 'stallAfter', bytes: WITHIN_BODY }, read, 'timeout'],
      ['loses what is written', { kind: 'swallowAfter', bytes: WITHIN_BODY }, write, 'timeout'],
    ];
    it.each(cases)('a connection that %s', async (_what, fault, use, code) => {
      proxy.meet(fault);
      const startMs = performance.now();
      await expect(use()).rejects.toMatchObject({ code });
      expect(performance.now() - startMs).toBeLessThan(3_000);

      proxy.meet({ kind: 'none' });
      // Nothing of it lasts: the next call gets through, and a write that failed left what was there.
      expect(Buffer.from(await files.readFile('small'))).toEqual(OLD);
      await files.disconnect();
      await proxy.idle();
      expect(proxy.open()).toBe(0);
    });
  });
}
