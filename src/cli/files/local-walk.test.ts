import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { localWalk } from './local-walk.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-walk-'));
  for (const name of ['a', 'b']) {
    await mkdir(join(folder, 'root', name), { recursive: true });
    await writeFile(join(folder, 'root', name, '1'), name);
  }
});
afterEach(() => rm(folder, { recursive: true }));

it('passes over a folder that has gone meanwhile', async () => {
  const walk = localWalk(join(folder, 'root'));
  expect((await walk.next()).value).toMatchObject({ path: 'a/1' });
  await rm(join(folder, 'root', 'b'), { recursive: true });
  expect(await walk.next()).toEqual({ done: true, value: undefined });
});

it.each([
  ['gone', async () => {}],
  ['another one, as where a disk was taken out', () => mkdir(join(folder, 'root'))],
])('does not end as if that were all once the root is %s', async (_, replace) => {
  const walk = localWalk(join(folder, 'root'));
  expect((await walk.next()).value).toMatchObject({ path: 'a/1' });
  await rename(join(folder, 'root'), join(folder, 'elsewhere'));
  await replace();
  await expect(walk.next()).rejects.toMatchObject({ code: 'not_found' });
});
