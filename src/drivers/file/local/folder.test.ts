import { open, type FileHandle } from 'node:fs/promises';
import { expect, it, onTestFinished, vi } from 'vitest';
import { Folder } from './folder.ts';
import { temporaryFolder } from './local.fixture.ts';

async function openFolder(): Promise<{ readonly folder: Folder; readonly handle: FileHandle }> {
  const real = await temporaryFolder();
  const handle = await open(real);
  onTestFinished(() => handle.close());
  return { folder: new Folder('', real, handle, 'handles'), handle };
}

it('shares one sync among all that wait, and none that began before they came', async () => {
  const { folder, handle } = await openFolder();
  const gates: (() => void)[] = [];
  const sync = vi
    .spyOn(handle, 'sync')
    .mockImplementation(() => new Promise((resolve) => gates.push(resolve)));
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const done: string[] = [];
  const first = folder.sync().then(() => done.push('first'));
  await turn();
  const late = ['second', 'third'].map((name) => folder.sync().then(() => done.push(name)));
  await turn();
  expect(sync).toHaveBeenCalledTimes(1);
  gates[0]?.();
  await first;
  await turn();
  expect([done, sync.mock.calls.length]).toEqual([['first'], 2]);
  gates[1]?.();
  await Promise.all(late);
  expect(done).toEqual(['first', 'second', 'third']);
});

it('tells a failed sync to all that waited for it, and tries again for the next', async () => {
  const { folder, handle } = await openFolder();
  const sync = vi.spyOn(handle, 'sync').mockRejectedValueOnce(new Error('EIO'));
  const both = await Promise.allSettled([folder.sync(), folder.sync()]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await folder.sync();
  expect(sync).toHaveBeenCalledTimes(2);
});

it('names nothing but its own entries', async () => {
  const { folder } = await openFolder();
  for (const name of ['.', '..', 'a/b', '/', '../a', 'a\0']) expect(() => folder.at(name)).toThrow(TypeError);
});
