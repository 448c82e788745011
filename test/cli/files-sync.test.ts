import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ConnectorError, type FileClient } from '../../src/driver.ts';
import { drivers } from '../../src/drivers.generated.ts';
import type { FileConnector } from '../../src/index.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { type RunningServer, startServer } from '../../src/server/serve.ts';
import { breakableFiles } from './breakable-files.fixture.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

type Report = Readonly<Record<string, unknown>> & {
  readonly failures: readonly { readonly path: string; readonly code: string }[];
};
const report = ({ stdout }: Outcome) => JSON.parse(stdout) as Report;
const counts = (outcome: Outcome) => {
  const { copied, skipped, deleted, failed, ignored } = report(outcome);
  return { copied, skipped, deleted, failed, ignored };
};
const NONE = { copied: 0, skipped: 0, deleted: 0, failed: 0, ignored: 0 };
/** Long before any write of a test. */
const OLD = new Date('2026-01-01T00:00:00.250Z');

let folder: string;
let registry: ConnectorRegistry;
let server: RunningServer;
let key: string;
let backend: ReturnType<typeof breakableFiles>;
let run: ReturnType<typeof typing>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-sync-'));
  backend = breakableFiles();
  const { driver } = backend;
  const all = { ...drivers, 'file/breakable': async () => ({ default: driver }) };
  registry = await ConnectorRegistry.open({ dataDir: join(folder, 'data'), drivers: all });
  server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
  ({ key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' }));
  run = typing({ env: { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key, CONNECTORS_TENANT: 'acme' } });
  for (const [name, provider] of [
    ['notes', 'local'],
    ['b', 'breakable'],
  ])
    await run(`create ${name} --type file --provider ${provider} --max-retries 0`);
});

afterEach(async () => {
  await server.close();
  await registry.close();
  await rm(folder, { recursive: true });
});

const here = (...path: readonly string[]) => join(folder, 'here', ...path);
const sync = (...args: readonly string[]) => run(['files', 'sync', ...args, '--json']);
const connector = async (name: string) => (await registry.getByName('acme', name)) as FileConnector;

async function put(files: Readonly<Record<string, string>>, when: Date = OLD): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(here(path)), { recursive: true });
    await writeFile(here(path), content);
    await utimes(here(path), when, when);
  }
}

/** All files of a connector with their content. */
async function held(name: string): Promise<Readonly<Record<string, string>>> {
  const files = await connector(name);
  const { files: listed } = await files.listFiles('/', { recursive: true });
  const pairs = listed.map(
    async ({ path }) => [path, Buffer.from(await files.readFile(path)).toString()] as const,
  );
  return Object.fromEntries(await Promise.all(pairs));
}

/** All files of a local folder with their content. */
async function local(root: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const pairs = files.map(
    async (file) => [file.slice(root.length + 1), await readFile(file, 'utf8')] as const,
  );
  return Object.fromEntries(await Promise.all(pairs));
}

/** Each write runs `before` first, which may fail it. */
function onWrite(before: (path: string, nth: number) => unknown): void {
  let nth = 0;
  backend.script = (client) => ({
    write: async (path, ...rest) => {
      await before(path, (nth += 1));
      return client.write(path, ...rest);
    },
  });
}

const TREE = { 'a.txt': 'aa', 'a/1': 'one', 'a/deep/2': 'two', 'a-b': 'ab', z: '' };

describe('what is copied', () => {
  it('is all that is missing, and nothing the second time', async () => {
    await put(TREE);
    const first = await sync(here(), 'b:up');
    expect(counts(first)).toEqual({ ...NONE, copied: 5 });
    expect(report(first)).toMatchObject({ bytes: 10, dry_run: false, failures: [] });
    const up = Object.fromEntries(Object.entries(TREE).map(([path, text]) => [`up/${path}`, text]));
    expect(await held('b')).toEqual(up);
    expect(counts(await sync(here(), 'b:up'))).toEqual({ ...NONE, skipped: 5 });
    // The copies are the newer ones; coming back they bring their time along, and no side is newer any more.
    expect(counts(await sync('b:up/', here()))).toEqual({ ...NONE, copied: 5 });
    expect(counts(await sync('b:up/', here()))).toEqual({ ...NONE, skipped: 5 });
    expect(counts(await sync(here(), 'b:up'))).toEqual({ ...NONE, skipped: 5 });
    expect(counts(await sync('b:up', join(folder, 'back')))).toEqual({ ...NONE, copied: 5 });
    expect(await local(join(folder, 'back'))).toEqual(TREE);
    expect(counts(await sync('b:up', join(folder, 'back')))).toEqual({ ...NONE, skipped: 5 });
    expect(counts(await sync('b:up', 'notes:'))).toEqual({ ...NONE, copied: 5 });
    expect(counts(await sync('b:up', 'notes:'))).toMatchObject({ copied: 0 });
    expect(await held('notes')).toEqual(TREE);
  });

  it('is what has another size or is newer at the source, and never what is newer at the target', async () => {
    await put(TREE);
    await sync(here(), 'b:');
    await put({ 'a/1': 'longer than before' });
    await put({ 'a.txt': 'bb' }, new Date(Date.now() + 5_000));
    await put({ 'a-b': 'xx' });
    expect(counts(await sync(here(), 'b:'))).toEqual({ ...NONE, copied: 2, skipped: 3 });
    expect(await held('b')).toMatchObject({ 'a/1': 'longer than before', 'a.txt': 'bb', 'a-b': 'ab' });
    await put({ 'a-b': 'zz' }, new Date(Date.now() + 5_000));
    expect(counts(await sync('b:', here()))).toMatchObject({ failed: 0 });
    expect(await local(here())).toMatchObject({ 'a-b': 'zz', 'a.txt': 'bb' });
  });

  it('is told by size alone, by etag or by content where that is asked for', async () => {
    await put({ same: 'same', other: 'old!' });
    await sync(here(), 'b:');
    await put({ same: 'same', other: 'new!' }, new Date(Date.now() + 5_000));
    expect(counts(await sync(here(), 'b:', '--by', 'size'))).toEqual({ ...NONE, skipped: 2 });
    expect(counts(await sync(here(), 'b:', '--by', 'content'))).toEqual({ ...NONE, copied: 1, skipped: 1 });
    expect((await held('b'))['other']).toBe('new!');
    const refused = await sync(here(), 'b:', '--by', 'etag');
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('use --by content') });
  });

  it('is copied by the backend itself within one connector', async () => {
    await put({ a: '1', b: '2' });
    await sync(here(), 'b:from');
    const read: string[] = [];
    backend.script = (client) => ({
      readStream: (path, ...rest) => {
        read.push(path);
        return client.readStream(path, ...rest);
      },
    });
    expect(counts(await sync('b:from', 'b:to'))).toEqual({ ...NONE, copied: 2 });
    expect(read).toEqual([]);
    expect(await held('b')).toMatchObject({ 'to/a': '1', 'to/b': '2' });
    expect(counts(await sync('b:from', 'b:to', '--by', 'etag'))).toMatchObject({ failed: 0 });
  });

  it('is whole also where the source is written to meanwhile', async () => {
    await put({ a: 'before', b: 'same' });
    let touched = 0;
    onWrite(async (path) => {
      if (path === 'a' && (touched += 1) === 1) await put({ a: 'after it was opened' }, new Date());
    });
    expect(counts(await sync(here(), 'b:'))).toEqual({ ...NONE, copied: 2 });
    expect(await held('b')).toEqual({ a: 'after it was opened', b: 'same' });
    onWrite(async (path) => path === 'new/a' && put({ a: `again ${(touched += 1)}` }, new Date(touched)));
    const changing = await sync(here(), 'b:new');
    expect(changing.code).toBe(1);
    expect(report(changing).failures).toEqual([
      { path: 'a', code: 'conflict', message: expect.stringContaining('changes while it is read') },
    ]);
  });

  it('keeps odd names and their order', async () => {
    const odd = ['a b', ' a', 'a ', '#?&+%', '100%.txt', "it's", '"q"', 'ü', 'ü'.normalize('NFD'), '漢字/é'];
    const order = [
      '\u{ffee}',
      '\u{1f600}',
      '\u{e000}',
      'a/b',
      'a.b',
      'a0',
      'line\nend',
      '-r',
      '.hidden',
      '~',
    ];
    const names = [...odd, ...order, 'x'.repeat(255), `${'y'.repeat(200)}/${'z'.repeat(200)}`];
    await put(Object.fromEntries(names.map((name, i) => [`t/${name}`, `content ${i}`])));
    const expected = await local(here('t'));
    expect(Object.keys(expected)).toHaveLength(names.length);
    expect(counts(await sync(here('t'), 'b:'))).toEqual({ ...NONE, copied: names.length });
    expect(counts(await sync(here('t'), 'b:'))).toEqual({ ...NONE, skipped: names.length });
    expect(counts(await sync('b:', 'notes:odd'))).toEqual({ ...NONE, copied: names.length });
    expect(counts(await sync('notes:odd', join(folder, 'back')))).toEqual({ ...NONE, copied: names.length });
    expect(await local(join(folder, 'back'))).toEqual(expected);
    expect(counts(await sync('notes:odd', here('t'), '--delete'))).toMatchObject({ deleted: 0, failed: 0 });
  });

  it('is none of links, special files and what an interrupted run has left, which is removed in time', async () => {
    await put({
      a: '1',
      '.connectors-0123456789abcdef.part': 'fresh',
      'd/.connectors-fedcba9876543210.part': '',
    });
    const now = new Date();
    await utimes(here('.connectors-0123456789abcdef.part'), now, now);
    await symlink(here('a'), here('link'));
    await symlink(here(), here('loop'));
    execFileSync('mkfifo', [here('pipe')]);
    expect(counts(await sync(here(), 'b:'))).toEqual({ ...NONE, copied: 1, ignored: 3 });
    expect(await held('b')).toEqual({ a: '1' });
    expect((await readdir(here())).toSorted()).toEqual(
      ['.connectors-0123456789abcdef.part', 'a', 'd', 'link', 'loop', 'pipe'].toSorted(),
    );
    expect(await readdir(here('d'))).toEqual([]);
  });
});

describe('--delete', () => {
  it('removes what the source has not, and folders that are empty then', async () => {
    await put(TREE);
    await sync(here(), 'b:');
    await rm(here('a'), { recursive: true });
    expect(counts(await sync(here(), 'b:'))).toMatchObject({ deleted: 0 });
    expect(counts(await sync(here(), 'b:', '--delete'))).toEqual({ ...NONE, skipped: 3, deleted: 2 });
    expect(Object.keys(await held('b'))).toEqual(['a-b', 'a.txt', 'z']);
    await put({ 'x/y/gone': '', 'x/kept.txt': '' });
    await (await connector('b')).writeFile('x/kept.txt', '');
    expect(counts(await sync('b:', here(), '--delete'))).toMatchObject({ deleted: 1 });
    expect(await readdir(here('x'))).toEqual(['kept.txt']);
  });

  it('leaves alone what stands where the source has a link, for nothing is known of it', async () => {
    await put({ kept: '', 'link/x': '1', 'link-y': '2', 'link/z/1': '3', 'link.txt': '4' });
    await sync(here(), 'b:');
    for (const path of ['link', 'link-y', 'link.txt']) await rm(here(path), { recursive: true });
    await symlink('/nowhere', here('link'));
    expect(counts(await sync(here(), 'b:', '--delete'))).toEqual({
      ...NONE,
      skipped: 1,
      deleted: 2,
      ignored: 1,
    });
    expect(Object.keys(await held('b'))).toEqual(['kept', 'link/x', 'link/z/1']);
  });

  it('refuses a file of a connector as a source, which as a folder would hold nothing', async () => {
    await put(TREE);
    await sync(here(), 'b:');
    const file = Object.keys(await held('b'))[0];
    const refused = await sync(`b:${file}`, here('copy'));
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toBe(`error: b:${file} is a file; files cp copies files (invalid_argument)\n`);
  });

  it('refuses to remove all that there is because of an empty source, unless it is told to', async () => {
    await put(TREE);
    await sync(here(), 'b:');
    const refused = await sync('b:typo', here(), '--delete');
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(/the source holds no files.*check its path, or give --allow-empty \(/);
    expect(Object.keys(await local(here()))).toHaveLength(5);
    expect((await sync(here('nope'), 'b:', '--delete')).code).toBe(1);
    expect(counts(await sync('b:typo', here(), '--delete', '--allow-empty'))).toEqual({
      ...NONE,
      deleted: 5,
    });
    expect(await readdir(here())).toEqual([]);
  });

  it('stops where a listing does, and removes nothing behind that', async () => {
    await put({ a: '1', b: '2', m: '3' });
    await sync(here(), 'notes:');
    backend.script = () => ({
      list: async () => {
        throw new ConnectorError('backend_error', 'the listing broke');
      },
    });
    const broken = await sync('b:', 'notes:', '--delete');
    expect(broken).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('the listing broke'),
    });
    expect(Object.keys(await held('notes'))).toEqual(['a', 'b', 'm']);
  });
});

describe('--dry-run', () => {
  it('names what would be done and does nothing', async () => {
    await put({ new: '1', kept: '22', 'sub/big': '333' });
    await (await connector('b')).writeFile('gone', '');
    await (await connector('b')).writeFile('kept', '22');
    const { code, stdout, stderr } = await run(['files', 'sync', here(), 'b:', '--delete', '--dry-run']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [first, ...rows] = stdout.trimEnd().split(/\n(?=RESULT)/);
    expect(first?.split('\n').toSorted()).toEqual(['copy new (new)', 'copy sub/big (new)', 'delete gone']);
    expect(rows[0]).toMatch(/^to copy +2 +4 B$/m);
    expect(rows[0]).toMatch(/^to delete +1$/m);
    expect(report(await sync(here(), 'b:', '--dry-run'))).toMatchObject({ dry_run: true, copied: 2 });
    expect(Object.keys(await held('b'))).toEqual(['gone', 'kept']);
    await sync('b:', join(folder, 'never'), '--dry-run');
    await expect(stat(join(folder, 'never'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('failures', () => {
  const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}`, `content ${i}`]));

  it('are named, end in 1, and the same command copies what is missing', async () => {
    await put(many);
    onWrite((path) => {
      if (/^f1?5$/.test(path)) throw new ConnectorError('backend_error', 'no room for it');
    });
    const failed = await run(['files', 'sync', here(), 'b:']);
    expect(failed.code).toBe(1);
    expect(failed.stdout).toMatch(/^copied +58 +\d+ B$/m);
    expect(failed.stdout).toMatch(/^failed +2$/m);
    expect(failed.stderr).toMatch(/^failed: f15: .*no room for it \(backend_error\)$/m);
    expect(failed.stderr).toMatch(
      /^error: 2 files failed, 58 copied, the first failure is f15: .*; the same command goes on with what is missing \(backend_error\)$/m,
    );
    backend.script = () => ({});
    expect(counts(await sync(here(), 'b:'))).toEqual({ ...NONE, copied: 2, skipped: 58 });
  });

  it('of a name that no connector can have are not wrong usage', async () => {
    await put({ good: '1', 'back\\slash': '2', 'a%2fb': '3', 'dir\\/x': '4' });
    const failed = await sync(here(), 'b:', '--delete');
    expect(failed.code).toBe(1);
    expect(report(failed).failures.map(({ path, code }) => [path, code])).toEqual([
      ['a%2fb', 'unsupported'],
      ['back\\slash', 'unsupported'],
      ['dir\\', 'unsupported'],
    ]);
    expect(await held('b')).toEqual({ good: '1' });
  });

  it('that the next file would meet as well end it at once', async () => {
    await put(many);
    const sent: string[] = [];
    onWrite((path) => {
      sent.push(path);
      throw new ConnectorError('auth_failed', 'the key was revoked');
    });
    const { code, stdout, stderr } = await sync(here(), 'b:', '--parallel', '2');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/the key was revoked; 0 files are copied; the same command goes on/);
    expect(sent.length).toBeLessThanOrEqual(2);
  });

  it('of a file in the place of a folder, or a folder or a link in that of a file, leave both', async () => {
    await (await connector('b')).writeFile('x', 'file');
    await (await connector('b')).writeFile('y/z', 'below');
    await (await connector('b')).writeFile('link/passwd', 'through');
    await put({ 'x/inner': '1', y: '2', 'outside/passwd': 'safe' });
    await symlink(here('outside'), here('target-link'));
    await mkdir(here('t'));
    await symlink(here('outside'), here('t', 'link'));
    await mkdir(here('t', 'x'));
    await writeFile(here('t', 'y'), '2');
    const failed = await sync('b:', here('t'));
    expect(
      report(failed)
        .failures.map(({ path }) => path)
        .toSorted(),
    ).toEqual(['link/passwd', 'x', 'y/z']);
    expect(await readFile(here('outside', 'passwd'), 'utf8')).toBe('safe');
    expect(await readFile(here('t', 'y'), 'utf8')).toBe('2');
  });
});

describe('an interruption', () => {
  it.each(['to a connector', 'to this machine'])(
    'leaves whole files, and the next run %s copies the rest alone',
    async (way) => {
      const many = Object.fromEntries(
        Array.from({ length: 200 }, (_, i) => [`d${i % 7}/f${i}`, `content ${i}`]),
      );
      await put(many);
      const isUp = way === 'to a connector';
      const back = join(folder, 'back');
      if (!isUp) await sync(here(), 'b:');
      const [from, to] = isUp ? [here(), 'b:'] : ['b:', back];
      const cut = new AbortController();
      let [nth, inFlight, most] = [0, 0, 0];
      const turn = async <T>(work: () => Promise<T>): Promise<T> => {
        if ((nth += 1) === 80) cut.abort();
        most = Math.max(most, (inFlight += 1));
        return work().finally(() => (inFlight -= 1));
      };
      backend.script = (client: FileClient) => ({
        write: (...args) => turn(() => client.write(...args)),
        readStream: (...args) => turn(() => client.readStream(...args)),
      });
      const broken = await run(['files', 'sync', from, to, '--parallel', '3'], { signal: cut.signal });
      expect(broken).toMatchObject({ code: 130, stdout: '' });
      const copied = Number(/^(\d+) files are copied; the same command goes on/m.exec(broken.stderr)?.[1]);
      expect(copied).toBeGreaterThan(70);
      expect(copied).toBeLessThan(80);
      expect(most).toBeLessThanOrEqual(3);
      backend.script = () => ({});
      const resumed = counts(await sync(from, to));
      expect(resumed.failed).toBe(0);
      expect(resumed.skipped).toBeGreaterThanOrEqual(copied);
      expect(Number(resumed.copied) + Number(resumed.skipped)).toBe(200);
      expect(isUp ? await held('b') : await local(back)).toEqual(many);
    },
  );
});

describe('a hostile server', () => {
  /** The real server, but for the listings. */
  async function lying(files: readonly Readonly<Record<string, unknown>>[]): Promise<typeof run> {
    const proxy = createServer((request, response) => {
      const url = request.url ?? '';
      const isListing = /\/files\?/.test(url);
      const answer = async (): Promise<void> => {
        if (isListing) return void response.end(JSON.stringify({ files }));
        const real = await fetch(server.url + url.replace(/\/files\/.*/, '/files/real'), {
          headers: { authorization: `Bearer ${key}` },
        });
        response.writeHead(real.status).end(Buffer.from(await real.arrayBuffer()));
      };
      answer().catch(() => response.destroy());
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    onTestFinished(() => {
      proxy.closeAllConnections();
      proxy.close();
    });
    await (await connector('notes')).writeFile('real', 'evil');
    // A server that listens on a port has an address with one.
    const { port } = proxy.address() as AddressInfo;
    return typing({
      env: { CONNECTORS_URL: `http://127.0.0.1:${port}`, CONNECTORS_API_KEY: key, CONNECTORS_TENANT: 'acme' },
    });
  }
  const listed = (path: string) => ({
    ...{ name: 'x', path, size: 4, is_directory: false },
    last_modified: '2026-11-27T00:00:00.000Z',
  });

  it('writes nothing outside of the target, whatever its listing answers', async () => {
    const bad = [
      '../up',
      '/etc/absolute',
      'a/../../up',
      '..',
      '.',
      '',
      'a//b',
      'a\\..\\up',
      'a\0b',
      '%2e%2e/up',
    ];
    const more = ['..%2fup', 'a/.', 'p/../q', 'up/', '．．/up', '..;/up', '\ud800', 'z'.repeat(256)];
    const lie = await lying([...bad, ...more].map(listed).concat(listed('good')));
    const target = here('deep', 'target');
    const { code, stdout } = await lie(['files', 'sync', 'notes:', target, '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ copied: 1, failed: bad.length + more.length });
    expect(await local(folder).then(Object.keys)).not.toContain('here/up');
    expect(await readdir(here())).toEqual(['deep']);
    expect(await readdir(here('deep'))).toEqual(['target']);
    expect(await local(target)).toEqual({ good: 'evil' });
  });

  it('is not believed where it lists what is not below the folder that was asked for', async () => {
    const lie = await lying([listed('other/x'), listed('subfolder/x'), listed('sub/x')]);
    const { stdout } = await lie(['files', 'sync', 'notes:sub', here('t'), '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ copied: 1, failed: 2 });
    expect(await local(here('t'))).toEqual({ x: 'evil' });
  });

  it('has nothing removed because of a listing that is in no order', async () => {
    await put({ 't/b': '1', 't/y': '2' });
    const lie = await lying([listed('b'), listed('z'), listed('a')]);
    const { code, stderr } = await lie(['files', 'sync', 'notes:', here('t'), '--delete']);
    expect(code).toBe(1);
    expect(stderr).toContain('the listing of notes: is not in the order of its paths');
  });
});

describe('wrong usage', () => {
  it.each([
    ['files sync a b', 'one of a and b has to be of a connector'],
    ['files sync - notes:', '`-` is none'],
    ['files sync notes:a notes:a/b', 'lie in one another'],
    ['files sync notes: notes:x', 'lie in one another'],
    ['files sync notes:../x b:', 'path has no . or .. segment'],
    ['files sync /etc/passwd notes:', '/etc/passwd is a file; files cp copies files'],
    ['files sync notes: /etc/passwd', '/etc/passwd is a file; files cp copies files'],
    ['files sync notes: b: --by mtime', 'Allowed choices are time, size, etag, content'],
    ['files sync notes: b: --parallel 0', 'it is not a whole number from 1 to 64'],
  ])('answers `%s` with what to do instead', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });

  it('says that a folder does not exist', async () => {
    const { code, stderr } = await run(['files', 'sync', here('nope'), 'notes:']);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: .*nope: there is no such file or folder \(not_found\)\n$/),
    });
  });

  it('explains what it compares in its help', async () => {
    const { stdout } = await run('files sync --help');
    expect(stdout).toMatch(/time +copies what was changed at the source after the target was written/);
  });
});
