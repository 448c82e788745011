import { execFileSync } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FileClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { ATTACKS } from '../../../testing/file-attacks.ts';
import { openContext } from '../../../testing/open-context.ts';
import { startDouble } from './double.fixture.ts';
import driver from './index.ts';
import { hasSshd, startSshd } from './sshd.fixture.ts';
import { finished, temporaryName } from './temporary.ts';

type Server = {
  readonly root: string;
  readonly options: object;
  readonly own?: (path: string) => Promise<void>;
  readonly close: () => Promise<void>;
};
const servers: readonly (readonly [string, () => Promise<Server>])[] = [
  ...(hasSshd ? [['OpenSSH', startSshd] as const] : []),
  ['a server without extensions', startDouble],
];
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

describe.each(servers)('at %s', (_name, start) => {
  let server: Server;
  let root: string;
  let client: FileClient;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.close());

  beforeEach(async () => {
    root = join(server.root, 'connector');
    await mkdir(join(root, 'folder'), { recursive: true });
    await mkdir(join(server.root, 'outside'), { recursive: true });
    await writeFile(join(server.root, 'outside', 'secret'), 'secret');
    await writeFile(join(root, 'folder', 'file'), 'content');
    await symlink('../outside', join(root, 'out'));
    await symlink('../outside/secret', join(root, 'secret-link'));
    await symlink('folder', join(root, 'in'));
    await symlink('folder/file', join(root, 'file-link'));
    await symlink('nothing', join(root, 'dangling'));
    await server.own?.(server.root);
    client = await driver.open(
      driver.options.parse({ ...server.options, root }),
      openContext({ folder: '/x' }),
    );
  });
  afterEach(async () => {
    await client.close();
    execFileSync('rm', ['-rf', root]);
  });

  const refusal = { code: 'invalid_argument', issues: [{ path: 'path' }] };

  it.each(['out/secret', 'in/file', 'secret-link', 'file-link', 'dangling', 'dangling/below'])(
    'does not read through the link %s',
    async (path) => {
      await expect(client.readBytes(path, undefined, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.readStream(path, undefined, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.stat(path, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.copy?.(path, 'copied', NEVER)).rejects.toMatchObject(refusal);
      await expect(client.move?.(path, 'moved', NEVER)).rejects.toMatchObject(refusal);
    },
  );

  it.each(['out/new', 'in/new', 'out/sub/new', 'dangling/new', 'file-link/new'])(
    'does not write through the link in %s',
    async (path) => {
      await expect(client.write(path, bytes('x'), {}, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.delete(path, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.copy?.('folder/file', path, NEVER)).rejects.toMatchObject(refusal);
      await expect(client.move?.('folder/file', path, NEVER)).rejects.toMatchObject(refusal);
      expect(await readdir(join(server.root, 'outside'))).toEqual(['secret']);
    },
  );

  it('lists no link, and does not list through one', async () => {
    for (const recursive of [false, true]) {
      const { files } = await client.list('', { recursive, limit: 100 }, NEVER);
      expect(files.map(({ path }) => path)).toEqual([recursive ? 'folder/file' : 'folder']);
      for (const path of ['out', 'in', 'out/sub'])
        await expect(client.list(path, { recursive, limit: 100 }, NEVER)).rejects.toMatchObject(refusal);
    }
  });

  it('replaces a link that is written to, and removes one that is deleted, never what it points to', async () => {
    await client.write('secret-link', bytes('mine'), {}, NEVER);
    expect((await lstat(join(root, 'secret-link'))).isFile()).toBe(true);
    for (const path of ['file-link', 'in', 'out']) expect(await client.delete(path, NEVER)).toBe(true);
    expect(await readFile(join(server.root, 'outside', 'secret'), 'utf8')).toBe('secret');
    expect(await readFile(join(root, 'folder', 'file'), 'utf8')).toBe('content');
  });

  it('does not wait for a pipe, nor lists it', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    await expect(client.readBytes('pipe', undefined, NEVER)).rejects.toMatchObject({ code: 'not_found' });
    await expect(client.move?.('pipe', 'moved', NEVER)).rejects.toMatchObject({ code: 'not_found' });
    const { files } = await client.list('', { recursive: true, limit: 100 }, NEVER);
    expect(files.map(({ path }) => path)).toEqual(['folder/file']);
  });

  it('reads, writes and removes nothing outside the root, whatever gets past the path rule', async () => {
    await writeFile(join(dirname(root), 'secret'), 'secret');
    const tree = () =>
      execFileSync('find', [server.root, '-not', '-path', `${root}*`, '-printf', '%p %s %y\n']);
    const before = tree().toString();
    const attack = async (path: string) => {
      await expect(client.readBytes(path, undefined, NEVER), path).rejects.toBeInstanceOf(Error);
      await expect(client.stat(path, NEVER), path).rejects.toBeInstanceOf(Error);
      // Some spellings are plain names to a server; wherever they lead, it is not out of the root.
      await client.write(path, bytes('x'), {}, NEVER).catch(() => {});
      await client.delete(path, NEVER).catch(() => {});
      await client.list(path, { recursive: false, limit: 10 }, NEVER).catch(() => {});
    };
    const paths = ['../secret', '../../etc/passwd', ...ATTACKS].filter((each) => each.isWellFormed());
    for (let i = 0; i < paths.length; i += 50) await Promise.all(paths.slice(i, i + 50).map(attack));
    expect(tree().toString()).toBe(before);
  });

  it('keeps names of unfinished writes to itself', async () => {
    const name = temporaryName();
    await writeFile(join(root, 'folder', name), 'half');
    for (const path of [`folder/${name}`, `${name}/below`]) {
      for (const call of [
        client.readBytes(path, undefined, NEVER),
        client.write(path, bytes('x'), {}, NEVER),
        client.delete(path, NEVER),
        client.move?.('folder/file', path, NEVER),
        client.copy?.(path, 'copied', NEVER),
      ])
        await expect(call).rejects.toMatchObject(refusal);
    }
    const { files } = await client.list('folder', { recursive: false, limit: 100 }, NEVER);
    expect(files.map(({ name }) => name)).toEqual(['file']);
    expect(await readdir(join(root, 'folder'))).toContain(name);
    finished(name);
  });
});
