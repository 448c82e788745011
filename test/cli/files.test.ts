import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drivers } from '../../src/drivers.generated.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { type RunningServer, startServer } from '../../src/server/serve.ts';
import { fakeFile } from '../server/fake-drivers.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

const json = ({ stdout }: Outcome): unknown => JSON.parse(stdout);

// The same commands, once on the data directory and once through a server: both must answer alike.
describe.each(['in process', 'over HTTP'])('%s', (way) => {
  let folder: string;
  let run: ReturnType<typeof typing>;
  let registry: ConnectorRegistry | undefined;
  let server: RunningServer | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'connectors-files-'));
    const dataDir = join(folder, 'data');
    run = typing({ env: { CONNECTORS_DATA_DIR: dataDir, CONNECTORS_TENANT: 'acme' } });
    await run('create notes --type file');
    await run('create prices --type vector --dimension 2 --metric cosine');
    if (way === 'over HTTP') {
      const all = { ...drivers, 'file/fake': async () => ({ default: fakeFile }) };
      registry = await ConnectorRegistry.open({ dataDir, drivers: all });
      server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
      const { key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' });
      run = typing({
        env: { CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key, CONNECTORS_TENANT: 'acme' },
      });
      await run('create fake --type file --provider fake');
    }
    const put = (path: string, stdin: string) => run(['files', 'put', 'notes', '-', path], { stdin });
    await put('top.txt', 'four');
    await put('a/one.txt', '1'.repeat(3_000));
    await put('a/deep/two.txt', '22');
    await put('b/three.txt', '333');
  });

  afterAll(async () => {
    await server?.close();
    await registry?.close();
    await rm(folder, { recursive: true });
  });

  it('lists with etags and types', async () => {
    const { stdout } = await run('files ls -l notes');
    expect(stdout).toMatch(/^SIZE +MODIFIED +ETAG +TYPE +PATH\n/);
    expect(stdout).toMatch(/^- +\S+ +- +folder +a\/$/m);
    expect(stdout).toMatch(/^4 +\d{4}-\S+Z +[\w-]+ +- +top\.txt$/m);
    const below = await run('files ls -l notes:a/deep');
    expect(below.stdout).toMatch(/^2 .* a\/deep\/two\.txt$/m);
  });

  it('prints a file, by two words or one', async () => {
    expect(await run('files cat notes top.txt')).toEqual({ code: 0, stdout: 'four', stderr: '' });
    expect((await run('files cat notes:a/deep/two.txt')).stdout).toBe('22');
    expect(json(await run('files cat notes:top.txt --json'))).toEqual({
      ...{ path: 'top.txt', size: 4, encoding: 'utf8', content: 'four' },
    });
  });

  it('says what a folder holds, the largest first', async () => {
    const { stdout } = await run('files du notes');
    expect(stdout.split('\n')).toEqual([
      'FOLDER        FILES  SIZE     SHARE',
      expect.stringMatching(/^a\/ +2 +2\.9 KiB +█{20} 100 %$/),
      expect.stringMatching(/^\(files here\) +1 +4 B +░{20} 0 %$/),
      expect.stringMatching(/^b\/ +1 +3 B +░{20} 0 %$/),
      expect.stringMatching(/^total +4 +2\.9 KiB$/),
      '',
    ]);
    expect(json(await run('files du notes /a/ --depth 2 --json'))).toEqual({
      ...{ path: 'a', files: 2, bytes: 3_002 },
      folders: [
        { path: '', files: 1, bytes: 3_000 },
        { path: 'deep', files: 1, bytes: 2 },
      ],
    });
    expect(json(await run('files du notes nothing --json'))).toMatchObject({ files: 0, folders: [] });
  });

  it.each([
    ['files cat notes', 2, 'error: name a file: notes:NAME (invalid_argument)\n'],
    ['files cat notes:nope.txt', 1, /^error: .*: nope\.txt; see `connectors files ls` \(not_found\)\n$/],
    ['files ls prices', 2, 'error: prices is a vector connector; this needs a file one (invalid_argument)\n'],
    ['files ls nope:a', 1, 'error: there is no connector "nope" of tenant acme'],
    ['files du notes --depth 0', 2, /it is not a whole number of at least 1/],
    ['files presign notes top.txt --expires soon', 2, /it is not a time such as 90, 15m, 12h or 7d/],
    ['files presign notes top.txt --expires 8d', 2, /expires_in_seconds/],
  ])('answers `%s` with one line that says what to do', async (args, code, message) => {
    const { stderr, ...rest } = await run(args);
    expect(rest).toEqual({ code, stdout: '' });
    if (typeof message === 'string') expect(stderr).toContain(message);
    else expect(stderr).toMatch(message);
  });

  if (way === 'in process') {
    it('signs nothing where neither the provider does nor a server runs, and says how', async () => {
      const { code, stdout, stderr } = await run('files presign notes top.txt');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toBe(
        'error: this provider signs no addresses itself; start a server that does with `connectors serve`, and ask it with --url (unsupported)\n',
      );
    });
  } else {
    it('prints an address that reads the file, and what to send along when one writes it', async () => {
      const signed = await run('files presign notes top.txt --expires 15m');
      expect(signed).toMatchObject({ code: 0, stderr: expect.stringMatching(/^GET until \S+Z\n$/) });
      expect(await (await fetch(signed.stdout.trim())).text()).toBe('four');
      const put = await run('files presign fake:x --put --content-type text/plain');
      expect(put.stdout).toBe('https://files.example/x?signed\n');
      expect(put.stderr).toContain("send along: -H 'Content-Type: text/plain'\nPUT until ");
      expect(json(await run('files presign fake:x --json'))).toMatchObject({ method: 'GET', headers: {} });
      expect(await run('files presign fake:x --put --max-bytes 5')).toMatchObject({ code: 1 });
    });
  }
});
