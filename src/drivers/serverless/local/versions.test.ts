import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import {
  systemClock,
  type FunctionInfo,
  type FunctionSource,
  type ServerlessClient,
} from '../../../driver.ts';
import { FunctionFolder } from './folder.ts';
import { NEVER, openLocal, scratchFolder } from './local.fixture.ts';

const scratch = scratchFolder();
let connectors = 0;
let connectorId: string;
let client: ServerlessClient;

async function reopen(options: Parameters<typeof openLocal>[1] = {}): Promise<ServerlessClient> {
  const opened = await openLocal(scratch(), { connectorId, ...options });
  onTestFinished(() => opened.close());
  return opened;
}

beforeEach(async () => {
  connectorId = `c${++connectors}`;
  client = await reopen();
});

const functions = () => join(scratch(), 'acme', connectorId, 'functions');
const answering = (answer: unknown) => ({
  code: `export const handler = () => ${JSON.stringify(answer)};`,
});

function deploy(source: FunctionSource, on = client, signal = NEVER): Promise<FunctionInfo> {
  if (!on.deploy) throw new Error('the driver cannot deploy');
  return on.deploy('f', source, signal);
}

async function call(on = client): Promise<unknown> {
  const outcome = await on.invoke('f', null, { requestId: 'r', timeoutMs: 20_000 }, NEVER);
  return outcome.result ?? outcome.error;
}

describe('a deployed function of several files', () => {
  it('runs from its index, with what it imports from the others', async () => {
    await deploy({
      files: {
        'index.ts':
          "import { a } from './lib/a.ts'; import b from './lib/deep/b.json'; export const handler = () => a + b.n;",
        'lib/a.ts': 'export const a: number = 1;',
        'lib/deep/b.json': '{"n":2}',
        'node_modules/unused/package.json': '{}',
      },
    });
    expect(await call()).toBe(3);
  });

  it('runs from its only file, whatever that is named', async () => {
    await deploy({ files: { 'src/main.mts': 'export const handler = (): number => 4;' } });
    expect(await call()).toBe(4);
  });

  it.each([
    ['../x.ts'],
    ['a/../../x.ts'],
    ['a/..'],
    ['./x.ts'],
    ['/etc/x.ts'],
    ['a//x.ts'],
    ['a/'],
    [''],
    ['.hidden.ts'],
    ['a/.git/config'],
    ['a\\..\\x.ts'],
    ['C:/x.ts'],
    ['x.ts\0.json'],
    ['x\n.ts'],
    ['\ud800.ts'],
    [`${'x'.repeat(256)}.ts`],
    [`${'deep/'.repeat(300)}x.ts`],
  ])('is refused with a file at %j, and nothing is written', async (path) => {
    const refused = deploy({ files: { 'index.ts': 'export const handler = () => 1;', [path]: '' } });
    await expect(refused).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: `files[${JSON.stringify(path.slice(0, 200))}]` }],
    });
    expect(readdirSync(functions(), { recursive: true })).toEqual(['.versions', join('.versions', 'f')]);
    expect(readdirSync(join(scratch(), 'acme', connectorId))).toEqual(['functions']);
  });

  it.each<readonly [string, Readonly<Record<string, string>>, object]>([
    ['no file', {}, { issues: [{ path: 'files' }] }],
    ['no index among several', { 'a.ts': '', 'b.ts': '' }, { issues: [{ path: 'files' }] }],
    ['an index elsewhere', { 'src/index.ts': '', 'b.ts': '' }, { issues: [{ path: 'files' }] }],
    ['a single file of another kind', { 'x.py': '' }, { issues: [{ path: 'files["x.py"]' }] }],
    [
      'a file that is a folder as well',
      { 'index.ts': '', lib: '', 'lib/a.ts': '' },
      { issues: [{ path: 'files["lib"]' }] },
    ],
    [
      'a file that is no text',
      // What a program without types may hand over.
      { 'index.ts': '', 'a.ts': 7 as unknown as string },
      { issues: [{ path: 'files["a.ts"]' }] },
    ],
    [
      'too many files',
      Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [`f${n}.ts`, ''])),
      { code: 'payload_too_large' },
    ],
    [
      'too many bytes',
      { 'index.ts': '', 'a.txt': 'é'.repeat(1.4e6), 'b.txt': 'é'.repeat(1.4e6) },
      { code: 'payload_too_large' },
    ],
  ])('is refused with %s', async (_what, files, failure) => {
    await expect(deploy({ files })).rejects.toMatchObject({ code: 'invalid_argument', ...failure });
    await expect(call()).rejects.toMatchObject({ code: 'not_found' });
  });

  it('takes 1,000 files of 5 MB', async () => {
    const text = 'x'.repeat(5 * 1024);
    const parts = Array.from({ length: 999 }, (_, n) => [`parts/p${n}.txt`, text] as const);
    const index = "import p from './parts/p998.txt'; export const handler = () => p.length;";
    await deploy({ files: { 'index.ts': index, ...Object.fromEntries(parts) } });
    expect(await call()).toBe(5 * 1024);
  });
});

describe('a version', () => {
  it('has a number, and the newest ten can run again', async () => {
    for (let n = 1; n <= 12; n++) {
      const info = await deploy(answering(n));
      expect(info).toMatchObject({ name: 'f', version: String(n) });
    }
    const versions = ['12', '11', '10', '9', '8', '7', '6', '5', '4', '3'];
    expect(await client.listFunctions(NEVER)).toMatchObject([{ name: 'f', version: '12', versions }]);
    expect(readdirSync(join(functions(), '.versions', 'f')).sort((a, b) => Number(b) - Number(a))).toEqual(
      versions,
    );
    expect(await call()).toBe(12);
  });

  it('runs again when it is deployed by its number, and the next new one follows the newest', async () => {
    for (const n of [1, 2, 3]) await deploy(answering(n));
    expect(await call()).toBe(3);
    const back = await deploy({ version: '1' });
    expect(back).toMatchObject({ version: '1', versions: ['3', '2', '1'] });
    expect(await call()).toBe(1);
    expect(await deploy({ version: '3' })).toMatchObject({ version: '3' });
    expect(await call()).toBe(3);
    await deploy({ version: '2' });
    expect(await deploy(answering(4))).toMatchObject({ version: '4', versions: ['4', '3', '2', '1'] });
    expect(await call()).toBe(4);
  });

  it('that was rolled back to runs after a restart, and not what was stored of a newer one', async () => {
    for (const n of [1, 2]) await deploy(answering(n));
    expect(await call()).toBe(2);
    // Written by another client, so that this one's bundle in memory is of the version before.
    await deploy({ version: '1' }, await reopen());
    expect(await call()).toBe(1);
    expect(await call(await reopen())).toBe(1);
  });

  it('that was interrupted before its bundle was stored runs all the same', async () => {
    await deploy(answering(1));
    await deploy(answering(2));
    // A clock that stands still tells one pointer from the next by nothing but what it says.
    const stop = () => utimesSync(join(functions(), 'f.json'), 1, 1);
    stop();
    expect(await call()).toBe(2);
    const bundles = join(scratch(), 'acme', connectorId, 'bundles');
    const stored = readdirSync(bundles).map((name) => [name, readFileSync(join(bundles, name))] as const);
    await deploy({ version: '1' });
    stop();
    for (const [name, bytes] of stored) writeFileSync(join(bundles, name), bytes);
    expect(await call(await reopen())).toBe(1);
  });

  it('that is not kept is not found, and the answer names those that are', async () => {
    for (const n of [1, 2]) await deploy(answering(n));
    for (const version of ['3', '0', '../2', '', '2 ']) {
      await expect(deploy({ version })).rejects.toMatchObject({
        code: 'not_found',
        message: expect.stringContaining('it keeps 2, 1'),
        details: { versions: ['2', '1'] },
      });
    }
    expect(await call()).toBe(2);
  });

  it('is none of a function that was put in by hand, or of none', async () => {
    const none = { code: 'not_found', message: expect.stringContaining('it keeps none') };
    await expect(deploy({ version: '1' })).rejects.toMatchObject(none);
    mkdirSync(functions(), { recursive: true });
    writeFileSync(join(functions(), 'f.ts'), 'export const handler = () => 1;');
    await expect(deploy({ version: '1' })).rejects.toMatchObject(none);
    const [listed] = await client.listFunctions(NEVER);
    expect(Object.keys(listed ?? {}).sort()).toEqual(['lastModified', 'memoryMb', 'name', 'runtime']);
  });

  it('with a name from before they were counted goes on, and stays among those that are kept', async () => {
    const uuid = '0b3e8a52-7f5c-4c58-9d0a-0f6d1c1f4a11';
    mkdirSync(join(functions(), '.versions', 'f', uuid), { recursive: true });
    writeFileSync(join(functions(), '.versions', 'f', uuid, 'index.ts'), answering('old').code);
    writeFileSync(join(functions(), 'f.json'), `${JSON.stringify({ version: uuid })}\n`);
    expect(await call()).toBe('old');
    expect(await client.listFunctions(NEVER)).toMatchObject([{ version: uuid, versions: [uuid] }]);
    expect(await deploy(answering('new'))).toMatchObject({ version: '1', versions: ['1', uuid] });
    expect(await call()).toBe('new');
    await deploy({ version: uuid });
    expect(await call()).toBe('old');
  });

  it('that another client is about to deploy is none of what is left behind', async () => {
    const folder = await FunctionFolder.open(functions());
    const first = await folder.stage('f', answering(1));
    const second = await folder.stage('f', answering(2));
    await folder.activate('f', first.version);
    await folder.prune('f');
    await folder.activate('f', second.version);
    expect(await call()).toBe(2);
  });

  it('leaves nothing of one that was refused or interrupted, and everything goes with the function', async () => {
    await deploy(answering(1));
    await deploy({ code: 'export const handler = (' }).catch(() => {});
    // As a process leaves it that is killed in the middle of a deploy.
    mkdirSync(join(functions(), '.versions', 'f', '2'));
    expect(await deploy(answering(3))).toMatchObject({ version: '3', versions: ['3', '1'] });
    expect(readdirSync(join(functions(), '.versions', 'f')).sort()).toEqual(['1', '3']);
    expect(readdirSync(functions()).sort()).toEqual(['.versions', 'f.json']);
    expect(await client.remove?.('f', NEVER)).toBe(true);
    expect(readdirSync(functions(), { recursive: true })).toEqual(['.versions']);
    expect(readdirSync(join(functions(), '..', 'bundles'))).toEqual([]);
    expect(await deploy(answering(1))).toMatchObject({ version: '1', versions: ['1'] });
  });
});

describe('a deploy is refused, and the version before goes on serving, for a function that', () => {
  const refused: Readonly<Record<string, readonly [code: string, message: RegExp]>> = {
    'does not build': ['export const handler = (', /does not build: index\.ts:1:24/],
    'throws when it is loaded': [
      "throw new RangeError('early'); export const handler = () => 1;",
      /RangeError: early/,
    ],
    'rejects when it is loaded': [
      "await Promise.reject(new Error('later')); export const handler = () => 1;",
      /Error: later/,
    ],
    'exports no handler': ['export const other = 1;', /exports neither handler/],
    'exports a handler that is none': ['export const handler = 1;', /exports neither handler/],
    'exits when it is loaded': [
      'Deno.exit(4); export const handler = () => 1;',
      /it ended its process with code 4/,
    ],
    'takes all memory when it is loaded': [
      'const kept: unknown[] = []; for (;;) kept.push(new Uint8Array(1e7).fill(1)); export const handler = () => 1;',
      /it used more than 128 MB/,
    ],
    'floods its output when it is loaded': [
      "for (;;) console.log('x'.repeat(1e5)); export const handler = () => 1;",
      /it wrote more than 16 MB/,
    ],
  };
  for (const [what, [code, message]] of Object.entries(refused)) {
    it(`${what}, which is told`, async () => {
      await deploy(answering('old'));
      await expect(deploy({ code })).rejects.toMatchObject({
        code: 'invalid_argument',
        message: expect.stringMatching(message),
        issues: [{ path: 'source' }],
      });
      expect(await call()).toBe('old');
      expect(await client.listFunctions(NEVER)).toMatchObject([{ version: '1', versions: ['1'] }]);
      expect(readdirSync(join(functions(), '.versions', 'f'))).toEqual(['1']);
    });
  }

  it('never ends loading', async () => {
    const hasty = {
      ...systemClock,
      after: (ms: number, task: () => void) => systemClock.after(ms / 40, task),
    };
    const quick = await reopen({ clock: hasty });
    await deploy(answering('old'), quick);
    await expect(deploy({ code: 'for (;;); export const handler = () => 1;' }, quick)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('it was not loaded after 10 s'),
    });
    expect(await call(quick)).toBe('old');
  });

  it('is still being loaded when the caller gives up', async () => {
    await deploy(answering('old'));
    const caller = new AbortController();
    const code = `console.log('x'); for (;;); export const handler = () => 1;`;
    const given = deploy({ code }, client, caller.signal);
    await expect.poll(() => readdirSync(join(functions(), '.versions', 'f'))).toEqual(['1', '2']);
    caller.abort();
    await expect(given).rejects.toMatchObject({ code: 'cancelled' });
    expect(await call()).toBe('old');
    expect(readdirSync(join(functions(), '.versions', 'f'))).toEqual(['1']);
  });
});

describe('a deploy', () => {
  it('never leaves a moment in which no version answers', async () => {
    await deploy(answering(0));
    let isDone = false;
    const answers: unknown[] = [];
    const caller = (async () => {
      while (!isDone) answers.push(await call());
    })();
    for (const n of [1, 2, 3, 4]) await deploy(n % 2 === 0 ? { version: '1' } : answering(n));
    isDone = true;
    await caller;
    expect(answers.length).toBeGreaterThan(4);
    expect([...new Set(answers)].every((answer) => [0, 1, 3].includes(Number(answer)))).toBe(true);
    expect(await call()).toBe(0);
  });

  it('loads the function in the process that its first call then finds', async () => {
    await deploy({ code: 'const at = Date.now(); export const handler = () => at;' });
    const deployedMs = Date.now();
    expect(await call()).toBeLessThanOrEqual(deployedMs);
  });
});
