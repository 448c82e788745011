import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import { openJob, stateFolder } from './jobs.ts';
import { readSettings } from './settings.ts';

let folder: string;
const told: string[] = [];
const stderr = new Writable({
  write(chunk: Buffer, _encoding, done) {
    told.push(chunk.toString('utf8'));
    done();
  },
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-jobs-'));
  told.length = 0;
});
afterEach(() => rm(folder, { recursive: true }));

const schema = z.strictObject({ line: z.int() });
const open = (name: string, at = join(folder, 'state')) =>
  openJob({ stderr }, at, { names: ['import', name], schema });

it('finds what an earlier run of the same job left, and nothing once it has ended', async () => {
  const job = await open('a');
  expect(job.left).toBeUndefined();
  await job.save({ line: 1 });
  await job.save({ line: 7 });
  expect((await open('a')).left).toEqual({ line: 7 });
  expect((await open('b')).left).toBeUndefined();
  await job.end();
  await job.end();
  expect((await open('a')).left).toBeUndefined();
  expect(await readdir(join(folder, 'state'))).toEqual([]);
});

it('keeps its files to the user, each whole under its name', async () => {
  await (await open('a')).save({ line: 1 });
  const state = join(folder, 'state');
  const [name = '', ...others] = await readdir(state);
  expect([name, others]).toEqual([expect.stringMatching(/^import-[0-9a-f]{32}\.json$/), []]);
  expect((await stat(state)).mode & 0o777).toBe(0o700);
  expect((await stat(join(state, name))).mode & 0o777).toBe(0o600);
  expect(await readFile(join(state, name), 'utf8')).toBe('{"line":1}');
});

it.each(['', '{"line":', '{"line":"1"}', '{"line":1,"more":2}'])('takes %j as nothing', async (content) => {
  await (await open('a')).save({ line: 1 });
  const [name = ''] = await readdir(join(folder, 'state'));
  await writeFile(join(folder, 'state', name), content);
  expect((await open('a')).left).toBeUndefined();
});

it('says once that it cannot be kept, and lets the work go on', async () => {
  await writeFile(join(folder, 'file'), '');
  const job = await open('a', join(folder, 'file', 'below'));
  await job.save({ line: 1 });
  await job.save({ line: 2 });
  expect(told).toEqual([
    expect.stringMatching(/cannot be written, so an interruption begins anew: ENOTDIR\n$/),
  ]);
});

it('lies in the folder that the environment names', () => {
  expect(stateFolder(readSettings({ CONNECTORS_STATE_DIR: '/s', XDG_STATE_HOME: '/x' }))).toBe('/s');
  expect(stateFolder(readSettings({ XDG_STATE_HOME: '/x' }))).toBe('/x/connectors');
  expect(stateFolder(readSettings({}))).toMatch(/\/\.local\/state\/connectors$/);
});
