import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { keyRing, makeKeyRing, readKeyRing } from './key-ring.ts';

const KEY = Buffer.alloc(32, 0xfb);
const OTHER = Buffer.alloc(32, 7);

let folder = '';
let file = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'key-ring-'));
  file = join(folder, 'master.key');
});
afterEach(async () => rm(folder, { recursive: true }));

const openKeyRing = async ({ env, file: at }: { env: Record<string, string>; file: string }) =>
  (await readKeyRing({ env, file: at })) ?? (await makeKeyRing(at)).ring;
const fromEnv = (value: string) => openKeyRing({ env: { CONNECTORS_MASTER_KEY: value }, file });
const fromFile = () => openKeyRing({ env: {}, file });

it('reads one key in each of its spellings', async () => {
  const spellings = [
    KEY.toString('hex'),
    KEY.toString('hex').toUpperCase(),
    KEY.toString('base64'),
    KEY.toString('base64url'),
    ` ${KEY.toString('base64')}\n`,
  ];
  const rings = await Promise.all(spellings.map(fromEnv));
  expect(new Set(rings.map((ring) => ring.current.id)).size).toBe(1);
  expect(rings[0]?.current.id).toMatch(/^[0-9a-f]{16}$/);
});

it('takes the first of several keys as the current one and keeps the others', async () => {
  const ring = await fromEnv(`${KEY.toString('hex')},${OTHER.toString('hex')}`);
  expect(ring.current.id).toBe((await fromEnv(KEY.toString('hex'))).current.id);
  expect(ring.ids.length).toBe(2);
  expect(ring.get(ring.ids[1] ?? '').id).toBe((await fromEnv(OTHER.toString('hex'))).current.id);
});

it('makes no file where the environment has a key', async () => {
  await fromEnv(KEY.toString('hex'));
  expect(await readdir(folder)).toEqual([]);
});

it.each([
  ['empty', ''],
  ['short', KEY.toString('hex').slice(2)],
  ['long', `${KEY.toString('hex')}00`],
  ['31 bytes of base64', KEY.subarray(1).toString('base64')],
  ['a passphrase', 'correct horse battery staple, and more'],
  ['43 characters that are not base64', '!'.repeat(43)],
  [
    '32 bytes among stray characters',
    `${KEY.toString('base64').slice(0, 20)}!!${KEY.toString('base64').slice(20)}`,
  ],
  ['a comma too many', `${KEY.toString('hex')},`],
])('refuses a key that is %s, without printing it', async (_, value) => {
  const error: unknown = await fromEnv(value).catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    code: 'invalid_state',
    message: expect.stringMatching(/^key \d of CONNECTORS_MASTER_KEY is not 32 bytes as base64 or hex$/),
  });
});

it('makes a file that only its owner may read, and finds the same key in it again', async () => {
  const first = await fromFile();
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await fromFile()).current.id).toBe(first.current.id);
  expect(await readdir(folder)).toEqual(['master.key']);
});

it('makes the folder of the file', async () => {
  const ring = await openKeyRing({ env: {}, file: join(folder, 'a', 'b', 'master.key') });
  expect(ring.ids.length).toBe(1);
});

it('agrees on one key when many start at once', async () => {
  const rings = await Promise.all(Array.from({ length: 20 }, fromFile));
  expect(new Set(rings.map((ring) => ring.current.id)).size).toBe(1);
  expect(await readdir(folder)).toEqual(['master.key']);
});

it('reads a rotated file, with comments, blank lines and the line ends of Windows', async () => {
  await writeFile(
    file,
    `# keys\r\n${OTHER.toString('base64')}\r\n\r\n# the old one\r\n${KEY.toString('hex')}\r\n`,
    {
      mode: 0o600,
    },
  );
  const ring = await fromFile();
  expect(ring.current.id).toBe(keyRing([OTHER.toString('hex')], 'the test').current.id);
  expect(ring.ids.length).toBe(2);
});

it.each([0o640, 0o604, 0o666, 0o620])(
  'refuses a file of mode %o with the command that mends it',
  async (mode) => {
    await fromFile();
    await chmod(file, mode);
    await expect(fromFile()).rejects.toMatchObject({
      code: 'invalid_state',
      message: `the master key file ${file} is open to other users; run: chmod 600 ${file}`,
    });
  },
);

it('judges the file that a link points to', async () => {
  const target = join(folder, 'target');
  await writeFile(target, KEY.toString('hex'), { mode: 0o644 });
  await symlink(target, file);
  await expect(fromFile()).rejects.toMatchObject({ code: 'invalid_state' });
  await chmod(target, 0o400);
  expect((await fromFile()).ids.length).toBe(1);
});

it('refuses an empty file, a damaged one and a huge one, and leaves each as it is', async () => {
  for (const text of ['', '# nothing\n', 'canary', `${KEY.toString('hex')}\ncanary`, '#'.repeat(70_000)]) {
    await writeFile(file, text, { mode: 0o600 });
    const error: unknown = await fromFile().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'invalid_state' });
    expect(inspect(error)).not.toContain('canary');
    expect(await readFile(file, 'utf8')).toBe(text);
  }
});

it('refuses a folder in the place of the file', async () => {
  await expect(openKeyRing({ env: {}, file: folder })).rejects.toMatchObject({ code: 'invalid_state' });
});

it('shows no key when a ring is printed', async () => {
  const ring = await fromEnv(KEY.toString('hex'));
  const shown = `${inspect(ring, { depth: 9, showHidden: true })}${JSON.stringify(ring)}${JSON.stringify(ring.current)}`;
  expect(shown).not.toContain(KEY.toString('hex'));
  expect(shown).not.toContain('fb fb');
  expect(shown).not.toContain(KEY.toString('base64'));
});
