import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { drivers } from '../../src/drivers.generated.ts';
import { ConnectorError, defineFileDriver, type FileClient } from '../../src/driver.ts';
import type { FileConnector } from '../../src/index.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { type RunningServer, startServer } from '../../src/server/serve.ts';
import { fakeFile } from '../server/fake-drivers.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

const json = ({ stdout }: Outcome): unknown => JSON.parse(stdout);

/** What a test puts between a connector and its backend. */
let script: Partial<FileClient> = {};
/** A backend without metadata and without copies of its own. */
const plainFile = defineFileDriver({
  ...fakeFile,
  id: 'plain',
  capabilities: { ...fakeFile.capabilities, metadata: false, copy: false, move: false },
  open: async (options, context) => {
    const client = await fakeFile.open(options, context);
    return { ...client, write: (...args) => (script.write ?? client.write)(...args) };
  },
});

let folder: string;
let registry: ConnectorRegistry;
let server: RunningServer;
let run: ReturnType<typeof typing>;
let at: (name: string) => string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-copy-'));
  const all = {
    ...drivers,
    'file/fake': async () => ({ default: fakeFile }),
    'file/plain': async () => ({ default: plainFile }),
  };
  registry = await ConnectorRegistry.open({ dataDir: join(folder, 'data'), drivers: all });
  server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
  const { key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' });
  run = typing({
    env: { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key, CONNECTORS_TENANT: 'acme' },
  });
  for (const [name, provider] of [
    ['notes', 'local'],
    ['rich', 'fake'],
    ['plain', 'plain'],
  ])
    await run(`create ${name} --type file --provider ${provider} --max-retries 0`);
});

afterAll(async () => {
  await server.close();
  await registry.close();
  await rm(folder, { recursive: true });
});

beforeEach(async () => {
  script = {};
  const here = await mkdtemp(join(folder, 'here-'));
  at = (name) => join(here, name);
});

const connector = async (name: string) => (await registry.getByName('acme', name)) as FileConnector;
const content = async (name: string, path: string) =>
  Buffer.from(await (await connector(name)).readFile(path)).toString();

describe('files cp', () => {
  it('copies a local file to a connector, by its own name or another, and back', async () => {
    await writeFile(at('a.txt'), 'hello');
    const copied = await run(['files', 'cp', at('a.txt'), 'notes:up/b.txt']);
    expect(copied).toEqual({ code: 0, stdout: `copied ${at('a.txt')} to notes:up/b.txt, 5 B\n`, stderr: '' });
    expect(json(await run(['files', 'cp', at('a.txt'), 'notes:up/', '--json']))).toEqual({
      files: [{ from: at('a.txt'), to: 'notes:up/a.txt', size: 5 }],
    });
    await run(['files', 'cp', 'notes:up/b.txt', at('back.txt')]);
    expect(await readFile(at('back.txt'), 'utf8')).toBe('hello');
    await run(['files', 'cp', 'notes:up/b.txt', 'notes:/up/a.txt', at('new/folder')]);
    expect(await readdir(at('new/folder'))).toEqual(['a.txt', 'b.txt']);
  });

  it('copies from stdin and to stdout', async () => {
    await run('files cp - notes:in.txt', { stdin: 'from stdin' });
    expect(await run('files cp notes:in.txt -')).toEqual({ code: 0, stdout: 'from stdin', stderr: '' });
  });

  it('copies between connectors with type and metadata, and says where the target keeps none', async () => {
    await writeFile(at('a.txt'), 'x');
    const flags = ['--content-type', 'text/plain', '--metadata', 'author=Zoë', '--metadata', 'b=1=2'];
    expect(await run(['files', 'cp', at('a.txt'), 'rich:a.txt', ...flags])).toMatchObject({ code: 0 });
    await run('create rich2 --type file --provider fake');
    expect(await run('files cp rich:a.txt rich2:b.txt')).toMatchObject({ code: 0, stderr: '' });
    expect(await (await connector('rich2')).statFile('b.txt')).toMatchObject({
      ...{ contentType: 'text/plain', metadata: { author: 'Zoë', b: '1=2' } },
    });
    expect(await run('files cp rich:a.txt plain:b.txt')).toMatchObject({
      code: 0,
      stderr: 'plain keeps no metadata of files; it is left out\n',
    });
    const asked = await run(['files', 'cp', at('a.txt'), 'plain:c.txt', ...flags]);
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringMatching(/metadata.*\(unsupported\)\n$/) });
    expect((await run('files cp rich:a.txt - --content-type text/plain')).code).toBe(2);
  });

  it('has the backend copy within a connector where it can', async () => {
    await (await connector('rich')).writeFile('one', 'once');
    expect(json(await run('files cp rich:one rich:two --json'))).toEqual({
      files: [{ from: 'rich:one', to: 'rich:two' }],
    });
    await (await connector('plain')).writeFile('one', 'once');
    expect(json(await run('files cp plain:one plain:two --json'))).toEqual({
      files: [{ from: 'plain:one', to: 'plain:two', size: 4 }],
    });
    expect([await content('rich', 'two'), await content('plain', 'two')]).toEqual(['once', 'once']);
  });

  it('says how a local file with a colon is written', async () => {
    // Vitest gives workers no folder of their own, so the file is named from here.
    const name = `colon-${process.pid}:b`;
    await writeFile(name, '1');
    try {
      expect((await run(['files', 'cp', name, 'notes:'])).stderr).toContain(
        `there is no connector "colon-${process.pid}" of tenant acme; the local file of that name is ./${name}`,
      );
    } finally {
      await rm(name);
    }
  });

  it('makes the folder of a local target, but none for a file that does not exist', async () => {
    await (await connector('notes')).writeFile('one', '1');
    expect((await run(['files', 'cp', 'notes:nope', at('new/x')])).code).toBe(1);
    expect(await readdir(at('.'))).toEqual([]);
    await writeFile(at('file'), 'kept');
    const refused = await run(['files', 'cp', 'notes:one', at('file/x')]);
    expect(refused.stderr).toBe(
      `error: ${at('file')}: a file stands where a folder is needed (already_exists)\n`,
    );
  });

  it('tells on one line what a name that forges others or colours would show', async () => {
    await writeFile(at('a\n\u001B[31mb'), '1');
    const { stdout } = await run(['files', 'cp', at('a\n\u001B[31mb'), 'notes:forged/']);
    expect(stdout).toBe(`copied ${at('a \uFFFD[31mb')} to notes:forged/a \uFFFD[31mb, 1 B\n`);
  });

  it('says how many of several files are done where one fails', async () => {
    await (await connector('notes')).writeFile('one', '1');
    const { code, stdout, stderr } = await run(['files', 'cp', 'notes:one', 'notes:nope', at('new')]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^1 of 2 files are done, not notes:nope\nerror: .*\(not_found\)\n$/);
    expect(await readdir(at('new'))).toEqual(['one']);
  });

  it('replaces nothing under --no-overwrite', async () => {
    await writeFile(at('old.txt'), 'old');
    await (await connector('notes')).writeFile('old.txt', 'kept');
    for (const pair of [
      ['notes:old.txt', at('old.txt')],
      [at('old.txt'), 'notes:old.txt'],
      ['notes:old.txt', 'notes:./old2.txt'.replace('./', '')],
    ])
      await run(['files', 'cp', ...pair, '--no-overwrite']);
    expect(await readFile(at('old.txt'), 'utf8')).toBe('old');
    expect(await content('notes', 'old.txt')).toBe('kept');
    expect(await content('notes', 'old2.txt')).toBe('kept');
    expect((await run('files cp notes:old.txt notes:old2.txt --no-overwrite')).code).toBe(1);
    expect(await readdir(at('.'))).toEqual(['old.txt']);
  });

  it('opens a source again when a write fails in a way that passes, but never what came from stdin', async () => {
    const seen: string[] = [];
    script = {
      async write(path, given) {
        const parts: Uint8Array[] = [];
        for await (const chunk of given as AsyncIterable<Uint8Array>) parts.push(chunk);
        seen.push(Buffer.concat(parts).toString());
        if (seen.length < 3) throw new ConnectorError('unavailable', 'gone');
        return { path, size: 4 };
      },
    };
    await writeFile(at('a.txt'), 'file');
    expect((await run(['files', 'cp', at('a.txt'), 'plain:a.txt'])).code).toBe(0);
    expect(seen).toEqual(['file', 'file', 'file']);
    seen.length = 0;
    const { code, stderr } = await run('files cp - plain:a.txt', { stdin: 'once' });
    expect({ code, seen }).toEqual({ code: 1, seen: ['once'] });
    expect(stderr).toMatch(/\(unavailable\)\n$/);
  });

  it('leaves the old file, and no litter, where a read fails', async () => {
    await writeFile(at('a.txt'), 'old');
    expect((await run(['files', 'cp', 'notes:nope.txt', at('a.txt')])).code).toBe(1);
    const cut = new AbortController();
    cut.abort();
    expect((await run(['files', 'cp', 'notes:in.txt', at('a.txt')], { signal: cut.signal })).code).toBe(130);
    expect(await readFile(at('a.txt'), 'utf8')).toBe('old');
    expect(await readdir(at('.'))).toEqual(['a.txt']);
  });

  it('follows a link that is named, and refuses what is no file', async () => {
    await writeFile(at('real.txt'), 'real');
    await symlink(at('real.txt'), at('link.txt'));
    expect((await run(['files', 'cp', at('link.txt'), 'notes:linked.txt'])).code).toBe(0);
    expect(await content('notes', 'linked.txt')).toBe('real');
    await mkdir(at('dir'));
    const refused = await run(['files', 'cp', at('dir'), 'notes:x']);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('files sync` copies folders') });
  });

  it.each([
    ['files cp a.txt b.txt', 'one of a.txt and b.txt has to be of a connector, as CONNECTOR:PATH is'],
    ['files cp notes:a.txt', 'give a source and a target'],
    ['files cp notes:a/ x', 'notes:a/ is a folder; `connectors files sync` copies folders'],
    ['files cp notes: x', 'notes: is a folder; `connectors files sync` copies folders'],
    ['files cp nope.txt notes:', 'nope.txt is not a file that can be read; a file of a connector is'],
    ['files cp - notes:', 'content from stdin needs the path of a file to go to'],
    ['files cp notes:a.txt /notes:a.txt -', 'only one file goes to stdout'],
    ['files cp notes:a.txt notes:/a.txt', 'notes:a.txt cannot be copied onto itself'],
    ['files cp notes:a/x notes:b/x notes:c', 'two of the sources have one name'],
    ['files cp notes:a.txt - --json', 'the file itself goes to stdout; leave --json out'],
    ['files cp notes:../a.txt x', 'path has no . or .. segment'],
    ['files mv notes:a.txt rich:a.txt', 'mv renames within one connector; copy notes:a.txt with'],
    ['files mv a.txt notes:a.txt', 'mv renames within one connector'],
    ['files mv notes:a.txt notes:a.txt', 'cannot be copied onto itself'],
  ])('answers `%s` with what to do instead', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });
});

describe('files mv', () => {
  it.each(['notes', 'plain'])('renames and moves into folders on %s', async (name) => {
    const files = await connector(name);
    for (const path of ['m1', 'm2']) await files.writeFile(path, path);
    expect((await run(`files mv ${name}:m1 ${name}:m3`)).stdout).toMatch(
      new RegExp(`^moved ${name}:m1 to ${name}:m3`),
    );
    expect(json(await run(`files mv ${name}:m2 ${name}:m3 ${name}:d/ --json`))).toMatchObject({
      files: [{ to: `${name}:d/m2` }, { to: `${name}:d/m3` }],
    });
    expect([await content(name, 'd/m2'), await content(name, 'd/m3')]).toEqual(['m2', 'm1']);
    for (const path of ['m1', 'm2', 'm3'])
      await expect(files.statFile(path)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('keeps the source where it cannot be copied', async () => {
    await (await connector('plain')).writeFile('stays', 'here');
    script = {
      write: async () => {
        throw new ConnectorError('backend_error', 'no room');
      },
    };
    expect((await run('files mv plain:stays plain:gone')).code).toBe(1);
    expect(await content('plain', 'stays')).toBe('here');
  });
});

it('keeps the files of two tenants apart, also for an administrator of both', async () => {
  const admin = typing({ env: { CONNECTORS_DATA_DIR: at('data') } });
  await admin('create one --type file --tenant a');
  await admin('create two --type file --tenant b');
  await admin('files put one - x', { stdin: 'of a' });
  for (const command of ['files cp one:x two:x', 'files sync one: two:'])
    expect(await admin(command)).toEqual({
      code: 2,
      stdout: '',
      stderr: 'error: one is of the tenant a, and two of b; nothing was copied (invalid_argument)\n',
    });
});
