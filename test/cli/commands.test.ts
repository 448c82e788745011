import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drivers } from '../../src/drivers.generated.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { type RunningServer, startServer } from '../../src/server/serve.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

type Run = (args: string | readonly string[], options?: { readonly stdin?: string }) => Promise<Outcome>;

const json = ({ stdout }: Outcome): Record<string, unknown> => JSON.parse(stdout) as Record<string, unknown>;

// The same commands, once on the data directory and once through a server: both must answer alike.
describe.each(['in process', 'over HTTP'])('%s', (way) => {
  let folder: string;
  let run: Run;
  let registry: ConnectorRegistry | undefined;
  let server: RunningServer | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'connectors-cli-'));
    const dataDir = join(folder, 'data');
    if (way === 'in process') {
      run = typing({ env: { CONNECTORS_DATA_DIR: dataDir } });
      return;
    }
    registry = await ConnectorRegistry.open({ dataDir, drivers });
    server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
    const { key } = await registry.keys.create({ tenantId: null, role: 'admin' });
    run = typing({ env: { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key } });
    await run('create --type file --tenant acme notes');
  });

  afterAll(async () => {
    await server?.close();
    await registry?.close();
    await rm(folder, { recursive: true });
  });

  beforeAll(async () => {
    await run('create notes --type file --tenant acme');
    await run('create prices --type vector --dimension 2 --metric cosine --tenant acme');
    await run('create jobs --type serverless --tenant acme');
  });

  it('lists connectors as a table, and as JSON in wire names', async () => {
    const { code, stdout, stderr } = await run('list');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^NAME +TYPE +PROVIDER +STATUS +TENANT +ID\n/);
    expect(stdout).toMatch(/^notes +file +local +\w+ +acme +[\w-]+$/m);
    expect(json(await run('list --json --type vector'))).toMatchObject({
      connectors: [{ name: 'prices', connector_type: 'vector', vector_dimension: 2 }],
    });
  });

  it('shows a connector by its name or its id', async () => {
    const byName = json(await run('show notes --json'));
    const byId = json(await run(['show', String(byName['connector_id']), '--json', '--tenant', 'acme']));
    expect(byId).toEqual(byName);
    expect((await run('show notes')).stdout).toMatch(/^name +notes$/m);
  });

  it('changes what an update names and keeps the rest', async () => {
    await run('update prices --option exact_max_mb=16 --timeout-seconds 7');
    const changed = json(await run('update prices --max-retries 1 --json'));
    expect(changed).toMatchObject({
      version: 3,
      config: { timeout_seconds: 7, max_retries: 1, options: { exact_max_mb: 16 } },
    });
  });

  it('deploys a function, invokes it, and keeps it when its successor does not build', async () => {
    const [good, bad] = [join(folder, 'double.ts'), join(folder, 'broken.ts')];
    await writeFile(good, 'export const handler = ({ n }: { n: number }) => n * 2;');
    await writeFile(bad, 'export const handler = (');
    expect(await run(['functions', 'deploy', 'jobs', good])).toMatchObject({
      code: 0,
      stdout: 'deployed double, version 1\n',
    });
    const refused = await run(['functions', 'deploy', 'jobs', bad, '--name', 'double']);
    expect(refused).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('index.ts:1:24: '),
    });
    const invoked = await run(['functions', 'invoke', 'jobs', 'double', '--payload', '{"n": 21}', '--json']);
    expect(json(invoked)).toMatchObject({ status: 'completed', result: 42 });
  });

  it('tests a connector stage by stage', async () => {
    const { code, stdout } = await run('test notes');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^STAGE +RESULT +MS +MESSAGE\n(?:\w+ +ok .*\n)+$/);
    expect(json(await run('test notes --json'))).toMatchObject({ ok: true });
  });

  it('writes vectors from stdin and searches them', async () => {
    const lines =
      '{"id":"a","values":[1,0],"metadata":{"year":2024}}\n{"id":"b","values":[0,1],"text":"bee"}\n';
    expect(await run('vectors upsert prices -', { stdin: lines })).toMatchObject({
      code: 0,
      stdout: '2 written, 0 refused\n',
    });
    expect((await run('vectors count prices')).stdout).toBe('2\n');
    expect((await run(['search', 'prices', '--vector', '[1, 0.1]'])).stdout).toMatch(/^0\.998 {2}a\n/);
    const filtered = [
      'search',
      'prices',
      '--vector',
      '[0, 1]',
      '--filter',
      '{"year": {"$gte": 2024}}',
      '--json',
    ];
    expect(json(await run(filtered))).toMatchObject({ matches: [{ id: 'a', score: 0.5 }] });
  });

  it('says which line of the vectors is wrong', async () => {
    const { code, stderr } = await run('vectors upsert prices -', { stdin: '{"id":"c","values":[1]}\n' });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: .*lines\[1\]\.values.*\n$/);
  });

  it('puts, lists, gets and removes files', async () => {
    expect((await run('files put notes - a/hello.txt', { stdin: 'hello\n' })).stdout).toBe(
      'wrote a/hello.txt, 6 bytes\n',
    );
    expect((await run('files ls notes')).stdout).toMatch(/^a\/ +-/m);
    expect(json(await run('files ls notes -r --json'))).toMatchObject({
      files: [{ path: 'a/hello.txt', size: 6 }],
    });
    expect((await run('files get notes a/hello.txt -')).stdout).toBe('hello\n');
    const copy = join(folder, 'copy.txt');
    await run(['files', 'get', 'notes', 'a/hello.txt', copy]);
    expect(await readFile(copy, 'utf8')).toBe('hello\n');
    await run(['files', 'put', 'notes', copy, 'b.txt']);
    expect((await run(['files', 'put', 'notes', copy, 'b.txt', '--no-overwrite'])).code).toBe(1);
    expect((await run('files rm notes b.txt')).stdout).toBe('removed b.txt\n');
    expect(await run('files rm notes b.txt')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no file b.txt'),
    });
  });

  it('makes keys that are shown once, lists and revokes them', async () => {
    const made = json(await run('keys create --role reader --tenant acme --label ci --json'));
    expect(made).toMatchObject({ role: 'reader', tenant_id: 'acme', key: expect.stringMatching(/^crk_/) });
    const listed = await run('keys list');
    expect(listed.stdout).toMatch(/reader +acme +ci/);
    expect(listed.stdout).not.toContain(String(made['key']));
    expect((await run(['keys', 'revoke', String(made['key_id'])])).code).toBe(0);
    expect((await run(['keys', 'revoke', String(made['key_id'])])).code).toBe(1);
    expect((await run('keys create --role admin')).stdout).toMatch(/^crk_\S+\n$/);
  });

  it('shows figures and providers', async () => {
    expect((await run('stats --tenant acme')).stdout).toMatch(/^connectors +3 \(/);
    expect(json(await run('stats --tenant nobody --json'))).toMatchObject({ total_connectors: 0 });
    expect((await run('providers')).stdout).toMatch(/^vector +embedded/m);
    expect(json(await run('providers --json'))).toHaveProperty('providers[0].options');
  });

  it('deletes a connector once', async () => {
    await run('create gone --type file --tenant acme');
    expect((await run('delete gone')).stdout).toMatch(/^deleted gone \(/);
    expect((await run('delete gone')).code).toBe(1);
  });

  it('keeps a credential out of every output', async () => {
    const file = join(folder, 'secret.txt');
    await writeFile(file, 'canary-4711\n');
    const args = [
      'create',
      'sealed',
      '--type',
      'file',
      '--tenant',
      'acme',
      '--credential',
      `api_key=@${file}`,
      '--json',
    ];
    const outcomes = [
      await run(args),
      await run('show sealed'),
      await run('show sealed --json'),
      await run('list --json'),
    ];
    for (const { stdout, stderr } of outcomes) expect(stdout + stderr).not.toContain('canary-4711');
  });

  it('names the tenants where several have a connector of that name', async () => {
    await run('create twice --type file --tenant acme');
    await run('create twice --type file --tenant other');
    const { code, stderr } = await run('show twice');
    expect(code).toBe(2);
    expect(stderr).toBe(
      'error: several tenants have a "twice" (acme, other); name one with --tenant (invalid_argument)\n',
    );
    expect(json(await run('show twice --tenant other --json'))).toMatchObject({ tenant_id: 'other' });
  });

  it.each([
    ['show nope', 1, 'error: there is no connector "nope"; see `connectors list` (not_found)\n'],
    [
      'show notes --tenant other',
      1,
      'error: there is no connector "notes" of tenant other; see `connectors list` (not_found)\n',
    ],
    [
      'create x --type file',
      2,
      'error: a connector belongs to a tenant; name it with --tenant (invalid_argument)\n',
    ],
    ['search prices', 2, 'error: give --vector or --text (invalid_argument)\n'],
    [
      'search prices --text hello',
      1,
      'error: prices was not filled by the tour; give --vector instead of --text (unsupported)\n',
    ],
  ])('answers `%s` with one line that says what to do', async (args, code, stderr) => {
    expect(await run(args)).toEqual({ code, stdout: '', stderr });
  });
});

it('finds a connector by its name among more than one page of them', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'connectors-cli-'));
  const registry = await ConnectorRegistry.open({ dataDir, drivers });
  const names = Array.from({ length: 1_001 }, (_, at) => `c${String(at).padStart(4, '0')}`);
  await registry.createMany(
    names.map((name) => ({ tenantId: 'acme', name, connectorType: 'file' as const })),
  );
  await registry.close();
  const { code, stdout } = await typing({ env: { CONNECTORS_DATA_DIR: dataDir } })('show c1000');
  await rm(dataDir, { recursive: true });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^name +c1000$/m);
});

describe('wrong usage', () => {
  const run = typing({ env: { CONNECTORS_DATA_DIR: join(tmpdir(), 'never-made') } });

  it.each([
    ['lst', /Did you mean list\?/],
    ['create x', /required option '--type <type>'/],
    ['create x --type ftp', /Allowed choices are vector, file, serverless/],
    ['search x --vector nonsense', /it is not JSON/],
    ['search x --vector [1] --text a', /cannot be used with/],
    ['list --limit many', /it is not a number/],
    ['list extra', /too many arguments/],
  ])('ends `%s` with 2 before anything is opened', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });

  it('names a bad setting', async () => {
    const { code, stderr } = await run('list', { env: { CONNECTORS_PORT: 'high' } });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: CONNECTORS_PORT: /);
  });

  it('shows an example in the help of every command', async () => {
    const groups = ['vectors', 'files', 'functions', 'keys', 'keyring'];
    const subcommands = async (args: readonly string[]): Promise<readonly string[]> => {
      const { stdout } = await run([...args, '--help']);
      const listed = /Commands:\n([^]*?)\n(?:\n|$)/.exec(stdout)?.[1] ?? '';
      return [...listed.matchAll(/^ {2}([a-z]+)/gm)]
        .map(([, name]) => name ?? '')
        .filter((name) => name !== 'help');
    };
    const all = [];
    for (const name of await subcommands([])) {
      if (!groups.includes(name)) all.push([name]);
      else for (const inner of await subcommands([name])) all.push([name, inner]);
    }
    expect(all.length).toBeGreaterThan(20);
    for (const command of all)
      expect((await run([...command, '--help'])).stdout).toMatch(/Examples?:\n {2}\S/);
  });
});

describe('a server that cannot be used', () => {
  it('asks for a key', async () => {
    const { code, stderr } = await typing()('list --url http://127.0.0.1:1');
    expect(code).toBe(1);
    expect(stderr).toBe(
      'error: the server at http://127.0.0.1:1 wants an API key; set CONNECTORS_API_KEY or give --api-key (unauthenticated)\n',
    );
  });

  it('says how to start one that does not answer', async () => {
    const { code, stderr } = await typing()('list --url http://127.0.0.1:1 --api-key x');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^error: no server answers at http:\/\/127\.0\.0\.1:1; start one with: connectors serve/,
    );
  });

  it('refuses a key that is not valid', async () => {
    await using registry = await ConnectorRegistry.open({ drivers });
    const server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
    const { code, stderr } = await typing()(`list --url ${server.url} --api-key wrong`);
    await server.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: the API key is not valid.*\(unauthenticated\)\n$/);
  });
});
