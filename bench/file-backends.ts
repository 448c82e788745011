/**
 * File backends: the connector against the official client that is called directly, on the same server, in turns. Where
 * it speaks to the server as well, OpenDAL's figure stands beside. Run: node bench/file-backends.ts [--quick]
 *
 * The servers run on this machine, beside the benchmark: Ceph's gateway (or fauxqs), Azurite, OpenSSH, rclone.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ConnectorRegistry, type FileConnector } from '../src/index.ts';
import { startAzurite } from '../src/drivers/file/azure/azure.fixture.ts';
import { startS3 } from '../src/drivers/file/s3/s3.fixture.ts';
import { hasSshd, startSshd } from '../src/drivers/file/sftp/sshd.fixture.ts';
import { rcloneVersion, startWebdav } from '../src/drivers/file/webdav/webdav.fixture.ts';
import { bareAzure, type BareFiles, bareS3, bareSftp, bareWebdav, opendal } from './bare-file-clients.ts';
import { grownMb, median, pairs, ratioRow, row } from './pairs.ts';
import { report, type Row } from './report.ts';

const QUICK = process.argv.includes('--quick');
const PAIRS = QUICK ? 1 : 5;
const SMALL_CALLS = QUICK ? 20 : 200;
const LISTED = QUICK ? 100 : 2_000;
const LARGE_MB = QUICK ? 16 : 256;
const CHUNK = Buffer.alloc(256 * 1024, 'connector');
const SMALL = Buffer.alloc(1_024, 'small');
const LIST_AT_ONCE = 16;

type Backend = {
  readonly provider: string;
  readonly files: FileConnector;
  readonly bare: BareFiles;
  readonly opendal?: BareFiles;
  close(): Promise<void>;
};

const registry = await ConnectorRegistry.open();
const rows: Row[] = [];
try {
  for (const open of [openS3, openAzure, openSftp, openWebdav]) {
    const backend = await open();
    if (backend === undefined) continue;
    try {
      rows.push(...(await measured(backend)));
    } finally {
      await backend.files.disconnect();
      await backend.bare.close();
      await backend.close();
    }
  }
  report('file-backends', rows);
} finally {
  await registry.close();
}

async function measured({ provider, files, bare, opendal: other }: Backend): Promise<readonly Row[]> {
  await files.writeFile('small', SMALL);
  await inParallel(LISTED, (i) => files.writeFile(`many/${i}`, SMALL));
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const calls = (run: () => Promise<unknown>) => times(SMALL_CALLS, run);
  const small = {
    write: await pairs(
      PAIRS,
      () => calls(() => bare.write('small', SMALL)),
      () => calls(() => files.writeFile('small', SMALL)),
    ),
    read: await pairs(
      PAIRS,
      () => calls(() => bare.read('small')),
      () => calls(() => files.readFile('small')),
    ),
    list: await pairs(
      PAIRS,
      async () => same(LISTED, await bare.list('many/')),
      async () => same(LISTED, await list(files)),
    ),
  };
  const upload = () => files.writeFile('large', source());
  const download = async () => same(LARGE_MB * 2 ** 20, await drain((await files.openFile('large')).body));
  const upMb = await grownMb(upload);
  const downMb = await grownMb(download);
  const up = await pairs(PAIRS, () => bare.upload('large-bare', source()), upload);
  const down = await pairs(
    PAIRS,
    async () => same(LARGE_MB * 2 ** 20, await bare.download('large')),
    download,
  );
  delay.disable();
  const loopMs = delay.percentile(99) / 1e6;
  return [
    ratioRow(`${provider}: 1 KB written`, small.write, 0.9, SMALL_CALLS, '/s'),
    ratioRow(`${provider}: 1 KB read`, small.read, 0.9, SMALL_CALLS, '/s'),
    ratioRow(`${provider}: ${LISTED} names listed`, small.list, 0.9, LISTED, '/s'),
    ratioRow(`${provider}: ${LARGE_MB} MB up`, up, 0.95, LARGE_MB, 'MB/s'),
    ratioRow(`${provider}: ${LARGE_MB} MB down`, down, 0.95, LARGE_MB, 'MB/s'),
    row(`${provider}: RSS growth, ${LARGE_MB} MB up`, upMb, 'MB', { atMost: 150 }),
    row(`${provider}: RSS growth, ${LARGE_MB} MB down`, downMb, 'MB', { atMost: 150 }),
    row(`${provider}: event loop p99 throughout`, loopMs, 'ms', { atMost: 60 }),
    ...(other === undefined ? [] : await opendalRows(provider, other, files)),
  ];
}

/** How OpenDAL does on the same server: our time in shares of its time. */
async function opendalRows(
  provider: string,
  other: BareFiles,
  files: FileConnector,
): Promise<readonly Row[]> {
  const calls = (run: () => Promise<unknown>) => times(SMALL_CALLS, run);
  const write = await pairs(
    PAIRS,
    () => calls(() => other.write('small', SMALL)),
    () => calls(() => files.writeFile('small', SMALL)),
  );
  const read = await pairs(
    PAIRS,
    () => calls(() => other.read('small')),
    () => calls(() => files.readFile('small')),
  );
  const figure = (found: typeof write) => median(found.map(({ bareMs, oursMs }) => bareMs / oursMs));
  return [
    row(`${provider}: 1 KB written, against OpenDAL`, figure(write), 'x'),
    row(`${provider}: 1 KB read, against OpenDAL`, figure(read), 'x'),
  ];
}

async function openS3(): Promise<Backend> {
  const server = await startS3();
  const bucket = await server.bucket();
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  return {
    provider: 's3',
    files: await connector(
      's3',
      endpoint,
      { region, bucket },
      {
        ...{ access_key_id: accessKeyId, secret_access_key: secretAccessKey },
      },
    ),
    bare: bareS3({ endpoint, region, bucket, accessKeyId, secretAccessKey }),
    opendal: opendal('s3', {
      ...{ endpoint, region, bucket, access_key_id: accessKeyId, secret_access_key: secretAccessKey },
    }),
    close: () => server.close(),
  };
}

async function openAzure(): Promise<Backend> {
  const server = await startAzurite();
  const { containerName: container } = await server.container();
  const { endpoint, account, key } = server;
  return {
    provider: 'azure',
    files: await connector('azure', endpoint, { account, container }, { account_key: key }),
    bare: bareAzure({ endpoint, account, key, container }),
    opendal: opendal('azblob', { endpoint, container, account_name: account, account_key: key }),
    close: () => server.close(),
  };
}

async function openSftp(): Promise<Backend | undefined> {
  if (!hasSshd) return void console.error('sftp is left out: this machine has no sshd');
  const server = await startSshd();
  const { endpoint, private_key: privateKey, ...options } = server.options;
  const { root } = server;
  return {
    provider: 'sftp',
    files: await connector('sftp', endpoint, options, { private_key: privateKey }),
    bare: await bareSftp({ host: '127.0.0.1', port: server.port, username: server.user, privateKey, root }),
    close: () => server.close(),
  };
}

async function openWebdav(): Promise<Backend | undefined> {
  if (rcloneVersion() === undefined)
    return void console.error('webdav is left out: this machine has no rclone');
  // Without a password: the client sends one that is not ASCII in another form than the server reads.
  const server = await startWebdav({ isOpen: true, keepsFolders: '1h' });
  const { url: endpoint } = server;
  return {
    provider: 'webdav',
    files: await connector('webdav', endpoint, {}, {}),
    bare: bareWebdav(endpoint),
    close: () => server.close(),
  };
}

function connector(
  provider: string,
  endpoint: string,
  options: Readonly<Record<string, unknown>>,
  credentials: Readonly<Record<string, string>>,
): Promise<FileConnector> {
  const config = { endpoint, options, credentials, timeoutSeconds: 120 };
  return registry.createFileConnector({ tenantId: 'acme', name: provider, provider, config });
}

async function list(files: FileConnector): Promise<number> {
  let count = 0;
  let cursor: string | undefined;
  do {
    const page = await files.listFiles('many', { cursor });
    count += page.files.length;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return count;
}

async function* source(): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < LARGE_MB * 2 ** 20; done += CHUNK.length) yield CHUNK;
}

async function drain(body: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.length;
  return bytes;
}

function same(expected: number, got: number): void {
  if (got !== expected) throw new Error(`${got} of ${expected} came`);
}

async function times(count: number, run: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i++) await run();
}

async function inParallel(count: number, run: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const work = async () => {
    for (let i = next++; i < count; i = next++) await run(i);
  };
  await Promise.all(Array.from({ length: LIST_AT_ONCE }, work));
}
