import { execFileSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceWhole } from './local-file.ts';

let folder: string;
let at: (name: string) => string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-local-'));
  at = (name) => join(folder, name);
});
afterEach(() => rm(folder, { recursive: true }));

async function* saying(content: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(content);
}
const { signal } = new AbortController();

describe('replaceWhole', () => {
  it('keeps the mode of the file that it replaces: what was private stays so', async () => {
    await writeFile(at('.env'), 'old');
    await chmod(at('.env'), 0o600);
    await replaceWhole(at('.env'), saying('new'), signal);
    expect((await lstat(at('.env'))).mode & 0o777).toBe(0o600);
    expect(await readFile(at('.env'), 'utf8')).toBe('new');
  });

  it('replaces what a link leads to, and not the link', async () => {
    await mkdir(at('there'));
    await writeFile(at('there/file'), 'old');
    await symlink('there/file', at('link'));
    await replaceWhole(at('link'), saying('new'), signal);
    expect((await lstat(at('link'))).isSymbolicLink()).toBe(true);
    expect(await readFile(at('there/file'), 'utf8')).toBe('new');
    expect(await readdir(at('there'))).toEqual(['file']);
  });

  it('replaces the link itself where links are not followed', async () => {
    await writeFile(at('file'), 'old');
    await symlink('file', at('link'));
    await replaceWhole(at('link'), saying('new'), signal, { followLinks: false });
    expect([await readFile(at('file'), 'utf8'), await readFile(at('link'), 'utf8')]).toEqual(['old', 'new']);
  });

  it('replaces a link that leads nowhere', async () => {
    await symlink('nowhere', at('link'));
    await replaceWhole(at('link'), saying('new'), signal);
    expect(await readFile(at('link'), 'utf8')).toBe('new');
  });

  it('writes into a pipe or a device, such as /dev/null, and leaves it in its place', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    const read = text(createReadStream(at('pipe')));
    await replaceWhole(at('pipe'), saying('through'), signal);
    expect((await lstat(at('pipe'))).isFIFO()).toBe(true);
    expect(await read).toBe('through');
  });

  it('says that a folder has the name', async () => {
    await mkdir(at('folder'));
    for (const name of [at('folder'), `${at('folder')}/.`])
      await expect(replaceWhole(name, saying('x'), signal)).rejects.toMatchObject({
        ...{ code: 'already_exists', message: `${name}: a folder has that name` },
      });
    expect(await readdir(folder)).toEqual(['folder']);
  });

  it('leaves what is there where nothing may be replaced, whatever it is', async () => {
    await symlink('nowhere', at('link'));
    await writeFile(at('file'), 'old');
    for (const name of [at('link'), at('file')])
      await expect(replaceWhole(name, saying('x'), signal, { overwrite: false })).rejects.toMatchObject({
        ...{ code: 'already_exists' },
      });
    expect(await readFile(at('file'), 'utf8')).toBe('old');
    expect((await readdir(folder)).sort()).toEqual(['file', 'link']);
  });
});
