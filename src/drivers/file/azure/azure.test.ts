import { Readable } from 'node:stream';
import {
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { OpenContext } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { faultProxy } from '../../../testing/fault-proxy.fixture.ts';
import { testFileDriver } from '../../../testing/file.ts';
import { collect, text } from '../../../testing/file-suite.ts';
import { azureAccount } from './azure.fixture.ts';
import { BLOCK_BYTES } from './blocks.ts';
import { copyBlob } from './copies.ts';
import { azureClients, failureOf } from './files.fixture.ts';
import driver from './index.ts';
import { azureService } from './service.ts';
import { signing } from './signing.ts';
import { openContext } from '../../../testing/open-context.ts';

const MIB = 2 ** 20;
const server = await azureAccount();
const isElsewhere = process.env['CONNECTORS_TEST_AZURE_URL'] !== undefined;
const clients = azureClients(server);
const suite = azureClients(server);
afterEach(() => clients.close());
afterAll(async () => {
  await suite.close();
  await server.close();
});

testFileDriver({
  driver,
  open: async () => (await suite.files()).client,
  engine: { mode: 'live', name: isElsewhere ? `Azure at ${server.host}` : 'Azurite 3.37' },
});

/** A shared access signature for a container, which may do what the letters say. */
function signature(containerName: string, letters: string): string {
  const values = {
    permissions: ContainerSASPermissions.parse(letters),
    expiresOn: new Date(Date.now() + 3_600_000),
  };
  const credential = new StorageSharedKeyCredential(server.account, server.key);
  return generateBlobSASQueryParameters({ containerName, ...values }, credential).toString();
}

describe('credentials', () => {
  it('that are wrong, for no container, or for too little, are told apart', async () => {
    const { containerName: container } = await server.container();
    const wrong = Buffer.alloc(64, 'wrong').toString('base64');
    expect(await failureOf(clients.open({ container, account_key: wrong }))).toMatchObject({
      code: 'auth_failed',
    });
    const stages: string[] = [];
    const stage: OpenContext['stage'] = (name, step) => (stages.push(name), step());
    const missing = clients.open({ container: 'no-such-one', account_key: server.key }, { stage });
    expect(await failureOf(missing)).toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('no-such-one'),
    });
    expect(stages.at(-1)).toBe('bucket');
    const forged = signature(container, 'rl').replace(/sig=.{4}/, 'sig=AAAA');
    expect(await failureOf(clients.open({ container, sas_token: forged }))).toMatchObject({
      code: 'auth_failed',
    });
  });

  it('of a shared access signature do what it allows, and sign nothing', async () => {
    const { container } = await clients.files();
    const { containerName } = container;
    const all = await clients.open({
      container: containerName,
      sas_token: `?${signature(containerName, 'racwdl')}`,
    });
    await all.write('a ü/#b', mebibytes(9), { contentType: 'text/plain' }, NEVER);
    await all.copy?.('a ü/#b', 'a ü/c', NEVER);
    await all.move?.('a ü/c', 'a ü/d', NEVER);
    const page = await all.list('a ü', { recursive: true, limit: 10 }, NEVER);
    expect(page.files.map(({ name, size }) => [name, size])).toEqual([
      ['#b', 9 * MIB],
      ['d', 9 * MIB],
    ]);
    expect(await all.delete('a ü/d', NEVER)).toBe(true);
    expect(
      await failureOf(Promise.resolve(all.presign?.('a', { method: 'GET', expiresInSeconds: 60 }, NEVER))),
    ).toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('SAS token'),
      details: { capability: 'presign' },
    });
    expect(await all.check(NEVER)).toContainEqual({
      level: 'warn',
      message: expect.stringContaining('the SAS token ends at'),
    });

    const reading = await clients.open({
      container: containerName,
      sas_token: signature(containerName, 'r'),
    });
    expect(text(await reading.readBytes('a ü/#b', { start: 0, end: 0 }, NEVER))).toBe('\0');
    for (const refused of [
      () => reading.write('x', Buffer.from('x'), {}, NEVER),
      () => reading.delete('a ü/#b', NEVER),
      () => reading.list('', { recursive: true, limit: 1 }, NEVER),
    ])
      await expect(refused()).rejects.toMatchObject({ code: 'permission_denied' });
    expect(await reading.check(NEVER)).toContainEqual({
      level: 'warn',
      message: expect.stringContaining('cannot be listed'),
    });
  });
});

describe('signed addresses', () => {
  it('end when they say, and say what their holder has to send', async () => {
    const { client } = await clients.files();
    const signed = await client.presign?.('a/ü b', { method: 'PUT', expiresInSeconds: 604_800 }, NEVER);
    expect(signed?.headers).toEqual({ 'x-ms-blob-type': 'BlockBlob' });
    const query = new URL(signed?.url ?? '').searchParams;
    expect(query.get('sp')).toBe('cw');
    expect(new Date(query.get('se') ?? '')).toEqual(signed?.expiresAt);
    const over = await client.presign?.('a/ü b', { method: 'GET', expiresInSeconds: -1 }, NEVER);
    expect((await fetch(over?.url ?? '')).status).toBe(403);
    const cut = (signed?.url ?? '').replace(/&sig=[^&]*/, '');
    expect((await fetch(cut, { method: 'PUT', headers: { ...signed?.headers }, body: 'x' })).ok).toBe(false);
  });
});

/** So many mebibytes in chunks of one, all in the same memory. */
async function* mebibytes(count: number, before: (index: number) => unknown = () => {}) {
  const chunk = Buffer.alloc(MIB);
  for (let i = 0; i < count; i++) {
    before(i);
    yield chunk.fill(i % 251);
  }
}

describe('large content', () => {
  it('goes in and out in constant memory, in blocks', async () => {
    const { client, container } = await clients.files();
    let peak = 0;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5);
    const before = process.memoryUsage.rss();
    try {
      expect(await client.write('large', mebibytes(64), {}, NEVER)).toMatchObject({ size: 64 * MIB });
      let at = 0;
      for await (const chunk of (await client.readStream('large', undefined, NEVER)).body) {
        for (const offset of [0, chunk.length - 1])
          if (chunk[offset] !== Math.floor((at + offset) / MIB) % 251)
            expect(offset).toBe(`in its place at ${at}`);
        at += chunk.length;
      }
      expect(at).toBe(64 * MIB);
    } finally {
      clearInterval(watch);
    }
    expect(peak - before).toBeLessThan(150 * MIB);
    const { committedBlocks = [] } = await container.getBlockBlobClient('large').getBlockList('committed');
    expect(committedBlocks.map(({ size }) => size)).toEqual(Array.from({ length: 8 }, () => BLOCK_BYTES));
  });

  it('of bytes is cut into blocks as well, the last one shorter', async () => {
    const { client } = await clients.files();
    const bytes = Buffer.alloc(2 * BLOCK_BYTES + 5, 'abc');
    await client.write('bytes', bytes, { contentType: 'text/plain', metadata: { a: 'é' } }, NEVER);
    expect(Buffer.compare(await client.readBytes('bytes', undefined, NEVER), bytes)).toBe(0);
    expect(await client.stat('bytes', NEVER)).toMatchObject({
      size: bytes.length,
      contentType: 'text/plain',
      metadata: { a: 'é' },
    });
  });

  it('that fits into one block exactly, or is one byte longer, is whole', async () => {
    const { client } = await clients.files();
    for (const size of [BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1]) {
      const bytes = Buffer.alloc(size, 'xyz');
      await client.write('edge', Readable.from([bytes.subarray(0, 7), bytes.subarray(7)]), {}, NEVER);
      expect(Buffer.compare(await client.readBytes('edge', undefined, NEVER), bytes)).toBe(0);
    }
  });

  it('is written under conditions, which hold when its blocks are put together', async () => {
    const { client } = await clients.files();
    const { etag } = await client.write('there', Buffer.from('old'), {}, NEVER);
    const writing = (options: Parameters<typeof client.write>[2]) =>
      client.write('there', mebibytes(9), options, NEVER);
    await expect(writing({ ifNoneMatch: '*' })).rejects.toMatchObject({ code: 'already_exists' });
    await expect(writing({ ifMatch: '0x0' })).rejects.toMatchObject({ code: 'conflict' });
    expect(text(await client.readBytes('there', undefined, NEVER))).toBe('old');
    expect(await writing({ ifMatch: etag })).toMatchObject({ size: 9 * MIB });
  });

  it('of a writer that is overtaken is not put together, and the writer is told', async () => {
    const { client } = await clients.files();
    let overtaking: Promise<unknown> | undefined;
    const overtake = async function* () {
      yield* mebibytes(9);
      // Which discards the blocks that were not put together yet.
      overtaking = client.write('contended', Buffer.alloc(9 * MIB, 'overtook'), {}, NEVER);
      await overtaking;
    };
    const failure = await failureOf(client.write('contended', overtake(), {}, NEVER));
    expect(failure).toMatchObject({ code: 'conflict', details: { backend_code: 'InvalidBlockList' } });
    const range = { start: 0, end: 7 };
    expect(text(await client.readBytes('contended', range, NEVER))).toBe('overtook');
  });
});

describe('a write that is broken off', () => {
  it('leaves no file, and no more than blocks that were not put together', async () => {
    const { client, container } = await clients.files();
    const ending = new AbortController();
    const writing = client.write(
      'broken',
      mebibytes(80, (i) => i === 60 && ending.abort()),
      {},
      ending.signal,
    );
    await expect(writing).rejects.toMatchObject({ code: 'cancelled' });
    await expect(client.stat('broken', NEVER)).rejects.toMatchObject({ code: 'not_found' });
    expect((await client.list('', { recursive: true, limit: 10 }, NEVER)).files).toEqual([]);
    const { uncommittedBlocks = [], committedBlocks = [] } = await container
      .getBlockBlobClient('broken')
      .getBlockList('all');
    expect(committedBlocks).toEqual([]);
    expect(uncommittedBlocks.length).toBeGreaterThan(0);
    await client.write('broken', mebibytes(9), {}, NEVER);
    const after = await container.getBlockBlobClient('broken').getBlockList('all');
    expect(after.uncommittedBlocks ?? []).toEqual([]);
  });

  it('ends at once where the server stalls, and closes its connections', async () => {
    const { container } = await clients.files();
    const proxy = await faultProxy(server);
    const endpoint = server.endpoint.replace(`:${server.port}`, `:${proxy.port}`);
    const client = await clients.open({
      endpoint,
      container: container.containerName,
      account_key: server.key,
    });
    try {
      proxy.meet({ kind: 'swallowAfter', bytes: 3 * MIB });
      await failureOf(client.stat('none', NEVER)); // on a connection that has been ended, or not
      for (const content of [Buffer.alloc(4 * MIB), mebibytes(40)]) {
        const ending = new AbortController();
        const writing = failureOf(client.write('stalled', content, {}, ending.signal));
        setTimeout(() => ending.abort(), 100);
        expect(await writing).toMatchObject({ code: 'cancelled' });
        await proxy.idle();
      }
    } finally {
      await proxy.close();
    }
  });
});

describe('a body', () => {
  it('ends with its signal where the server stalls, with an error where the connection breaks, and frees it', async () => {
    const { container, client: direct } = await clients.files();
    await direct.write('body', Buffer.alloc(MIB, 'b'), {}, NEVER);
    const proxy = await faultProxy(server);
    const endpoint = server.endpoint.replace(`:${server.port}`, `:${proxy.port}`);
    const client = await clients.open({
      endpoint,
      container: container.containerName,
      account_key: server.key,
    });
    try {
      proxy.meet({ kind: 'stallAfter', bytes: 100_000 });
      await failureOf(client.stat('none', NEVER));
      const ending = new AbortController();
      const { body } = await client.readStream('body', undefined, ending.signal);
      const reading = failureOf(collect(body));
      setTimeout(() => ending.abort(), 50);
      expect(await reading).toMatchObject({ code: 'cancelled' });
      const whole = new AbortController();
      const bytes = failureOf(client.readBytes('body', undefined, whole.signal));
      setTimeout(() => whole.abort(), 50);
      expect(await bytes).toMatchObject({ code: 'cancelled' });
      await proxy.idle();

      for (const kind of ['resetAfter', 'endAfter'] as const) {
        proxy.meet({ kind, bytes: 100_000 });
        await failureOf(client.stat('none', NEVER));
        const cut = await client.readStream('body', undefined, NEVER);
        expect(await failureOf(collect(cut.body))).toMatchObject({ code: 'unavailable' });
        expect(await failureOf(client.readBytes('body', undefined, NEVER))).toMatchObject({
          code: 'unavailable',
        });
      }

      proxy.meet({ kind: 'none' });
      await failureOf(client.stat('none', NEVER));
      const unread = new AbortController();
      await client.readStream('body', undefined, unread.signal);
      unread.abort();
      for await (const chunk of (await client.readStream('body', undefined, NEVER)).body) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
      await client.stat('body', NEVER);
      expect(proxy.open()).toBe(1);
      await client.close();
      await proxy.idle();
    } finally {
      await proxy.close();
    }
  });
});

describe('copies', () => {
  it('keep the type and the metadata, in one request and in blocks', async () => {
    const { client, container } = await clients.files();
    const options = driver.options.parse({
      ...{ account: server.account, account_key: server.key, endpoint: server.endpoint },
      container: container.containerName,
    });
    const service = await azureService(options, openContext({ folder: '/nowhere' }));
    const facts = { contentType: 'text/plain', metadata: { name: 'é %' } };
    await client.write('a ü%+/from', Buffer.from('content'), facts, NEVER);
    try {
      for (const atOnceBytes of [7, 6]) {
        const to = `to ${atOnceBytes}`;
        const copied = await copyBlob(service, signing(service), ['a ü%+/from', to], NEVER, atOnceBytes);
        const info = await client.stat(to, NEVER);
        expect(info).toMatchObject({ size: 7, ...facts, etag: copied.etag });
        expect(text(await client.readBytes(to, undefined, NEVER))).toBe('content');
      }
    } finally {
      await service.close();
    }
  });
});

describe('names', () => {
  it('of folders and in cursors may be as odd as those of files', async () => {
    const { client } = await clients.files();
    const folders = [
      '#',
      '?',
      '%',
      '100%25',
      '+',
      '&',
      'a=b',
      "'",
      '"',
      ' x ',
      'é',
      'e\u0301',
      '😀',
      '\uff5e',
    ];
    for (const folder of folders)
      for (const name of ['a', 'b&c=d', '#?%+'])
        await client.write(`${folder}/${folder}/${name}`, Buffer.from(name), {}, NEVER);
    for (const folder of folders) {
      const seen: string[] = [];
      for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
        const page = await client.list(`${folder}/${folder}`, { recursive: true, limit: 1, cursor }, NEVER);
        seen.push(...page.files.map(({ path }) => path));
        cursor = page.nextCursor;
      }
      expect(seen).toEqual(['#?%+', 'a', 'b&c=d'].map((name) => `${folder}/${folder}/${name}`));
      const top = await client.list(folder, { recursive: false, limit: 10 }, NEVER);
      expect(top.files).toMatchObject([{ path: `${folder}/${folder}`, name: folder, isDirectory: true }]);
    }
  });

  it('that no path has are left out, and lead nowhere', async () => {
    const { client, container, files } = await clients.files();
    const put = (name: string) => container.getBlockBlobClient(name).upload('x', 1);
    await put('folder/');
    await put('folder//hidden');
    await client.write('folder/seen', Buffer.from('y'), {}, NEVER);
    for (const recursive of [true, false]) {
      const { files: found } = await files.listFiles('folder', { recursive });
      expect(found.map(({ path }) => path)).toEqual(['folder/seen']);
    }
    for (const path of ['..', 'a/../b', './a'])
      await expect(client.stat(path, NEVER)).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});
