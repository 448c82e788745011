import { paginateListObjectsV2 } from '@aws-sdk/client-s3';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type AzureAccount, azureAccount } from '../src/drivers/file/azure/azure.fixture.ts';
import { type S3Server, startS3 } from '../src/drivers/file/s3/s3.fixture.ts';
import { hasSshd, type Sshd, startSshd } from '../src/drivers/file/sftp/sshd.fixture.ts';
import { ConnectorRegistry } from '../src/index.ts';
import { typing } from './cli/terminal.fixture.ts';

const FILES = 2_500;
/** When the first leg is broken off. */
const BROKEN_AT = 600;

const scratch = mkdtempSync(join(tmpdir(), 'sync-'));
const dataDir = join(scratch, 'data');
const start = join(scratch, 'start');
const run = typing({ env: { CONNECTORS_DATA_DIR: dataDir, CONNECTORS_TENANT: 'acme' } });
let s3: S3Server;
let azure: AzureAccount;
let sshd: Sshd | undefined;
let bucket: string;

beforeAll(async () => {
  [s3, azure, sshd] = await Promise.all([startS3(), azureAccount(), hasSshd ? startSshd() : undefined]);
  bucket = await s3.bucket();
  const container = (await azure.container()).containerName;
  await using registry = await ConnectorRegistry.open({ dataDir });
  const create = (provider: string, options: Record<string, unknown>, credentials: Record<string, string>) =>
    registry.createFileConnector({
      ...{ tenantId: 'acme', name: provider, provider },
      config: { options, credentials },
    });
  const { endpoint, region, accessKeyId, secretAccessKey } = s3;
  await create(
    's3',
    { endpoint, region, bucket },
    { access_key_id: accessKeyId, secret_access_key: secretAccessKey },
  );
  await create(
    'azure',
    { account: azure.account, endpoint: azure.endpoint, container },
    { account_key: azure.key },
  );
  if (sshd) {
    const { private_key: key, ...options } = sshd.options;
    await create('sftp', options, { private_key: key });
  } else console.warn('skipped: the legs to and from sftp, because OpenSSH has no server on this machine');
  await writeFiles();
}, 60_000);

afterAll(async () => {
  await Promise.all([s3?.close(), azure?.close(), sshd?.close()]);
  rmSync(scratch, { recursive: true, force: true });
});

/** Small files of many sizes, none among them, in folders and under names that are hard to keep. */
async function writeFiles(): Promise<void> {
  const odd = [
    'a b',
    '#?&+',
    '100%',
    'ü',
    'ü'.normalize('NFD'),
    '漢字',
    "it's",
    '\u{1f600}',
    '\u{ffee}',
    ' x ',
  ];
  const old = new Date('2026-01-01T00:00:00Z');
  for (let i = 0; i < FILES; i += 1) {
    const name = i % 50 === 0 ? `${odd[(i / 50) % odd.length]} ${i}` : `file-${i}.bin`;
    const file = join(start, `d${i % 23}`, ...(i % 3 === 0 ? [`below ${i % 5}`] : []), name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, randomBytes(i % 40 === 0 ? 0 : (i * 7) % 2_000));
    await utimes(file, old, old);
  }
}

/** A digest of each file below a folder, by its path. */
async function digests(root: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const digested = files.toSorted().map(async (file) => {
    const digest = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
    return [file.slice(root.length + 1), digest] as const;
  });
  return Object.fromEntries(await Promise.all(digested));
}

async function objects(): Promise<number> {
  let count = 0;
  for await (const page of paginateListObjectsV2({ client: s3.owner }, { Bucket: bucket }))
    count += page.KeyCount ?? 0;
  return count;
}

type Report = { readonly copied: number; readonly skipped: number; readonly failed: number };

async function sync(from: string, to: string): Promise<Report> {
  const { code, stdout, stderr } = await run(['files', 'sync', from, to, '--parallel', '16', '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

it('takes a folder round by every engine, byte for byte, also where it is broken off and resumed', async () => {
  const expected = await digests(start);
  expect(Object.keys(expected)).toHaveLength(FILES);

  const cut = new AbortController();
  const broken = run(['files', 'sync', start, 's3:', '--parallel', '16'], { signal: cut.signal });
  let isOver = false;
  void broken.then(() => (isOver = true));
  // One that ends by itself, however that is, has nothing to break off.
  while (!isOver && (await objects()) < BROKEN_AT);
  cut.abort();
  expect(await broken).toMatchObject({
    code: 130,
    stderr: expect.stringContaining('the same command goes on'),
  });
  const before = await objects();
  expect(before).toBeLessThan(FILES);
  const resumed = await sync(start, 's3:');
  // A write that was on its way may have been done after the objects were counted.
  expect(resumed.skipped).toBeGreaterThanOrEqual(before);
  expect(resumed.copied + resumed.skipped).toBe(FILES);

  const way = ['s3:', 'azure:', ...(sshd ? ['sftp:'] : []), join(scratch, 'end')];
  for (const [i, from] of way.slice(0, -1).entries())
    expect(await sync(from, way[i + 1] ?? '')).toMatchObject({ copied: FILES, skipped: 0, failed: 0 });
  expect(await digests(join(scratch, 'end'))).toEqual(expected);
}, 180_000);
