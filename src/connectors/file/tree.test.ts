import { describe, expect, it } from 'vitest';
import { cursorAfter, treePage, type FolderReader } from './tree.ts';

/** Names by folder; each folder that is opened is noted. */
function reader(tree: Readonly<Record<string, readonly string[]>>) {
  const opened: string[] = [];
  const read: FolderReader<string> = async function* (folder, after) {
    opened.push(folder);
    for (const name of tree[folder] ?? []) if (name > after) yield [name, name];
  };
  return { opened, read };
}
const page = { recursive: true, limit: 10 };

describe('a page of a tree', () => {
  it('refuses a cursor that names a way out of the folder, and opens nothing', async () => {
    for (const path of [
      '../secret',
      'a/../../secret',
      './x',
      'a//b',
      '/etc',
      'a/./b',
      '..',
      '../',
      'a/\0/b',
    ]) {
      const { opened, read } = reader({ base: ['a/'], 'base/a': ['b'] });
      await expect(
        treePage(read, 'base', { ...page, cursor: cursorAfter(path) }),
        path,
      ).rejects.toMatchObject({ code: 'invalid_argument', issues: [{ path: 'cursor' }] });
      expect(opened).toEqual([]);
    }
  });

  it('opens no folder with a name that some server reads as another path', async () => {
    for (const name of [String.raw`..\..`, '%2e%2e', '..;x']) {
      const { opened, read } = reader({ base: [`${name}/`, 'z'], [`base/${name}`]: ['secret'] });
      const { entries } = await treePage(read, 'base', page);
      expect(entries.map(([key]) => key)).toEqual(['z']);
      await treePage(read, 'base', { ...page, cursor: cursorAfter(`${name}/a`) });
      expect(opened).toEqual(['base', 'base']);
    }
  });

  it('goes on after a name that no path can have', async () => {
    const { read } = reader({ '': [String.raw`a\b`, 'b', 'c/'], c: ['d', String.raw`e\f`, 'g'] });
    const all: string[] = [];
    for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
      const { entries, nextCursor } = await treePage(read, '', { ...page, limit: 1, cursor });
      all.push(...entries.map(([key]) => key));
      cursor = nextCursor;
    }
    expect(all).toEqual([String.raw`a\b`, 'b', 'c/d', String.raw`c/e\f`, 'c/g']);
  });
});
