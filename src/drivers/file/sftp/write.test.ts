import { chmod, mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { FileClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { openContext } from '../../../testing/open-context.ts';
import { type Double, startDouble } from './double.fixture.ts';
import { Exchange } from './exchange.ts';
import driver from './index.ts';
import { hasSshd, type Sshd, startSshd } from './sshd.fixture.ts';
import { isAbandoned, isTemporary } from './temporary.ts';

const clients: FileClient[] = [];
const open = async (options: object) => {
  const client = await driver.open(driver.options.parse(options), openContext({ folder: '/nonexistent' }));
  clients.push(client);
  return client;
};
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});
const bytes = (text: string) => new Uint8Array(Buffer.from(text));
/** Hosts, processes and seconds of names that writes of others might have. */
const nameOf = ({ host = '00000000', pid = 1, start = '00000000', seconds = 0 }) =>
  `.~write-${host}-${pid}-${start}-${seconds.toString(16).padStart(8, '0')}-0123456789abcdef`;

describe.runIf(hasSshd)('a write to OpenSSH', () => {
  let server: Sshd;
  beforeAll(async () => {
    server = await startSshd();
  });
  afterAll(() => server.close());

  it('is durable before it has its name, and its name and folders before it is acknowledged', async () => {
    const client = await open(server.options);
    const order: string[] = [];
    const methods = [
      'open',
      'write',
      'fsync',
      'close',
      'posixRename',
      'hardlink',
      'mkdir',
      'unlink',
    ] as const;
    const spies = methods.map((method) => {
      const original = Exchange.prototype[method] as (...given: unknown[]) => Promise<unknown>;
      return vi.spyOn(Exchange.prototype, method).mockImplementation(async function (
        this: Exchange,
        ...given: unknown[]
      ) {
        const answer: unknown = await original.apply(this, given);
        order.push(method);
        return answer as never;
      });
    });
    await client.write('durable/file', bytes('x'), {}, NEVER);
    const written = ['open', 'write', 'fsync', 'close'];
    const synced = ['open', 'fsync'];
    expect(order).toEqual(['mkdir', ...synced, ...written, 'posixRename', ...synced]);
    order.length = 0;
    await client.write('durable/new', bytes('x'), { ifNoneMatch: '*' }, NEVER);
    expect(order).toEqual([...written, 'hardlink', 'unlink', ...synced]);
    order.length = 0;
    await client.delete('durable/new', NEVER);
    expect(order).toEqual(['unlink', ...synced]);
    order.length = 0;
    await client.move?.('durable/file', 'file', NEVER);
    expect(order).toEqual(['posixRename', ...synced, ...synced]);
    for (const spy of spies) spy.mockRestore();
  });

  it('that is aborted leaves no part of it', async () => {
    const client = await open(server.options);
    for (const chunks of [1, 100]) {
      const ending = new AbortController();
      const source = async function* () {
        for (let i = 0; i < chunks; i++) yield new Uint8Array(100_000);
        ending.abort();
        yield new Uint8Array(1);
      };
      await expect(client.write('aborted/file', source(), {}, ending.signal)).rejects.toMatchObject({
        code: 'cancelled',
      });
    }
    await client.close();
    expect(await readdir(join(server.root, 'aborted'))).toEqual([]);
  });

  it('whose connection breaks leaves no part of it once there is another', async () => {
    const client = await open(server.options);
    const source = async function* () {
      yield new Uint8Array(300_000);
      await vi.waitFor(async () => expect((await readdir(server.root)).some(isTemporary)).toBe(true));
      for (const pid of server.sessions()) process.kill(pid, 'SIGKILL');
      yield* Array.from({ length: 100 }, () => new Uint8Array(300_000));
    };
    await expect(client.write('broken', source(), {}, NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    expect((await readdir(server.root)).some(isTemporary)).toBe(true);
    await client.check(NEVER);
    await vi.waitFor(async () => expect((await readdir(server.root)).some(isTemporary)).toBe(false));
  });

  it('is permission_denied in a folder that is closed to the user', async () => {
    await mkdir(join(server.root, 'closed/sub'), { recursive: true });
    await writeFile(join(server.root, 'closed/file'), 'x', { mode: 0o000 });
    await server.own(join(server.root, 'closed'));
    await chmod(join(server.root, 'closed'), 0o555);
    const client = await open(server.options);
    const denied = { code: 'permission_denied' };
    await expect(client.write('closed/new', bytes('x'), {}, NEVER)).rejects.toMatchObject(denied);
    await expect(client.write('closed/a/b', bytes('x'), {}, NEVER)).rejects.toMatchObject(denied);
    await expect(client.delete('closed/file', NEVER)).rejects.toMatchObject(denied);
    await expect(client.readBytes('closed/file', undefined, NEVER)).rejects.toMatchObject(denied);
    await chmod(join(server.root, 'closed'), 0o755);
  });

  it('is permission_denied where the server is for reading alone', async () => {
    const readOnly = await startSshd({ sftp: '-R' });
    try {
      await writeFile(join(readOnly.root, 'file'), 'x');
      const client = await open(readOnly.options);
      const denied = { code: 'permission_denied' };
      await expect(client.write('new', bytes('x'), {}, NEVER)).rejects.toMatchObject(denied);
      await expect(client.delete('file', NEVER)).rejects.toMatchObject(denied);
      expect(await client.readBytes('file', undefined, NEVER)).toEqual(bytes('x'));
      await client.check(NEVER);
    } finally {
      await readOnly.close();
    }
  });

  it('says what is in the way', async () => {
    const client = await open(server.options);
    await client.write('way/file', bytes('x'), {}, NEVER);
    for (const [path, message] of [
      ['way', 'a folder has this name'],
      ['way/file/below', 'a file has the name of one of the folders'],
    ] as const)
      for (const options of [{}, { ifNoneMatch: '*' } as const])
        await expect(client.write(path, bytes('y'), options, NEVER)).rejects.toMatchObject({
          code: 'already_exists',
          message,
        });
    await expect(client.move?.('way/file', 'way', NEVER)).rejects.toMatchObject({ code: 'already_exists' });
    expect(await readdir(server.root)).toContain('way');
    expect((await readdir(server.root)).some(isTemporary)).toBe(false);
  });

  it('copies on the server, a large file in parts', async () => {
    const client = await open(server.options);
    const content = Buffer.alloc(20_000_001, 'content');
    await client.write('from', content, {}, NEVER);
    expect(await client.copy?.('from', 'copies/to', NEVER)).toEqual({ path: 'copies/to', size: 20_000_001 });
    expect((await readFile(join(server.root, 'copies/to'))).equals(content)).toBe(true);
  });

  it('removes what killed processes left, and not what others are writing', async () => {
    const old = new Date(Date.now() - 100_000_000);
    const now = Math.floor(Date.now() / 1000);
    const files: Readonly<Record<string, boolean>> = {
      [nameOf({})]: false,
      [nameOf({ pid: 2, seconds: now })]: true,
      '.~write-other': true,
      'deep/down/.~write-1-00000000-0123456789abcdef': true,
      [`deep/down/${nameOf({ pid: 3 })}`]: false,
      'deep/plain': true,
    };
    await mkdir(join(server.root, 'swept/deep/down'), { recursive: true });
    for (const name of Object.keys(files)) {
      await writeFile(join(server.root, 'swept', name), 'half');
      await utimes(join(server.root, 'swept', name), old, old);
    }
    const fresh = nameOf({ pid: 4 });
    await writeFile(join(server.root, 'swept', fresh), 'being written');
    await server.own(join(server.root, 'swept'));
    await open({ ...server.options, root: join(server.root, 'swept') });
    const left = async () =>
      (await readdir(join(server.root, 'swept'), { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(server.root.length + 7))
        .sort();
    const expected = [...Object.keys(files).filter((name) => files[name]), fresh].sort();
    await vi.waitFor(async () => expect(await left()).toEqual(expected));
  });
});

describe('a write to a server without extensions', () => {
  let double: Double;
  beforeAll(async () => {
    double = await startDouble({ replaces: false });
  });
  afterAll(() => double.close());

  it('is said to be weaker by the check', async () => {
    const client = await open(double.options);
    const notes = (await client.check(NEVER)).map(({ message }) => message);
    for (const extension of ['fsync', 'posix-rename', 'hardlink', 'copy-data'])
      expect(notes).toContainEqual(expect.stringContaining(extension));
  });

  it('makes files, and is unsupported where it would have to replace one', async () => {
    const client = await open(double.options);
    await client.write('file', bytes('first'), {}, NEVER);
    const refused = { code: 'unsupported', details: { capability: 'atomicReplace' } };
    await expect(client.write('file', bytes('second'), {}, NEVER)).rejects.toMatchObject(refused);
    await client.write('other', bytes('x'), {}, NEVER);
    await expect(client.move?.('other', 'file', NEVER)).rejects.toMatchObject(refused);
    expect(await client.readBytes('file', undefined, NEVER)).toEqual(bytes('first'));
    expect((await readdir(double.root)).sort()).toEqual(['file', 'other']);
  });

  it('is unsupported under ifNoneMatch, before any request', async () => {
    const client = await open(double.options);
    await client.check(NEVER);
    const before = double.requests.length;
    await expect(client.write('new', bytes('x'), { ifNoneMatch: '*' }, NEVER)).rejects.toMatchObject({
      code: 'unsupported',
      details: { capability: 'createOnly' },
    });
    expect(double.requests.length).toBe(before);
  });
});

describe('an unfinished write', () => {
  const now = 1_800_000_000;
  const old = now - 90_000;
  it.each([
    ['is left where it was begun today', { seconds: now - 100 }, old, false],
    ['is left where it was last written today', { seconds: old }, now - 100, false],
    ['is abandoned after a day', { seconds: old }, old, true],
  ])('of another host %s', (_what, name, mtime, abandoned) => {
    expect(isAbandoned(nameOf(name), mtime, now * 1000)).toBe(abandoned);
  });
});
