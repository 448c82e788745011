import {
  ListMultipartUploadsCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { systemClock, type FileClient, type OpenContext } from '../../../driver.ts';
import { testFileDriver } from '../../../testing/file.ts';
import { openContext } from '../../../testing/open-context.ts';
import { Afterwards } from './afterwards.ts';
import { Bucket } from './bucket.ts';
import { copyFile } from './copy.ts';
import driver from './index.ts';
import { statFile } from './read.ts';
import { startS3 } from './s3.fixture.ts';
import { loadSdk } from './sdk.ts';
import { writingOf } from './writing.ts';

const NEVER = new AbortController().signal;
const MIB = 2 ** 20;
const NO_AUTH = 'fauxqs checks no signatures';
const NO_CONDITIONS = 'fauxqs knows no conditional PUT';

const server = await startS3();
const isCeph = server.kind === 'ceph';
if (!isCeph) process.stdout.write(`s3: what needs Ceph is left out, because ${server.name} answers\n`);
const bucket = await server.bucket();
let clients: FileClient[] = [];
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  clients = [];
});
afterAll(() => server.close());

const KEYS = { access_key_id: server.accessKeyId, secret_access_key: server.secretAccessKey };
const STRANGER = {
  access_key_id: server.stranger?.accessKeyId,
  secret_access_key: server.stranger?.secretAccessKey,
};

async function clientOf(
  options: Readonly<Record<string, unknown>> = KEYS,
  context: Partial<OpenContext> = {},
): Promise<FileClient> {
  const { endpoint, region } = server;
  const client = await driver.open(
    driver.options.parse({ endpoint, region, bucket, ...options }),
    openContext({ folder: '/nowhere', ...context }),
  );
  clients.push(client);
  return client;
}

testFileDriver({
  driver,
  open: async () => {
    const client = await clientOf({ ...KEYS, bucket: await server.bucket() });
    clients = [];
    return client;
  },
  ...(isCeph && { engine: { mode: 'live', name: server.name } as const }),
  ...(server.kind === 'fauxqs' && {
    waivers: {
      'lets exactly one of twenty writers': NO_CONDITIONS,
      'replaces only the content that has the etag': NO_CONDITIONS,
      'signs an address that writes one file': NO_AUTH,
      'ties what is put to a content type': NO_AUTH,
      'lists a tree in order': 'fauxqs sorts keys as JavaScript does',
    },
  }),
});

describe.runIf(isCeph)('rights', () => {
  const uses = (client: FileClient) => ({
    list: () => client.list('', { recursive: true, limit: 1 }, NEVER),
    stat: () => client.stat('owned', NEVER),
    read: () => client.readBytes('owned', undefined, NEVER),
    write: () => client.write('owned', Buffer.from('x'), {}, NEVER),
    parts: () => client.write('owned', Buffer.alloc(33 * MIB), {}, NEVER),
    delete: () => client.delete('owned', NEVER),
  });

  it('of keys that are wrong are found out at the stage of credentials, which a missing bucket is not', async () => {
    const stages: string[] = [];
    const stage = <T>(name: string, step: () => Promise<T>) => {
      stages.push(name);
      return step();
    };
    const wrong = [
      { ...KEYS, secret_access_key: 'wrong-worthless' },
      { ...KEYS, access_key_id: 'nobody' },
    ];
    for (const keys of wrong)
      await expect(clientOf(keys, { stage })).rejects.toMatchObject({ code: 'auth_failed' });
    expect(stages).toEqual(wrong.flatMap(() => ['address', 'connect', 'credentials']));
    await expect(clientOf({ ...KEYS, bucket: 'nowhere' }, { stage })).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('there is no bucket nowhere'),
    });
    expect(stages.at(-1)).toBe('bucket');
  });

  it('that somebody has not are permission_denied, each time, and told by the check', async () => {
    await (await clientOf()).write('owned', Buffer.from('x'), {}, NEVER);
    const client = await clientOf(STRANGER);
    for (const use of Object.values(uses(client)))
      await expect(use()).rejects.toMatchObject({ code: 'permission_denied' });
    expect(await client.check(NEVER)).toContainEqual({
      level: 'warn',
      message: expect.stringContaining('may not list'),
    });
  });

  it('of a role that is assumed are those of the role', async () => {
    await (await clientOf()).write('owned', Buffer.from('x'), {}, NEVER);
    const client = await clientOf({ ...STRANGER, role_arn: server.roleArn, external_id: 'agreed' });
    await expect(client.readBytes('owned', undefined, NEVER)).resolves.toHaveLength(1);
    await expect(uses(client).write()).rejects.toMatchObject({ code: 'permission_denied' });
    const signed = await client.presign?.('owned', { method: 'GET', expiresInSeconds: 60 }, NEVER);
    expect((await fetch(signed?.url ?? '')).status).toBe(200);
    for (const role_arn of [server.roleArn, 'arn:aws:iam:::role/none']) {
      const keys = role_arn === server.roleArn ? KEYS : STRANGER;
      await expect(clientOf({ ...keys, role_arn })).rejects.toMatchObject({
        code: 'permission_denied',
        message: expect.stringContaining('could not be assumed'),
      });
    }
  });

  it('of anybody are enough for a public bucket, and sign nothing', async () => {
    const open = await server.bucket();
    await allow(server.owner, open, ['s3:GetObject', 's3:ListBucket']);
    await (await clientOf({ ...KEYS, bucket: open })).write('public', Buffer.from('x'), {}, NEVER);
    const client = await clientOf({ bucket: open }, { authType: 'none' });
    await expect(client.readBytes('public', undefined, NEVER)).resolves.toHaveLength(1);
    await expect(client.write('public', Buffer.from('y'), {}, NEVER)).rejects.toMatchObject({
      code: 'permission_denied',
    });
    await expect(
      client.presign?.('public', { method: 'GET', expiresInSeconds: 60 }, NEVER),
    ).rejects.toMatchObject({ code: 'unsupported' });
  });
});

async function allow(owner: S3Client, name: string, actions: readonly string[]): Promise<void> {
  const Resource = [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`];
  const Statement = [{ Effect: 'Allow', Principal: '*', Action: actions, Resource }];
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  await owner.send(new PutBucketPolicyCommand({ Bucket: name, Policy }));
}

describe('what is large', () => {
  const pattern = (sizeBytes: number) => {
    const bytes = Buffer.alloc(sizeBytes);
    for (let i = 0; i < sizeBytes; i += 4096) bytes.writeUInt32LE(i, i);
    return bytes;
  };
  const inChunks = async function* (bytes: Uint8Array, chunkBytes: number) {
    const memory = new Uint8Array(chunkBytes);
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      const chunk = bytes.subarray(at, at + chunkBytes);
      memory.set(chunk);
      yield memory.subarray(0, chunk.length);
    }
  };
  const uploads = async () => {
    const { Uploads = [] } = await server.owner.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    return Uploads;
  };

  it('arrives in parts in its order, from a stream that uses its memory again and from bytes', async () => {
    const client = await clientOf({ ...KEYS, part_mebibytes: 5 });
    const bytes = pattern(23 * MIB + 17);
    for (const content of [inChunks(bytes, 300_000), bytes]) {
      const options = { contentType: 'video/mp4', metadata: { of: 'parts' } };
      const written = await client.write('large', content, options, NEVER);
      expect(written).toMatchObject({
        path: 'large',
        size: bytes.length,
        etag: expect.stringMatching(/-5$/),
      });
      expect(await client.stat('large', NEVER)).toMatchObject({ ...written, ...options });
      expect(Buffer.compare(await client.readBytes('large', undefined, NEVER), bytes)).toBe(0);
      expect(await client.readBytes('large', { start: 10 * MIB - 1, end: 10 * MIB }, NEVER)).toHaveLength(2);
    }
    expect(await uploads()).toEqual([]);
  });

  it.runIf(isCeph)('leaves no part behind when it is aborted, or its source fails', async () => {
    const client = await clientOf({ ...KEYS, part_mebibytes: 5 });
    const ending = new AbortController();
    const broken = async function* (fail: () => Promise<unknown>) {
      for (let i = 0; i < 5; i++) yield new Uint8Array(5 * MIB);
      await fail();
    };
    const aborted = broken(async () => {
      expect(await uploads()).toHaveLength(1);
      ending.abort();
    });
    await expect(client.write('partly', aborted, {}, ending.signal)).rejects.toMatchObject({
      code: 'cancelled',
    });
    const failing = broken(() => Promise.reject(new Error('the source broke')));
    await expect(client.write('partly', failing, {}, NEVER)).rejects.toThrow('the source broke');
    await client.close();
    expect(await uploads()).toEqual([]);
    const { files } = await (await clientOf()).list('', { recursive: true, limit: 1000 }, NEVER);
    expect(files.map(({ path }) => path)).not.toContain('partly');
  });

  it.runIf(isCeph)('keeps its condition up to four parts, and is refused beyond', async () => {
    const client = await clientOf({ ...KEYS, part_mebibytes: 5 });
    const first = await client.write('once', inChunks(pattern(12 * MIB), MIB), { ifNoneMatch: '*' }, NEVER);
    const again = client.write('once', inChunks(pattern(12 * MIB), MIB), { ifNoneMatch: '*' }, NEVER);
    await expect(again).rejects.toMatchObject({ code: 'already_exists' });
    const over = client.write('once', inChunks(pattern(12 * MIB), MIB), { ifMatch: first.etag }, NEVER);
    await expect(over).resolves.toMatchObject({ size: 12 * MIB });
    const longer = client.write('longer', inChunks(pattern(21 * MIB), MIB), { ifNoneMatch: '*' }, NEVER);
    await expect(longer).rejects.toMatchObject({
      code: 'unsupported',
      details: { capability: 'createOnly', maxBytes: 20 * MIB },
    });
    await expect(client.stat('longer', NEVER)).rejects.toMatchObject({ code: 'not_found' });
  });

  it.runIf(isCeph)('is copied in parts where S3 copies it in no other way', async () => {
    const client = await clientOf();
    const bytes = pattern(12 * MIB);
    const described = { contentType: 'text/plain', metadata: { of: 'the source' } };
    await client.write('from ü+', bytes, described, NEVER);
    const options = driver.options.parse({ endpoint: server.endpoint, bucket, ...KEYS });
    const failures = { bucket, region: server.region, secrets: [], now: () => Date.now() };
    const beside = new Bucket(await loadSdk(), server.owner, failures);
    const writing = writingOf(options, beside, new Afterwards(systemClock));
    const sizes = { maxCopyBytes: MIB, partBytes: 5 * MIB };
    const copied = await copyFile(writing, 'from ü+', 'to', NEVER, sizes);
    expect(copied).toEqual({ path: 'to', size: bytes.length, etag: expect.stringMatching(/-3$/) });
    expect(await statFile(beside, 'to', NEVER)).toMatchObject(described);
    expect(Buffer.compare(await client.readBytes('to', undefined, NEVER), bytes)).toBe(0);
  });

  it('passes through in constant memory', async () => {
    const client = await clientOf();
    const chunk = new Uint8Array(256 * 1024).fill(7);
    const sizeBytes = 64 * MIB;
    const source = async function* () {
      for (let at = 0; at < sizeBytes; at += chunk.length) yield chunk;
    };
    let peakBytes = 0;
    const before = process.memoryUsage.rss();
    const look = () => void (peakBytes = Math.max(peakBytes, process.memoryUsage.rss() - before));
    const timer = setInterval(look, 10);
    try {
      await client.write('through', source(), {}, NEVER);
      let read = 0;
      const { body } = await client.readStream('through', undefined, NEVER);
      for await (const part of body) read += part.length;
      expect(read).toBe(sizeBytes);
    } finally {
      clearInterval(timer);
    }
    expect(peakBytes).toBeLessThan(150 * MIB);
  });
});

describe('a listing', () => {
  it('leaves out what no path can name, and goes on behind it', async () => {
    const own = await server.bucket();
    const odd = isCeph ? ['/slash', '../up', 'a/../b', './here'] : [];
    const keys = ['a//b', 'a/', 'a/file', 'b', 'c/', 'd//', ...odd];
    for (const Key of keys) await server.owner.send(new PutObjectCommand({ Bucket: own, Key, Body: 'x' }));
    const client = await clientOf({ ...KEYS, bucket: own });
    const paths = async (path: string, recursive: boolean) => {
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await client.list(path, { recursive, limit: 1, cursor }, NEVER);
        seen.push(...page.files.map((file) => (file.isDirectory ? `${file.path}/` : file.path)));
        cursor = page.nextCursor;
      } while (cursor !== undefined);
      // The connector leaves out what the path rule refuses.
      return seen.filter((path) => !/(?:^|\/)\.{0,2}\/./.test(path));
    };
    expect(await paths('', true)).toEqual(['a/file', 'b']);
    expect((await paths('', false)).filter((path) => !path.startsWith('.'))).toEqual(['a/', 'b', 'c/', 'd/']);
    expect(await paths('a', false)).toEqual(['a/file', ...(isCeph ? ['a/../'] : [])].sort());
    expect(await paths('d', false)).toEqual([]);
  });

  it.runIf(isCeph)('of 5,000 files comes page by page in constant memory', async () => {
    const own = await server.bucket();
    const client = await clientOf({ ...KEYS, bucket: own });
    let next = 0;
    const work = async () => {
      while (next < 5000)
        await client.write(`f/${String(next++).padStart(5, '0')}`, new Uint8Array(), {}, NEVER);
    };
    await Promise.all(Array.from({ length: 32 }, work));
    let last = '';
    let count = 0;
    let cursor: string | undefined;
    do {
      const page = await client.list('f', { recursive: false, limit: 1000, cursor }, NEVER);
      for (const { path } of page.files) {
        expect(path > last).toBe(true);
        last = path;
        count += 1;
      }
      ({ nextCursor: cursor } = page);
    } while (cursor !== undefined);
    expect(count).toBe(5000);
  });
});
