import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { localSource } from './function-source.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sources-'));
  onTestFinished(() => rm(folder, { recursive: true }));
});

async function put(path: string, content: string | Uint8Array = 'export {};'): Promise<string> {
  const file = join(folder, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
  return file;
}

const filesOf = async () => {
  const { source } = await localSource(folder);
  return 'files' in source ? source.files : undefined;
};

describe('a file', () => {
  it('is a function of its own name, without the ending', async () => {
    const file = await put('greet.v2.ts', '\ufeffexport const handler = () => "ü";');
    expect(await localSource(file)).toEqual({
      name: 'greet.v2',
      source: { code: 'export const handler = () => "ü";', filename: 'greet.v2.ts' },
    });
  });

  it('may be named by a link', async () => {
    await put('greet.ts', 'x');
    await symlink('greet.ts', join(folder, 'link.ts'));
    expect(await localSource(join(folder, 'link.ts'))).toMatchObject({ name: 'link', source: { code: 'x' } });
  });

  it('of more than 5 MB is refused before it is read', async () => {
    const file = await put('big.ts');
    await truncate(file, 2 ** 40);
    await expect(localSource(file)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${file} has more than 5 MB, which is the most that a function has`,
    });
  });

  it('that is no text is refused by its name', async () => {
    const file = await put('image.ts', Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0xff));
    await expect(localSource(file)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${file} is not text in UTF-8`,
    });
  });
});

describe('a folder', () => {
  it('is a function of its own name with every source below it', async () => {
    await put('index.ts', 'a');
    await put('lib/deep/b.json', '{}');
    await put('node_modules/left-pad/index.js', 'c');
    const found = await localSource(`${folder}/`);
    expect(found).toEqual({
      name: basename(folder),
      source: { files: { 'index.ts': 'a', 'lib/deep/b.json': '{}', 'node_modules/left-pad/index.js': 'c' } },
    });
  });

  it('has its name also where it is the current one', async () => {
    const here = process.cwd();
    expect((await localSource('src/cli/commands/..')).name).toBe('cli');
    expect((await localSource(join(here, 'src/cli/'))).name).toBe('cli');
  });

  it('leaves out what is no source, and whatever is hidden', async () => {
    await put('index.ts', 'a');
    await put('logo.png', Uint8Array.of(0xff));
    await put('.env.json', '{"KEY":"secret"}');
    await put('.vscode/settings.json', '{}');
    await put('lib/.cache/x.ts');
    await put('.git/hooks/pre-commit.js');
    await put('node_modules/.package-lock.json', '{}');
    await put('Makefile');
    expect(await filesOf()).toEqual({ 'index.ts': 'a' });
  });

  it('is read without following a link, wherever that leads', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'outside-'));
    onTestFinished(() => rm(outside, { recursive: true }));
    await writeFile(join(outside, 'secret.ts'), 'secret');
    await put('index.ts', 'a');
    await symlink(join(outside, 'secret.ts'), join(folder, 'stolen.ts'));
    await symlink(outside, join(folder, 'all'));
    await symlink('.', join(folder, 'again'));
    await symlink('nowhere.ts', join(folder, 'broken.ts'));
    expect(await filesOf()).toEqual({ 'index.ts': 'a' });
  });

  it('is read without waiting for a pipe', async () => {
    await put('index.ts', 'a');
    execFileSync('mkfifo', [join(folder, 'pipe.ts')]);
    expect(await filesOf()).toEqual({ 'index.ts': 'a' });
    await expect(localSource(join(folder, 'pipe.ts'))).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/pipe\.ts is neither a file nor a folder$/),
    });
  });

  it.each([
    ['1001 files', async () => Promise.all(Array.from({ length: 1_001 }, (_, i) => put(`f${i}.ts`)))],
    [
      'two of 3 MB each',
      async () => Promise.all([put('a.ts', 'x'.repeat(3e6)), put('b.ts', 'x'.repeat(3e6))]),
    ],
    ['one of a terabyte', async () => truncate(await put('a.json'), 2 ** 40)],
  ])('of %s is refused, and told how to be made one file', async (_what, fill) => {
    await fill();
    await expect(localSource(folder)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${folder} has more than 1000 source files or 5 MB; bundle it into one file first, for example: npx esbuild ${folder}/index.ts --bundle --format=esm --platform=node`,
    });
  });

  it('may have 1000 files', async () => {
    await Promise.all(Array.from({ length: 1_000 }, (_, i) => put(`f${i}.ts`)));
    expect(Object.keys((await filesOf()) ?? {})).toHaveLength(1_000);
  });

  it('with a source that is no text is refused by the name of that', async () => {
    await put('index.ts', 'a');
    const file = await put('data.txt', Uint8Array.of(0xc3, 0x28));
    await expect(localSource(folder)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${file} is not text in UTF-8`,
    });
  });

  it.each([
    ['is empty', async () => {}],
    ['holds no source', async () => put('logo.png')],
    ['holds hidden sources alone', async () => put('.index.ts')],
  ])('that %s is refused with what a source is', async (_what, fill) => {
    await fill();
    await expect(localSource(folder)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `${folder} holds no source file: .ts .mts .cts .tsx .js .mjs .cjs .jsx .json .txt .md`,
    });
  });
});

it('names what is not there', async () => {
  const nothing = join(folder, 'nothing');
  await expect(localSource(nothing)).rejects.toMatchObject({
    code: 'not_found',
    message: expect.stringContaining(nothing),
  });
});
