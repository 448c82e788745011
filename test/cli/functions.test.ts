import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drivers } from '../../src/drivers.generated.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { type RunningServer, startServer } from '../../src/server/serve.ts';
import { fakeVector } from '../server/fake-drivers.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

/** Parsed; tests look into it freely. */
const json = ({ stdout }: Outcome): never => JSON.parse(stdout) as never;

const ID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const AT = '\\d{4}-\\d\\d-\\d\\dT\\S+Z';

// The same commands, once on the data directory and once through a server: both must answer alike.
describe.each(['in process', 'over HTTP'])('%s', (way) => {
  let folder: string;
  let run: ReturnType<typeof typing>;
  let registry: ConnectorRegistry | undefined;
  let server: RunningServer | undefined;

  const put = async (path: string, content: string) => {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    return file;
  };
  const deploy = async (name: string, code: string) =>
    run(['functions', 'deploy', 'jobs', await put(`${name}.ts`, code)]);
  const accepted = async (name: string, ...more: readonly string[]): Promise<string> =>
    json(await run(['functions', 'invoke', 'jobs', name, '--async', '--json', ...more]))['request_id'];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'connectors-functions-'));
    const dataDir = join(folder, 'data');
    run = typing({ env: { CONNECTORS_DATA_DIR: dataDir, CONNECTORS_TENANT: 'acme' } });
    if (way === 'over HTTP') {
      const all = { ...drivers, 'vector/fake': async () => ({ default: fakeVector }) };
      registry = await ConnectorRegistry.open({ dataDir, drivers: all, graceMs: 100 });
      server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
      const { key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' });
      run = typing({
        env: { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key, CONNECTORS_TENANT: 'acme' },
      });
    }
    await run('create jobs --type serverless');
    await run('create notes --type file');
    await deploy('double', 'export const handler = ({ n }: { n: number }) => n * 2;');
    await deploy('throws', 'export const handler = () => { throw new RangeError("too far"); };');
    await deploy('speaks', 'export const handler = (words: string) => { console.log(words); };');
  });

  afterAll(async () => {
    await server?.close();
    await registry?.close();
    await rm(folder, { recursive: true });
  });

  it('deploys a file by its name or another, rolls back, lists and removes', async () => {
    const file = await put('greet.ts', 'export const handler = () => "first";');
    const deployed = (stdout: string) => ({ code: 0, stdout, stderr: '' });
    expect(await run(['functions', 'deploy', 'jobs', file])).toEqual(deployed('deployed greet, version 1\n'));
    await put('greet.ts', 'export const handler = () => "second";');
    expect(await run(['functions', 'deploy', 'jobs', file])).toEqual(deployed('deployed greet, version 2\n'));
    const renamed = await run(['functions', 'deploy', 'jobs', file, '--name', 'greet-2', '--json']);
    expect(json(renamed)).toMatchObject({ name: 'greet-2', version: '1' });
    expect(await run('functions deploy jobs --name greet --version 1')).toEqual(
      deployed('deployed greet, version 1\n'),
    );
    expect((await run('functions invoke jobs greet')).stdout).toMatch(/\n"first"\n$/);
    const { stdout } = await run('functions ls jobs');
    expect(stdout).toMatch(/^NAME +RUNTIME +MODIFIED +VERSION +EARLIER +DESCRIPTION\n/);
    expect(stdout).toMatch(new RegExp(`^greet +\\S+.* ${AT} +1 +2 +-$`, 'm'));
    expect(await run('functions rm jobs greet')).toEqual(deployed('removed greet\n'));
    expect(await run('functions remove jobs greet')).toEqual(deployed('there is no function greet\n'));
    expect(json(await run('functions rm jobs greet --json'))).toEqual({ deleted: false });
    expect(await run('functions invoke jobs greet')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^error: .*no function is named greet; see `connectors functions ls` \(not_found\)\n$/,
      ),
    });
    await run('functions rm jobs greet-2');
  });

  it('deploys a folder with what it imports, without what is hidden, no text or a link', async () => {
    await put('adder/index.ts', "import { one } from './lib/one.ts'; export const handler = () => one + 1;");
    await put('adder/lib/one.ts', 'export const one: number = 1;');
    await put('adder/.vscode/settings.json', '{}');
    await put('adder/.env', 'SECRET=1');
    await writeFile(join(folder, 'adder/logo.png'), Uint8Array.of(0xff, 0xd8));
    await symlink('/etc', join(folder, 'adder/etc'));
    const deployed = await run(['functions', 'deploy', 'jobs', join(folder, 'adder')]);
    expect(deployed).toEqual({ code: 0, stdout: 'deployed adder, version 1\n', stderr: '' });
    expect(json(await run('functions invoke jobs adder --json'))).toMatchObject({ result: 2 });
    const again = await run(['functions', 'deploy', 'jobs', `${join(folder, 'adder')}/`, '--json']);
    expect(json(again)).toMatchObject({ name: 'adder', version: '2', versions: ['2', '1'] });
    await run('functions rm jobs adder');
  });

  it.each<[string, () => Promise<readonly string[]>, number, RegExp]>([
    [
      'neither a source nor a version',
      async () => [],
      2,
      /^error: name a file or folder to deploy, or a --version/,
    ],
    [
      'a version without a name',
      async () => ['--version', '1'],
      2,
      /--version goes with --name and without a source/,
    ],
    [
      'a version and a source',
      async () => [await put('a.ts', ''), '--name', 'a', '--version', '1'],
      2,
      /--version goes with --name and without a source/,
    ],
    [
      'a version that there is not',
      async () => ['--name', 'double', '--version', '9'],
      1,
      /9.*\(not_found\)/,
    ],
    ['what is not there', async () => [join(folder, 'none.ts')], 1, /none\.ts: .*\(not_found\)/],
    [
      'an empty folder',
      async () => [dirname(await put('empty/.keep', ''))],
      2,
      /empty holds no source file: \.ts/,
    ],
    [
      'a folder without an index',
      async () => [dirname(await put('two/a.ts', '')), dirname(await put('two/b.ts', ''))].slice(1),
      2,
      /has a file index with one of \.ts/,
    ],
    [
      'another language',
      async () => [await put('main.py', 'x = 1')],
      2,
      /ends with one of \.ts \.mts \.js \.mjs/,
    ],
    ['a name that is none', async () => [await put('a b.ts', 'export {};')], 2, /name/],
    [
      'what does not build',
      async () => [await put('bad.ts', 'export const handler = (')],
      2,
      /index\.ts:1:24: /,
    ],
    [
      'a folder with too many files',
      async () => [await crowded()],
      2,
      /more than 1000 source files.*npx esbuild/,
    ],
  ])('refuses to deploy %s in one line, and changes nothing', async (_what, args, code, message) => {
    const before = (await run('functions ls jobs --json')).stdout;
    const refused = await run(['functions', 'deploy', 'jobs', ...(await args())]);
    expect({ code: refused.code, stdout: refused.stdout }).toEqual({ code, stdout: '' });
    expect(refused.stderr).toMatch(message);
    expect(refused.stderr).toMatch(/^error: [^\n]*\n$/);
    expect((await run('functions ls jobs --json')).stdout).toBe(before);
  });

  async function crowded(): Promise<string> {
    const crowd = Array.from({ length: 1_001 }, (_, i) => put(`crowd/f${i}.ts`, ''));
    return dirname((await Promise.all(crowd))[0] ?? '');
  }

  it('shows what a function answered, and fails where it failed', async () => {
    const done = await run(['functions', 'invoke', 'jobs', 'double', '--payload', '{"n":21}']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toMatch(
      new RegExp(`^function +double\nrequest +${ID}\nstatus +completed\nduration +\\S+ ms\n42\n$`),
    );
    const failed = await run('functions invoke jobs throws');
    expect(failed).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^status +failed\n(?:.*\n)*error +RangeError: too far$/m),
      stderr: 'error: function throws failed: too far (backend_error)\n',
    });
    expect(json(await run('functions invoke jobs throws --json'))).toMatchObject({ status: 'failed' });
    const bad = await run(['functions', 'invoke', 'jobs', 'double', '--payload', '{n:']);
    expect(bad).toMatchObject({ code: 2, stdout: '' });
    const piped = await run('functions invoke jobs double --payload - --json', { stdin: '{"n": 4}' });
    expect(json(piped)).toMatchObject({ result: 8 });
  });

  it('accepts an invocation and shows its end later', async () => {
    const queued = await run(['functions', 'invoke', 'jobs', 'double', '--payload', '{"n":3}', '--async']);
    expect(queued.code).toBe(0);
    const id = new RegExp(`^request +(${ID})$`, 'm').exec(queued.stdout)?.[1] ?? '';
    const shown = await run(['functions', 'result', 'jobs', id, '--wait']);
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout).toMatch(
      new RegExp(
        `^function +double\nrequest +${id}\nstatus +completed\naccepted +${AT}\nended +${AT}\nduration .*\n6\n$`,
      ),
    );
    expect(json(await run(['functions', 'result', 'jobs', id, '--json']))).toMatchObject({ result: 6 });
    const failing = await accepted('throws');
    const failed = await run(['functions', 'result', 'jobs', failing, '--wait', '30']);
    expect(failed).toMatchObject({
      code: 1,
      stderr: 'error: function throws failed: too far (backend_error)\n',
    });
    const unknown = await run('functions result jobs none --wait');
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /: no such invocation; see `connectors functions invocations` \(not_found\)/,
      ),
    });
  });

  it('lists invocations as a table, in pages and as JSON', async () => {
    await run('create listed --type serverless');
    expect(await run('functions invocations listed')).toEqual({
      code: 0,
      stdout: 'no invocations\n',
      stderr: '',
    });
    await run(['functions', 'deploy', 'listed', join(folder, 'double.ts')]);
    await run(['functions', 'deploy', 'listed', join(folder, 'throws.ts')]);
    const requests: string[] = [];
    for (const name of ['double', 'throws', 'double']) {
      const answer = await run([
        'functions',
        'invoke',
        'listed',
        name,
        '--payload',
        '{"n":1}',
        '--async',
        '--json',
      ]);
      const { request_id: id } = json(answer) as { request_id: string };
      await run(['functions', 'result', 'listed', id, '--wait']);
      requests.unshift(id);
    }
    const ls = (args: string) => run(`functions invocations listed ${args}`.trim());
    const rows = async (args: string) =>
      [...(await ls(args)).stdout.matchAll(new RegExp(`^${ID}`, 'gm'))].map(([id]) => id);
    const { stdout } = await ls('');
    expect(stdout).toMatch(/^REQUEST +FUNCTION +STATUS +ACCEPTED +MS +ERROR\n/);
    expect(stdout).toMatch(
      new RegExp(`^${requests[1]} +throws +failed +${AT} +[\\d.]+ +RangeError: too far$`, 'm'),
    );
    expect(stdout).not.toContain('more:');
    expect(await rows('')).toEqual(requests);
    expect(await rows('--function double')).toEqual([requests[0], requests[2]]);
    expect(await rows('--status failed')).toEqual([requests[1]]);
    expect(await rows('--since 2020-01-01T00:00:00+01:00')).toEqual(requests);
    expect((await ls('--until 2020-01-01T00:00:00Z')).stdout).toBe('no invocations\n');
    const first = await ls('--limit 2');
    const cursor = /^more: (--cursor \S+)$/m.exec(first.stdout)?.[1] ?? '';
    expect(await rows(`--limit 2 ${cursor}`)).toEqual([requests[2]]);
    expect(json(await ls('--limit 1 --json'))).toMatchObject({
      invocations: [{ request_id: requests[0] }],
      next_cursor: expect.any(String),
    });
  });

  it('shows what a function wrote, without what would move a cursor', async () => {
    const said = 'one\u001b[2Jtwo';
    await run(['functions', 'invoke', 'jobs', 'speaks', '--payload', JSON.stringify('zero')]);
    await run(['functions', 'invoke', 'jobs', 'speaks', '--payload', JSON.stringify(said)]);
    const { code, stdout } = await run('functions logs jobs speaks --limit 1');
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^${AT}  ${ID}  one.*two\n$`));
    expect(stdout).not.toContain('\u001b');
    expect(json(await run('functions logs jobs speaks --json'))).toMatchObject({
      logs: [{ text: 'zero\n' }, { text: `${said}\n` }],
    });
    await deploy('silent', 'export const handler = () => null;');
    expect((await run('functions logs jobs silent')).stdout).toBe('silent wrote nothing\n');
    expect((await run('functions logs jobs none')).code).toBe(1);
  });

  if (way === 'over HTTP') {
    it('cancels what runs, and shows what has ended as it ended', async () => {
      await deploy('endless', 'export const handler = () => new Promise((r) => setTimeout(r, 1e9));');
      const id = await accepted('endless');
      const waiting = run(['functions', 'result', 'jobs', id, '--wait']);
      const cancelled = await run(['functions', 'cancel', 'jobs', id]);
      expect(cancelled).toMatchObject({ code: 0, stderr: '' });
      expect(cancelled.stdout).toMatch(/^status +cancelled$/m);
      expect(await waiting).toMatchObject({
        code: 1,
        stderr: 'error: function endless is cancelled (backend_error)\n',
      });
      expect((await run(['functions', 'cancel', 'jobs', id])).stdout).toBe(cancelled.stdout);
      expect((await run('functions cancel jobs none')).code).toBe(1);
    });

    it('waits no longer than it was told, and shows that it goes on', async () => {
      const id = await accepted('endless');
      const shown = await run(['functions', 'result', 'jobs', id, '--wait', '0.05']);
      expect(shown).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^status +(?:running|queued)$/m),
      });
      await run(['functions', 'cancel', 'jobs', id]);
    });

    it('stops waiting when it is interrupted, and leaves the invocation alone', async () => {
      const id = await accepted('endless');
      const interrupt = new AbortController();
      const waiting = run(['functions', 'result', 'jobs', id, '--wait'], { signal: interrupt.signal });
      const state = async () => json(await run(['functions', 'result', 'jobs', id, '--json']))['status'];
      await expect.poll(state).toBe('running');
      interrupt.abort();
      expect((await waiting).code).not.toBe(0);
      expect(await state()).toBe('running');
      await run(['functions', 'cancel', 'jobs', id]);
    });
  }

  it.each([
    ['functions ls notes', 1, /"notes" is of type file; this needs type serverless \(unsupported\)/],
    ['functions result jobs x --wait soon', 2, /it is not a number/],
    ['functions invocations jobs --status gone', 2, /Allowed choices are queued, running, completed, failed/],
    ['functions invocations jobs --since yesterday', 2, /since/],
    ['functions invocations jobs --limit 0', 2, /limit/],
    ['functions invocations jobs --cursor x', 2, /cursor is one that a listing answered/],
    ['functions logs jobs speaks --limit 1001', 2, /limit/],
    ['functions invoke jobs double --timeout-seconds 0', 2, /timeout_seconds/],
    ['functions cancel jobs', 2, /missing required argument 'request-id'/],
    ['functions deploy nowhere x.ts', 1, /not_found/],
  ])('answers `%s` with what to do', async (args, code, message) => {
    const { stderr, ...rest } = await run(args);
    expect(rest).toEqual({ code, stdout: '' });
    expect(stderr).toMatch(message);
  });
});
