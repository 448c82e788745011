import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { byteOrder, type FileClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testFileDriver } from '../../../testing/file.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';
import { SortedPaths } from './sorted-paths.ts';

const MIB = 1024 * 1024;

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'file-memory-'));
});
afterAll(() => rm(root, { recursive: true }));

testFileDriver({
  driver,
  open: () => open('suite'),
  engine: { mode: 'live', name: 'the memory of the process' },
});

/** A client of a connector, as a registry opens it. */
async function open(
  connectorId: string,
  options: Readonly<Record<string, unknown>> = {},
): Promise<FileClient> {
  const context = openContext({ connectorId, folder: join(root, connectorId) });
  return driver.open(driver.options.parse(options), context);
}

async function opened(connectorId: string, options?: Readonly<Record<string, unknown>>): Promise<FileClient> {
  const client = await open(connectorId, options);
  onTestFinished(() => client.close());
  return client;
}

const bytes = (text: string) => Buffer.from(text);
const textOf = async (client: FileClient, path: string) =>
  Buffer.from(await client.readBytes(path, undefined, NEVER)).toString();
const names = async (client: FileClient) =>
  (await client.list('', { recursive: true, limit: 1000 }, NEVER)).files.map(({ path }) => path);

describe('files in memory', () => {
  it('outlive the client that wrote them', async () => {
    const first = await open('outlive');
    const { etag } = await first.write('a/b', bytes('kept'), { contentType: 'text/plain' }, NEVER);
    await first.close();
    const second = await opened('outlive');
    expect(await textOf(second, 'a/b')).toBe('kept');
    expect(await second.stat('a/b', NEVER)).toMatchObject({ etag, contentType: 'text/plain' });
  });

  it('are those of one connector alone', async () => {
    const mine = await opened('mine');
    const yours = await opened('yours');
    await mine.write('file', bytes('mine'), {}, NEVER);
    expect(await names(yours)).toEqual([]);
    await yours.write('file', bytes('yours'), {}, NEVER);
    expect(await textOf(mine, 'file')).toBe('mine');
  });

  it('are forgotten when the folder of their connector is removed, at the next opening of any', async () => {
    const removed = await open('removed');
    await removed.write('file', bytes('x'), {}, NEVER);
    await removed.close();
    await rm(join(root, 'removed'), { recursive: true });
    await opened('other');
    // The folder is there again, so that the content was forgotten before, and not now.
    const made = await opened('made');
    await made.write('file', bytes('x'), {}, NEVER);
    expect(await names(await opened('removed'))).toEqual([]);
    expect(await names(await opened('made'))).toEqual(['file']);
  });

  it('free their memory with it', async () => {
    const { setFlagsFromString } = await import('node:v8');
    const { runInNewContext } = await import('node:vm');
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void; // the flag above makes it
    const fill = async () => {
      const client = await open('freed');
      await client.write('file', new Uint8Array(50 * MIB), {}, NEVER);
      await client.close();
    };
    collect();
    const before = process.memoryUsage().arrayBuffers;
    await fill();
    expect(process.memoryUsage().arrayBuffers - before).toBeGreaterThan(40 * MIB);
    await rm(join(root, 'freed'), { recursive: true });
    await opened('after');
    // What was freed is counted a few turns later.
    const grown = () => process.memoryUsage().arrayBuffers - before;
    for (let turn = 0; turn < 50 && grown() > 10 * MIB; turn += 1) {
      await new Promise(setImmediate);
      collect();
    }
    expect(grown()).toBeLessThan(10 * MIB);
  });

  it('take no more than they may, also while they are written', async () => {
    const client = await opened('full', { max_mb: 1 });
    const full = { code: 'payload_too_large', message: expect.stringMatching(/at most 1 MB/) };
    await client.write('half', new Uint8Array(600_000), {}, NEVER);
    await expect(client.write('more', new Uint8Array(600_000), {}, NEVER)).rejects.toMatchObject(full);
    await expect(client.copy?.('half', 'copy', NEVER)).rejects.toMatchObject(full);
    let pulled = 0;
    const endless = async function* () {
      for (;;) yield new Uint8Array((pulled += 1) && 50_000);
    };
    await expect(client.write('stream', endless(), {}, NEVER)).rejects.toMatchObject(full);
    expect(pulled).toBeLessThan(12);
    // What was refused holds no room, and a file may take that of the one it replaces.
    await client.write('half', new Uint8Array(900_000), {}, NEVER);
    await client.delete('half', NEVER);
    await client.write('other', new Uint8Array(1_000_000), {}, NEVER);
    expect(await names(client)).toEqual(['other']);
    const many = Array.from({ length: 200 }, (_, i) => client.write(`empty/${i}`, bytes(''), {}, NEVER));
    const outcomes = await Promise.allSettled(many);
    expect(outcomes.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0);
  });

  it('of all connectors take no more than a process has for them, and what was removed counts for nothing', async () => {
    const large = await open('large', { max_mb: 512 });
    onTestFinished(() => rm(join(root, 'large'), { recursive: true, force: true }));
    // Copies count as what they are, though they share their content here.
    await large.write('0', new Uint8Array(120 * MIB), {}, NEVER);
    for (const copy of ['1', '2', '3']) await large.copy?.('0', copy, NEVER);
    const other = await opened('other-tenant');
    const full = {
      code: 'payload_too_large',
      message: expect.stringMatching(/of this process take at most 512 MB/),
    };
    const streamed = async function* () {
      for (let i = 0; i < 40; i += 1) yield new Uint8Array(MIB);
    };
    await expect(other.write('bytes', new Uint8Array(40 * MIB), {}, NEVER)).rejects.toMatchObject(full);
    await expect(other.write('stream', streamed(), {}, NEVER)).rejects.toMatchObject(full);
    // What was refused has taken nothing, and what is deleted or replaced is given back.
    for (let again = 0; again < 4; again += 1) await other.write('more', new Uint8Array(10 * MIB), {}, NEVER);
    await large.delete('1', NEVER);
    await other.write('stream', streamed(), {}, NEVER);
    await expect(large.copy?.('0', '1', NEVER)).rejects.toMatchObject(full);
    await other.delete('stream', NEVER);
    await large.copy?.('0', '1', NEVER);
    await large.close();
    await expect(other.write('stream', streamed(), {}, NEVER)).rejects.toMatchObject(full);
    await rm(join(root, 'large'), { recursive: true });
    // Nobody opens a connector in between.
    await other.write('stream', streamed(), {}, NEVER);
    expect(await names(other)).toEqual(['more', 'stream']);
  });

  it('hold room for all that are written at once', async () => {
    const client = await opened('at-once', { max_mb: 1 });
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: waiting, resolve: go } = Promise.withResolvers<void>();
    const slow = async function* () {
      yield new Uint8Array(600_000);
      begin();
      await waiting;
    };
    const writing = client.write('slow', slow(), {}, NEVER);
    await begun;
    await expect(client.write('quick', new Uint8Array(600_000), {}, NEVER)).rejects.toMatchObject({
      code: 'payload_too_large',
    });
    go();
    await writing;
  });

  it('are changed by nobody who has written or read them', async () => {
    const client = await opened('copies');
    const given = Buffer.alloc(10, 1);
    await client.write('file', given, {}, NEVER);
    given.fill(2);
    (await client.readBytes('file', undefined, NEVER)).fill(3);
    const { body } = await client.readStream('file', undefined, NEVER);
    for await (const chunk of body) chunk.fill(4);
    expect(await client.readBytes('file', undefined, NEVER)).toEqual(new Uint8Array(10).fill(1));
  });

  it('are read to their end by who has begun, whatever becomes of them', async () => {
    const client = await opened('snapshot');
    await client.write('file', new Uint8Array(MIB).fill(1), {}, NEVER);
    const { body } = await client.readStream('file', undefined, NEVER);
    await client.write('file', bytes('new'), {}, NEVER);
    await client.delete('file', NEVER);
    let isOld = true;
    for await (const chunk of body) isOld &&= chunk.every((byte) => byte === 1);
    expect(isOld).toBe(true);
  });

  it('keep their tag when they are moved, and have a new one as a copy', async () => {
    const client = await opened('tags');
    const { etag } = await client.write('file', bytes('x'), {}, NEVER);
    expect(await client.move?.('file', 'moved', NEVER)).toMatchObject({ etag });
    expect((await client.copy?.('moved', 'copy', NEVER))?.etag).not.toBe(etag);
  });

  it('say that they are gone with the process', async () => {
    const client = await opened('check', { max_mb: 2 });
    await client.write('file', new Uint8Array(MIB), {}, NEVER);
    expect(await client.check(NEVER)).toEqual([
      { level: 'warn', message: expect.stringMatching(/gone when it ends; 2 of 2 MB/) },
    ]);
  });

  it('are listed in pages however many there are', async () => {
    const client = await opened('many');
    for (let i = 0; i < 20_000; i += 1)
      await client.write(`${(i * 7919) % 20_000}/é${i % 7}`, bytes(''), {}, NEVER);
    const seen: string[] = [];
    for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
      const page = await client.list('', { recursive: true, limit: 1000, cursor }, NEVER);
      seen.push(...page.files.map(({ path }) => path));
      cursor = page.nextCursor;
    }
    expect(seen).toHaveLength(20_000);
    expect(seen).toEqual([...seen].sort(byteOrder));
  });
});

describe('sorted paths', () => {
  it('are in order of their bytes, each once', () => {
    const paths = new SortedPaths();
    const given = ['b', 'a/x', 'a', 'a.', 'a/y', '\uff5e', '😀', 'a0', 'a'];
    for (const path of given) paths.add(path);
    const seen: string[] = [];
    for (let path = paths.after(''); path !== undefined; path = paths.after(path)) seen.push(path);
    expect(seen).toEqual(['a', 'a.', 'a/x', 'a/y', 'a0', 'b', '\uff5e', '😀']);
    expect(paths.afterAll('a/')).toBe('a0');
    paths.remove('a0');
    paths.remove('none');
    expect(paths.afterAll('a/')).toBe('b');
    expect(paths.afterAll('😀')).toBeUndefined();
  });
});
