import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { openDataDir, tenantFolderName } from './data-dir.ts';

const folder = mkdtempSync(join(tmpdir(), 'data-dir-'));
afterAll(() => rmSync(folder, { recursive: true }));
let made = 0;
const fresh = () => join(folder, `data-${++made}`);

/** A process that has the directory once this resolves. */
async function holder(path: string, url = 'http://127.0.0.1:7420'): Promise<ChildProcess> {
  const program = `
    import { openDataDir } from ${JSON.stringify(new URL('./data-dir.ts', import.meta.url).href)};
    await (await openDataDir(${JSON.stringify(path)})).announce(${JSON.stringify(url)});
    // Nothing refers to the directory any more: collecting garbage must not let go of the lock.
    gc();
    await new Promise(setImmediate);
    gc();
    console.log('ready');
    setInterval(() => {}, 1_000);`;
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

it('creates the directory for its owner alone', async () => {
  const path = join(fresh(), 'deep');
  const dir = await openDataDir(path);
  expect(dir.path).toBe(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  await dir.close();
});

it('refuses a second process, naming the first one and where it answers', async () => {
  const path = fresh();
  const child = await holder(path);
  try {
    await expect(openDataDir(path)).rejects.toMatchObject({
      code: 'invalid_state',
      message: `the data directory ${path} is in use by process ${child.pid} (http://127.0.0.1:7420)`,
    });
  } finally {
    await kill(child);
  }
});

it('refuses a second opening in the same process, until the first is closed', async () => {
  const path = fresh();
  const first = await openDataDir(path);
  const message = `the data directory ${path} is in use by process ${process.pid}`;
  await expect(openDataDir(path)).rejects.toMatchObject({ code: 'invalid_state', message });
  await expect(openDataDir(`${path}/.`)).rejects.toMatchObject({ code: 'invalid_state', message });
  await first.close();
  await first.close();
  await (await openDataDir(path)).close();
});

it('is free again once the process that had it was killed', async () => {
  const path = fresh();
  await kill(await holder(path));
  const dir = await openDataDir(path);
  await expect(openDataDir(path)).rejects.toMatchObject({ details: { pid: process.pid } });
  await dir.close();
});

it('does not believe what a file says about who has it', async () => {
  const path = fresh();
  await (await openDataDir(path)).close();
  writeFileSync(join(path, 'in-use.json'), JSON.stringify({ pid: process.ppid, startedAt: 'earlier' }));
  const dir = await openDataDir(path);
  writeFileSync(join(path, 'in-use.json'), '{ half writ');
  await expect(openDataDir(path)).rejects.toMatchObject({
    code: 'invalid_state',
    message: `the data directory ${path} is in use by another process`,
  });
  await dir.close();
});

it('says so where the directory cannot be created', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  await expect(openDataDir(join(file, 'data'))).rejects.toMatchObject({ code: 'unavailable' });
});

const tenant = fc.string({
  unit: fc.constantFrom(...'abcnopruxABCNOPRUX019._-:'),
  minLength: 1,
  maxLength: 128,
});

it('names the folders of two tenants differently, on any file system', () => {
  fc.assert(
    fc.property(tenant, tenant, (a, b) => {
      fc.pre(a !== b);
      expect(tenantFolderName(a).toLowerCase()).not.toBe(tenantFolderName(b).toLowerCase());
    }),
  );
  fc.assert(
    fc.property(tenant, (a) => {
      const flipped = a.toUpperCase() === a ? a.toLowerCase() : a.toUpperCase();
      fc.pre(flipped !== a);
      expect(tenantFolderName(flipped).toLowerCase()).not.toBe(tenantFolderName(a).toLowerCase());
    }),
  );
});

it('gives every tenant a folder name that any file system takes as it is', () => {
  fc.assert(
    fc.property(fc.oneof(tenant, fc.constantFrom('.', '..', 'con', 'NUL', 'com1.txt', 'a.', ':')), (a) => {
      const name = tenantFolderName(a);
      expect(name).toMatch(/^[a-z0-9_,@-]+(=[0-9a-f]+)?$/);
      expect(name).not.toMatch(/^(con|prn|aux|nul|com[0-9]|lpt[0-9])$/);
      expect(name.length).toBeLessThanOrEqual(161);
    }),
  );
});

it('keeps the folder of an ordinary tenant readable', () => {
  expect(tenantFolderName('acme-eu_1')).toBe('acme-eu_1');
  expect(tenantFolderName('Acme.com:EU')).toBe('acme,com@eu=403');
});

it.each(['', 'a/b', 'a\0', 'é', 'a b', 'x'.repeat(129)])(
  'refuses %j, which no tenant may be called',
  (name) => {
    expect(() => tenantFolderName(name)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  },
);
