import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { resolveReference } from './references.ts';

let folder = '';
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'references-'))));
afterEach(async () => rm(folder, { recursive: true }));

async function file(content: string | Uint8Array): Promise<string> {
  const path = join(folder, 'secret');
  await writeFile(path, content);
  return path;
}

it('reads the variable that it names', async () => {
  expect(await resolveReference({ from_env: 'KEY' }, { env: { KEY: ' s3cret ' } })).toBe(' s3cret ');
});

it.each(['MISSING', 'EMPTY', 'constructor', '__proto__', 'toString'])(
  'refuses the variable %s',
  async (name) => {
    await expect(resolveReference({ from_env: name }, { env: { EMPTY: '' } })).rejects.toMatchObject({
      code: 'invalid_state',
      message: `the environment variable ${name} is not set`,
    });
  },
);

it.each([
  ['s3cret', 's3cret'],
  ['s3cret\n', 's3cret'],
  ['s3cret\r\n', 's3cret'],
  ['s3cret\n\n', 's3cret\n'],
  ['two\nlines\n', 'two\nlines'],
  ['x'.repeat(65_536), 'x'.repeat(65_536)],
])('reads a file but for one line end', async (content, expected) => {
  expect(await resolveReference({ from_file: await file(content) }, { env: {} })).toBe(expected);
});

it.each([
  ['an empty file', '', 'is empty'],
  ['a file of one line end', '\n', 'is empty'],
  ['a file over the limit', 'canary'.repeat(20_000), 'is over 65536 bytes'],
  ['a file that is not text', Buffer.from('canary\xff', 'latin1'), 'is not UTF-8 text'],
])('refuses %s', async (_, content, why) => {
  const path = await file(content);
  const error: unknown = await resolveReference({ from_file: path }, { env: {} }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: 'invalid_state', message: `the file ${path} ${why}` });
  expect(inspect(error)).not.toContain('canary');
});

it('names a file that is not there', async () => {
  const path = join(folder, 'none');
  await expect(resolveReference({ from_file: path }, { env: {} })).rejects.toMatchObject({
    code: 'invalid_state',
    message: `the file ${path} cannot be read (ENOENT)`,
  });
});

it.runIf(process.platform !== 'win32')('refuses folders, devices and pipes, and waits for none', async () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const path of [folder, '/dev/zero', pipe]) {
    await expect(resolveReference({ from_file: path }, { env: {} })).rejects.toMatchObject({
      code: 'invalid_state',
      message: `the file ${path} cannot be read (not a regular file)`,
    });
  }
});
