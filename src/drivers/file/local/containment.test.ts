import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ATTACKS } from '../../../testing/file-attacks.ts';
import type { FileClient } from '../../../driver.ts';
import { fileConnector } from '../../../testing/file-suite.ts';
import driver from './index.ts';
import { clientOver, readText, signal, temporaryFolder, treeOf } from './local.fixture.ts';

const CANARY = 'nobody may read this';

/** A root with files, and beside it the secrets that must stay as they are. */
async function rootWithNeighbours(): Promise<{ readonly root: string; readonly outside: string }> {
  const outside = await temporaryFolder();
  const root = join(outside, 'root');
  await mkdir(join(root, 'a'), { recursive: true });
  await mkdir(join(outside, 'b'));
  for (const name of ['secret', 'b/secret', 'b.txt']) await writeFile(join(outside, name), CANARY);
  await writeFile(join(root, 'a', 'inside'), 'inside');
  return { root, outside };
}

/** Everything that a client can be asked for, as text; a refusal is its message. */
async function everythingOf(client: FileClient, path: string): Promise<string> {
  const answers = await Promise.all(
    [
      client.readBytes(path, undefined, signal).then((bytes) => Buffer.from(bytes).toString()),
      client.readStream(path, undefined, signal).then(async ({ info, body }) => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of body) chunks.push(chunk);
        return JSON.stringify(info) + Buffer.concat(chunks).toString();
      }),
      client.stat(path, signal).then((info) => JSON.stringify(info)),
      client.list(path, { recursive: true, limit: 1000 }, signal).then((page) => JSON.stringify(page)),
      client.list(path, { recursive: false, limit: 1000 }, signal).then((page) => JSON.stringify(page)),
    ].map((answer) => answer.catch((error: Error) => error.message)),
  );
  await client.copy?.(path, 'a/stolen', signal).catch(() => {});
  await client.write(path, Buffer.from('planted'), {}, signal).catch(() => {});
  await client.write(path, Buffer.from('planted'), { ifNoneMatch: '*' }, signal).catch(() => {});
  await client.move?.('a/inside', path, signal).catch(() => {});
  await client.move?.(path, 'a/stolen', signal).catch(() => {});
  await client.delete(path, signal).catch(() => {});
  return answers.join('\n');
}

describe.each(['handles', 'paths'] as const)('a local client confined by %s', (confinement) => {
  it('lets none of the hostile spellings out, also past the path rule', async () => {
    const { root, outside } = await rootWithNeighbours();
    const client = await clientOver(root, confinement);
    const around = async () => (await treeOf(outside)).filter((name) => !name.startsWith('root'));
    const before = await around();
    for (const path of ATTACKS) {
      const seen = await everythingOf(client, path);
      expect(seen, path).not.toContain(CANARY);
      expect(seen, path).not.toContain('"secret"');
    }
    expect(await around()).toEqual(before);
    for (const name of ['secret', 'b/secret', 'b.txt']) {
      expect(await readFile(join(outside, name), 'utf8')).toBe(CANARY);
    }
  }, 60_000);

  it('refuses every one of them before any I/O when asked through a connector', async () => {
    const { root } = await rootWithNeighbours();
    const client = await clientOver(root, confinement);
    const files = fileConnector({ client, capabilities: driver.capabilities });
    const before = await treeOf(root);
    for (const path of ATTACKS) {
      await expect(files.readFile(path)).rejects.toMatchObject({ code: 'invalid_argument' });
      await expect(files.writeFile(path, 'x')).rejects.toMatchObject({ code: 'invalid_argument' });
    }
    expect(await treeOf(root)).toEqual(before);
  });

  it('follows no link, wherever it leads, and lists none', async () => {
    const { root, outside } = await rootWithNeighbours();
    const client = await clientOver(root, confinement);
    await symlink(join(outside, 'secret'), join(root, 'file-out'));
    await symlink(outside, join(root, 'folder-out'));
    await symlink('..', join(root, 'a', 'up'));
    await symlink('a', join(root, 'folder-in'));
    await symlink('a/inside', join(root, 'file-in'));
    await symlink('nowhere', join(root, 'dangling'));
    await symlink('/proc/self/root', join(root, 'magic'));
    const refused = { code: 'invalid_argument', issues: [{ path: 'path' }] };
    for (const path of [
      'file-out',
      'folder-out/secret',
      'folder-out/none',
      'a/up/secret',
      'folder-in/inside',
      'file-in',
      'dangling',
    ]) {
      await expect(client.readBytes(path, undefined, signal)).rejects.toMatchObject(refused);
      await expect(client.readStream(path, undefined, signal)).rejects.toMatchObject(refused);
      await expect(client.stat(path, signal)).rejects.toMatchObject(refused);
    }
    for (const path of ['folder-out', 'a/up', 'folder-in', 'magic/etc']) {
      await expect(client.list(path, { recursive: true, limit: 10 }, signal)).rejects.toMatchObject(refused);
      for (const planted of ['planted', 'new/planted']) {
        const write = client.write(`${path}/${planted}`, Buffer.from('x'), {}, signal);
        await expect(write).rejects.toMatchObject(refused);
      }
      await expect(client.delete(`${path}/secret`, signal)).rejects.toMatchObject(refused);
    }
    expect((await treeOf(outside)).filter((name) => /new|planted/.test(name))).toEqual([]);
    for (const recursive of [true, false]) {
      const { files } = await client.list('', { recursive, limit: 100 }, signal);
      expect(files.map(({ path }) => path)).toEqual([recursive ? 'a/inside' : 'a']);
    }
  });

  it('replaces and removes a link itself, never what it points to', async () => {
    const { root, outside } = await rootWithNeighbours();
    const client = await clientOver(root, confinement);
    await symlink(join(outside, 'secret'), join(root, 'replaced'));
    await symlink(join(outside, 'secret'), join(root, 'removed'));
    await client.write('replaced', Buffer.from('mine'), {}, signal);
    expect(await client.delete('removed', signal)).toBe(true);
    expect(await readText(client, 'replaced')).toBe('mine');
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe(CANARY);
  });

  it('turns away pipes and devices at once, and lists none', async () => {
    const { root } = await rootWithNeighbours();
    const client = await clientOver(root, confinement);
    execFileSync('mkfifo', [join(root, 'pipe')]);
    await expect(client.readBytes('pipe', undefined, signal)).rejects.toMatchObject({ code: 'not_found' });
    await expect(client.readStream('pipe', undefined, signal)).rejects.toMatchObject({ code: 'not_found' });
    await expect(client.list('pipe', { recursive: true, limit: 10 }, signal)).resolves.toEqual({ files: [] });
    const { files } = await client.list('', { recursive: false, limit: 100 }, signal);
    expect(files.map(({ name }) => name)).toEqual(['a']);
  });
});

it('is not led out by a folder that is swapped for a link while it is used', async () => {
  const { root, outside } = await rootWithNeighbours();
  const client = await clientOver(root);
  await mkdir(join(root, 'swapped'));
  await writeFile(join(root, 'swapped', 'secret'), 'inside');
  await symlink(outside, join(root, 'link'));
  const swapping = spawn(process.execPath, ['-e', SWAP, root], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(swapping, 'close');
  await once(swapping.stdout, 'data');
  const outcomes = new Set<string>();
  const wanted = ['inside', 'invalid_argument'];
  for (let i = 0; i < 2000 || !wanted.every((outcome) => outcomes.has(outcome)); i++) {
    const calls = [readText(client, 'swapped/secret')];
    if (i % 20 === 0) {
      calls.push(client.write('swapped/planted', Buffer.from('x'), {}, signal).then(() => 'written'));
    }
    for (const outcome of await Promise.allSettled(calls)) {
      outcomes.add(outcome.status === 'fulfilled' ? outcome.value : outcome.reason.code);
    }
  }
  swapping.kill('SIGKILL');
  await closed;
  expect(outcomes).not.toContain(CANARY);
  const around = (await treeOf(outside)).filter((name) => !name.startsWith('root'));
  expect(around).toEqual(['b', 'b.txt', 'b/secret', 'secret']);
}, 60_000);

/**
 * Puts a link in the folder's place and the folder back, for a minute at most: a test run that is killed must not leave
 * it behind. A write that comes while neither is there makes a
 * folder of its own, which is in the way and goes.
 */
const SWAP = `
  const { renameSync, rmSync } = require('node:fs');
  process.chdir(process.argv[1]);
  console.log('swapping');
  const end = Date.now() + 60_000;
  const move = (from, to) => {
    while (Date.now() < end) {
      try { return renameSync(from, to); } catch {}
      try { rmSync('swapped', { recursive: true, force: true }); } catch {}
    }
  };
  while (Date.now() < end) {
    move('swapped', 'kept'); move('link', 'swapped');
    move('swapped', 'link'); move('kept', 'swapped');
  }
`;
