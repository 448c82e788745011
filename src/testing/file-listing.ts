import { expect, it } from 'vitest';
import { fileConnector, text, type FileSuite } from './file-suite.ts';

/** In order of their UTF-8 bytes, which is neither the order of the strings nor that of a walk. */
const ORDERED = ['a!b', 'a-b', 'a.txt', 'a/b.txt', 'a/b/c', 'a/b0', 'a0', 'z/y/x', 'é', '\uff5e', '😀'];
const TOP = ['a!b', 'a-b', 'a.txt', 'a/', 'a0', 'z/', 'é', '\uff5e', '😀'];

/** Cases about pages and their order. */
export function testListing({ files, folder }: FileSuite): void {
  const fill = async (at: string, names: readonly string[]) => {
    for (const name of names) await files().writeFile(`${at}/${name}`, name);
  };
  const pages = async (path: string, options: { limit: number; recursive: boolean }) => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await files().listFiles(path, { ...options, cursor });
      expect(page.files.length).toBeLessThanOrEqual(options.limit);
      seen.push(...page.files.map((file) => (file.isDirectory ? `${file.path}/` : file.path)));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return seen;
  };

  it('lists a tree in order of the UTF-8 bytes of the full paths, in pages of any size', async () => {
    const at = folder();
    await fill(at, ORDERED);
    for (const limit of [1, 2, 3, ORDERED.length, 1000]) {
      expect(await pages(at, { recursive: true, limit })).toEqual(ORDERED.map((name) => `${at}/${name}`));
      expect(await pages(at, { recursive: false, limit })).toEqual(TOP.map((name) => `${at}/${name}`));
    }
  });

  it('describes files and folders', async () => {
    const at = folder();
    await fill(at, ['file', 'sub/below']);
    const page = await files().listFiles(`/${at}/`);
    expect(page).toEqual({
      files: [
        expect.objectContaining({ name: 'file', path: `${at}/file`, size: 4, isDirectory: false }),
        expect.objectContaining({ name: 'sub', path: `${at}/sub`, size: 0, isDirectory: true }),
      ],
    });
    expect(await files().statFile(`${at}/file`)).toMatchObject({ ...page.files[0] });
    expect(page.files[0]?.lastModified).toBeInstanceOf(Date);
  });

  it('goes on after the cursor whatever has changed', async () => {
    const at = folder();
    await fill(at, ['b', 'd', 'f', 'h/i']);
    for (const recursive of [false, true]) {
      const first = await files().listFiles(at, { recursive, limit: 2 });
      expect(first.files.map(({ name }) => name)).toEqual(['b', 'd']);
      await files().deleteFile(`${at}/d`);
      await fill(at, ['a', 'c', 'e']);
      const rest = await files().listFiles(at, { recursive, cursor: first.nextCursor });
      expect(rest.files.map(({ name }) => name)).toEqual(['e', 'f', recursive ? 'i' : 'h']);
      for (const name of ['a', 'c', 'e']) await files().deleteFile(`${at}/${name}`);
      await fill(at, ['d']);
    }
  });

  it('lists the root, and nothing in a folder that does not exist or is a file', async () => {
    const at = folder();
    await fill(at, ['file']);
    const top = await files().listFiles();
    expect(top.files).toContainEqual(expect.objectContaining({ path: at, isDirectory: true }));
    expect(await files().listFiles(`${at}/none`)).toEqual({ files: [] });
    expect(await files().listFiles(`${at}/file`, { recursive: true })).toEqual({ files: [] });
  });

  it('refuses a cursor that no page answered', async () => {
    const refusal = { code: 'invalid_argument', issues: [{ path: 'cursor' }] };
    await expect(files().listFiles('/', { cursor: '%%%' })).rejects.toMatchObject(refusal);
  });
}

const ODD_NAMES = [
  ' leading',
  'trailing ',
  ' ',
  'a b',
  '#',
  '?',
  '%',
  '100%.txt',
  'a%20b',
  '+',
  '&',
  '=',
  "'",
  '"',
  '`',
  '$HOME',
  '*',
  '[x]',
  '{y}',
  '~',
  '-rf',
  ';',
  ':',
  ',',
  '|',
  '<>',
  '...',
  '.hidden',
  'a..b',
  'end.',
  'CON',
  '__proto__',
  'constructor',
  'caf\u00e9',
  'cafe\u0301',
  '\u65e5\u672c',
  '\u{1f600}',
  '\u200b',
  '\uff11\uff0f\uff12',
];

/** Cases about names that backends like to bend, and the base path. */
export function testNames({ capabilities, files, folder, client }: FileSuite): void {
  it('gives odd names back as they were', async () => {
    const at = folder();
    for (const name of ODD_NAMES) await files().writeFile(`${at}/${name}`, name);
    for (const name of ODD_NAMES) expect(text(await files().readFile(`${at}/${name}`))).toBe(name);
    const { files: listed } = await files().listFiles(at);
    const byBytes = [...ODD_NAMES].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(listed.map(({ name }) => name)).toEqual(byBytes);
    for (const name of ODD_NAMES) {
      expect(await files().deleteFile(`${at}/${name}`)).toEqual({ deleted: true });
    }
  });

  it('keeps a path of 1,024 bytes and refuses one more', async () => {
    const at = folder();
    const length = Math.min(1024, capabilities.limits.pathBytes);
    const name = Array.from({ length: 5 }, () => 'n'.repeat(160)).join('/');
    const path = `${at}/${name}/`.padEnd(length, 'e');
    await files().writeFile(path, 'far');
    expect(text(await files().readFile(path))).toBe('far');
    const { files: listed } = await files().listFiles(at, { recursive: true });
    expect(listed.map((file) => file.path)).toEqual([path]);
    await expect(files().writeFile(`${path}e`, 'x')).rejects.toMatchObject({ issues: [{ path: 'path' }] });
  });

  it('sees only what is below the base path, and answers without it', async () => {
    const at = folder();
    const inside = fileConnector({ client: client(), capabilities, basePath: `${at}/base` });
    await files().writeFile(`${at}/beside`, 'x');
    const written = await inside.writeFile('sub/file', 'below');
    expect(written.path).toBe('sub/file');
    expect(text(await files().readFile(`${at}/base/sub/file`))).toBe('below');
    expect((await inside.listFiles('/', { recursive: true })).files.map(({ path }) => path)).toEqual([
      'sub/file',
    ]);
    expect((await inside.listFiles('sub')).files.map(({ path }) => path)).toEqual(['sub/file']);
    expect((await inside.statFile('/sub/file')).path).toBe('sub/file');
  });
}
