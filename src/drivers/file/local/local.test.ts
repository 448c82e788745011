import { mkdir, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { openLocal } from './client.ts';
import { fileError, writeError } from './errors.ts';
import {
  clientOver,
  litterBelow,
  readText,
  signal,
  silent,
  temporaryFolder,
  treeOf,
} from './local.fixture.ts';

describe('the root of a local client', () => {
  it('is made with its parents, for the owner alone, and so are folders and files in it', async () => {
    const root = join(await temporaryFolder(), 'tenants', 't', 'files', 'c');
    const client = await clientOver(root);
    await client.write('sub/file', Buffer.from('x'), {}, signal);
    const modes = await Promise.all(
      [root, join(root, '..'), join(root, 'sub'), join(root, 'sub/file')].map(
        async (path) => (await stat(path)).mode & 0o777,
      ),
    );
    expect(modes.map((mode) => mode.toString(8))).toEqual(['700', '700', '700', '600']);
  });

  it('may be another folder that exists, also by a link, and is never made', async () => {
    const folder = await temporaryFolder();
    const named = join(folder, 'named');
    await expect(openLocal({ root: named }, { folder, log: silent })).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'options.root' }],
    });
    await mkdir(named);
    await symlink(named, join(folder, 'link'));
    const client = await openLocal({ root: join(folder, 'link') }, { folder, log: silent });
    await client.write('file', Buffer.from('x'), {}, signal);
    await client.close();
    expect(await treeOf(named)).toEqual(['file']);
  });

  it('that was moved away fails every call until the client is opened anew', async () => {
    const folder = await temporaryFolder();
    const client = await clientOver(join(folder, 'root'));
    await client.write('sub/file', Buffer.from('x'), {}, signal);
    await rename(join(folder, 'root'), join(folder, 'elsewhere'));
    const gone = { code: 'unavailable', message: 'the root folder was moved or removed' };
    await expect(client.write('sub/file', Buffer.from('y'), {}, signal)).rejects.toMatchObject(gone);
    await expect(client.list('', { recursive: true, limit: 1 }, signal)).rejects.toMatchObject(gone);
    await expect(client.check(signal)).rejects.toMatchObject(gone);
    const again = await clientOver(join(folder, 'elsewhere'));
    expect(await readText(again, 'sub/file')).toBe('x');
  });

  it('is found to be listed and written by check, which leaves nothing', async () => {
    const root = await temporaryFolder();
    expect(await (await clientOver(root)).check(signal)).toEqual([]);
    expect(await (await clientOver(root, 'paths')).check(signal)).toEqual([
      { level: 'warn', message: expect.stringContaining('/proc/self/fd') },
    ]);
    expect(await treeOf(root)).toEqual([]);
  });
});

describe('a local client', () => {
  it('says what is in the way of a write, and leaves nothing behind', async () => {
    const root = await temporaryFolder();
    const client = await clientOver(root);
    await client.write('folder/file', Buffer.from('x'), {}, signal);
    const taken = { code: 'already_exists' };
    await expect(client.write('folder', Buffer.from('y'), {}, signal)).rejects.toMatchObject(taken);
    await expect(client.write('folder/file/below', Buffer.from('y'), {}, signal)).rejects.toMatchObject(
      taken,
    );
    await expect(client.move?.('folder/file', 'folder', signal)).rejects.toMatchObject(taken);
    expect(await treeOf(root)).toEqual(['folder', 'folder/file']);
  });

  it('uses the folder that is there now, not the one that was when it opened it', async () => {
    const root = await temporaryFolder();
    const client = await clientOver(root);
    await client.write('sub/file', Buffer.from('old'), {}, signal);
    await rename(join(root, 'sub'), join(root, 'was-sub'));
    await expect(readText(client, 'sub/file')).rejects.toMatchObject({ code: 'not_found' });
    await client.write('sub/file', Buffer.from('new'), {}, signal);
    expect(await readText(client, 'sub/file')).toBe('new');
    expect(await readText(client, 'was-sub/file')).toBe('old');
    await rm(join(root, 'sub'), { recursive: true });
    await client.write('sub/deep/file', Buffer.from('newer'), {}, signal);
    expect(await readText(client, 'sub/deep/file')).toBe('newer');
  });

  it('makes one folder for many first writes into it at once', async () => {
    const client = await clientOver(await temporaryFolder());
    await Promise.all(
      Array.from({ length: 30 }, (_, i) => client.write(`a/b/c/${i}`, Buffer.from('x'), {}, signal)),
    );
    expect((await client.list('a', { recursive: true, limit: 100 }, signal)).files).toHaveLength(30);
  });

  it('gives back every handle, of bodies that are read, left, aborted and never started too', async () => {
    const client = await clientOver(await temporaryFolder());
    const content = Buffer.alloc(2_000_000, 1);
    const folders = Array.from({ length: 40 }, (_, i) => `folder-${i}`);
    const round = async () => {
      await Promise.all(folders.map((folder) => client.write(`${folder}/file`, content, {}, signal)));
      for (const folder of folders) {
        const ending = new AbortController();
        const open = () => client.readStream(`${folder}/file`, undefined, ending.signal);
        const [left, unread, aborted] = [await open(), await open(), await open()];
        for await (const chunk of left.body) if (chunk.length > 0) break;
        await unread.body[Symbol.asyncIterator]().return?.();
        await aborted.body[Symbol.asyncIterator]().next();
        ending.abort();
        await expect(aborted.body[Symbol.asyncIterator]().next()).rejects.toMatchObject({
          code: 'cancelled',
        });
      }
    };
    await round();
    const openHandles = async () => (await readdir('/proc/self/fd')).length;
    const before = await openHandles();
    await round();
    await vi.waitFor(async () => expect(await openHandles()).toBeLessThanOrEqual(before));
  });

  it('fails a body whose file is cut while it is read, rather than end it early', async () => {
    const root = await temporaryFolder();
    const client = await clientOver(root);
    await client.write('file', Buffer.alloc(3_000_000), {}, signal);
    const { body } = await client.readStream('file', undefined, signal);
    const iterator = body[Symbol.asyncIterator]();
    await iterator.next();
    await writeFile(join(root, 'file'), 'short');
    const rest = async () => {
      while (!(await iterator.next()).done);
    };
    await expect(rest()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('keeps the names of unfinished writes to itself', async () => {
    const root = await temporaryFolder();
    const client = await clientOver(root);
    const seen: (readonly string[])[] = [];
    const source = async function* () {
      yield Buffer.from('half');
      seen.push(await litterBelow(root));
      seen.push(
        (await client.list('', { recursive: true, limit: 10 }, signal)).files.map(({ name }) => name),
      );
    };
    await client.write('file', source(), {}, signal);
    const [[temporary = ''] = [], listed] = seen;
    expect(temporary).toMatch(/^\.~write-/);
    expect(listed).toEqual([]);
    const refused = { code: 'invalid_argument' };
    await expect(client.readBytes(temporary, undefined, signal)).rejects.toMatchObject(refused);
    await expect(client.write(temporary, Buffer.from('x'), {}, signal)).rejects.toMatchObject(refused);
    await expect(client.delete(temporary, signal)).rejects.toMatchObject(refused);
    await client.write('.~write-1', Buffer.from('a name like another'), {}, signal);
    expect(await treeOf(root)).toEqual(['.~write-1', 'file']);
  });
});

it('says what the file system meant', () => {
  const codes = (map: (error: unknown) => { code: string }) =>
    Object.fromEntries(
      [
        'ENOENT',
        'ENOTDIR',
        'EISDIR',
        'ENOSPC',
        'EROFS',
        'EACCES',
        'EMFILE',
        'EIO',
        'ENAMETOOLONG',
        'ELOOP',
        'EWHAT',
      ].map((errno) => [errno, map(Object.assign(new Error('/srv/data/tenant'), { code: errno })).code]),
    );
  expect(codes(fileError)).toEqual({
    ENOENT: 'not_found',
    ENOTDIR: 'not_found',
    EISDIR: 'not_found',
    ENOSPC: 'backend_error',
    EROFS: 'permission_denied',
    EACCES: 'permission_denied',
    EMFILE: 'unavailable',
    EIO: 'unavailable',
    ENAMETOOLONG: 'invalid_argument',
    ELOOP: 'invalid_argument',
    EWHAT: 'backend_error',
  });
  expect(codes(writeError)).toMatchObject({
    ENOTDIR: 'already_exists',
    EISDIR: 'already_exists',
    ENOENT: 'not_found',
  });
  const { message, details } = fileError(Object.assign(new Error('/srv/data/tenant'), { code: 'EIO' }));
  expect(JSON.stringify([message, details])).not.toContain('/srv');
});
