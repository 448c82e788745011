import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { addKey, dropKey, promoteKey } from './key-file-edits.ts';
import { makeKeyRing, readKeyRing } from './key-ring.ts';

let folder = '';
let file = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'key-file-'));
  file = join(folder, 'master.key');
});
afterEach(async () => rm(folder, { recursive: true }));

const ids = async () => (await readKeyRing({ env: {}, file }))?.ids;

it('adds a key behind the current one, makes it current, and drops the old one', async () => {
  const old = (await makeKeyRing(file)).ring.current.id;
  const added = await addKey(file);
  expect(await ids()).toEqual([old, added]);
  const third = await addKey(file);
  expect(await ids()).toEqual([old, third, added]);
  await promoteKey(file, added);
  expect(await ids()).toEqual([added, old, third]);
  await promoteKey(file, added);
  expect(await ids()).toEqual([added, old, third]);
  await dropKey(file, old);
  expect(await ids()).toEqual([added, third]);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder)).toEqual(['master.key']);
});

it('says above a key that it added which one it is, and leaves what people wrote', async () => {
  await makeKeyRing(file);
  const before = await readFile(file, 'utf8');
  await writeFile(file, `${before}# mine\n`);
  const added = await addKey(file);
  const text = await readFile(file, 'utf8');
  expect(text.startsWith(before)).toBe(true);
  expect(text).toMatch(new RegExp(`\n# ${added}\n[A-Za-z0-9+/]{43}=\n# mine\n$`));
  await dropKey(file, added);
  expect(await readFile(file, 'utf8')).toBe(`${before}# mine\n`);
});

it('refuses to drop the current key, and to touch one that is not there, and changes nothing', async () => {
  const current = (await makeKeyRing(file)).ring.current.id;
  await addKey(file);
  const before = await readFile(file, 'utf8');
  await expect(dropKey(file, current)).rejects.toThrow(`master key ${current} is the current one`);
  await expect(dropKey(file, '0'.repeat(16))).rejects.toThrow(/has no key 0{16}/);
  await expect(promoteKey(file, '0'.repeat(16))).rejects.toThrow(/has no key 0{16}/);
  expect(await readFile(file, 'utf8')).toBe(before);
  await rm(file);
  await expect(addKey(file)).rejects.toThrow(/there is no master key file/);
  expect(await readdir(folder)).toEqual([]);
});

it('stays whole, with the same current key, when several are added at once', async () => {
  const old = (await makeKeyRing(file)).ring.current.id;
  const added = await Promise.allSettled(Array.from({ length: 8 }, () => addKey(file)));
  expect(added.some(({ status }) => status === 'fulfilled')).toBe(true);
  expect((await ids())?.[0]).toBe(old);
  expect(await readdir(folder)).toEqual(['master.key']);
});
