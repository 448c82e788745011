import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { drivers } from '../../src/drivers.generated.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { type RunningServer, startServer } from '../../src/server/serve.ts';
import { numbers } from '../../src/testing/vector-suite.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

type Run = (args: string | readonly string[], options?: { readonly stdin?: string }) => Promise<Outcome>;
type Json = Readonly<Record<string, unknown>>;

const json = ({ stdout }: Outcome): Json => JSON.parse(stdout) as Json;

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** Records as other programs write them: every kind of metadata, and numbers at the edges of float32. */
const ODD = [
  `{"id":"plain","values":[0.1,0.2,0.3]}`,
  `{"id":"a \\"quoted\\" id\\n","values":[3.4028235e+38,1e-45,-1.1754944e-38],"text":"line\\nline \\u2028 é 🙂"}`,
  `{"id":"__proto__","values":[1,-1,0.33333334],"metadata":{"__proto__":{"constructor":1},"a.b":null,"$or":[]}}`,
  `{"id":"é","values":[16777216,0.5,8589974000],"metadata":{"n":{"n":{"n":[1,"1"]}},"t":true,"big":9007199254740992},"text":""}`,
  `{"id":"empty","values":[1e-7,123456.79,-0.0625],"metadata":{}}`,
].join('\n');

/** Lines as what they mean: records by their ids. */
function records(lines: string): ReadonlyMap<string, unknown> {
  const parsed = lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { readonly id: string; readonly values: readonly number[] });
  return new Map(parsed.map((record) => [record.id, record]));
}

// The same commands, once on the data directory and once through a server: both must do alike.
describe.each(['in process', 'over HTTP'])('%s', (way) => {
  let folder: string;
  let run: Run;
  let registry: ConnectorRegistry | undefined;
  let server: RunningServer | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'connectors-vectors-'));
    const dataDir = join(folder, 'data');
    const env = { CONNECTORS_STATE_DIR: join(folder, 'state'), CONNECTORS_TENANT: 'acme' };
    if (way === 'in process') {
      run = typing({ env: { ...env, CONNECTORS_DATA_DIR: dataDir } });
    } else {
      registry = await ConnectorRegistry.open({ dataDir, drivers });
      server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
      const { key } = await registry.keys.create({ tenantId: null, role: 'admin' });
      run = typing({ env: { ...env, CONNECTORS_URL: server.url, CONNECTORS_API_KEY: key } });
    }
    for (const name of ['odd', 'odd2']) await run(`create ${name} --type vector --dimension 3 --metric dot`);
    for (const name of ['from', 'to', 'busy']) await run(`create ${name} --type vector --dimension 8`);
    await run('create notes --type file');
    const many = numbers(2_500, 8).map((values, i) =>
      JSON.stringify({ id: `v${i}`, values, metadata: { i, half: i / 2 }, text: `text ${i}` }),
    );
    await writeFile(join(folder, 'many.ndjson'), many.join('\n'));
  });

  afterAll(async () => {
    await server?.close();
    await registry?.close();
    await rm(folder, { recursive: true });
  });

  it('imports a file and says what became of it, and the alias does as well', async () => {
    expect(await run(['vectors', 'import', 'from', join(folder, 'many.ndjson')])).toEqual({
      code: 0,
      stdout: '2500 written, 0 refused\n',
      stderr: '',
    });
    const again = await run(['vectors', 'upsert', 'from', join(folder, 'many.ndjson'), '--json']);
    expect(json(again)).toEqual({ upserted: 2_500, failed: 0, errors: [] });
    expect(await readdir(join(folder, 'state'))).toEqual([]);
  });

  it('refuses a connector of files as export and copy do', async () => {
    await run('create some-files --type file');
    expect(await run('vectors import some-files -', { stdin: '' })).toEqual({
      ...{ code: 2, stdout: '' },
      stderr: 'error: some-files is a file connector; this needs a vector one (invalid_argument)\n',
    });
  });

  it('begins where --from-line says, and names lines by their place in the whole', async () => {
    const stdin = `${'not a record\n'.repeat(4)}\n{"id":"x","values":[1,2,3]}\n{"id":"y","values":[1]}\n`;
    const { code, stderr } = await run('vectors import odd - --from-line 5', { stdin });
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(
        /lines\[7\]\.values is an array of 3 numbers, not 1; no records are written so far; correct it, and go on with --from-line 5 \(invalid_argument\)\n$/,
      ),
    });
    expect((await run('vectors import odd - --from-line 8', { stdin })).stdout).toBe(
      '0 written, 0 refused\n',
    );
    expect(await run('vectors import odd - --from-line 100', { stdin })).toEqual({
      ...{ code: 0, stdout: '0 written, 0 refused\n' },
      stderr: 'stdin ends before line 100, so nothing is written\n',
    });
    expect((await run('vectors import odd - --from-line 0', { stdin })).code).toBe(2);
    expect((await run('vectors import odd - --from-line 2 --restart', { stdin })).code).toBe(2);
  });

  it('exports what it imported, and imports what it exported, to the last bit', async () => {
    await run('vectors import odd -', { stdin: ODD });
    const out = join(folder, 'odd.ndjson');
    expect((await run(['vectors', 'export', 'odd', out])).stdout).toBe(`wrote 5 records to ${out}\n`);
    const exported = await readFile(out, 'utf8');
    expect(records(exported)).toEqual(records(ODD));
    await run(['vectors', 'import', 'odd2', out]);
    expect((await run('vectors export odd2')).stdout).toBe(exported);
    expect((await run('vectors export odd2 -')).stdout).toBe(exported);
    expect((await readdir(folder)).sort()).toEqual(['data', 'many.ndjson', 'odd.ndjson', 'state']);
  });

  it('leaves a file that exists alone without --force', async () => {
    const out = join(folder, 'kept.ndjson');
    await writeFile(out, 'mine');
    expect(await run(['vectors', 'export', 'odd', out])).toMatchObject({
      code: 1,
      stderr: `error: ${out} exists; --force replaces it (already_exists)\n`,
    });
    expect(await readFile(out, 'utf8')).toBe('mine');
    expect(json(await run(['vectors', 'export', 'odd', out, '--force', '--json']))).toMatchObject({
      records: 5,
      bytes: (await readFile(out)).length,
    });
    expect((await run('vectors export odd - --json')).code).toBe(2);
  });

  it('copies a collection, and proves that the copy is one', async () => {
    await run(['vectors', 'import', 'from', join(folder, 'many.ndjson')]);
    const { code, stdout, stderr } = await run('vectors copy from to');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^copied +2,500\nrefused +0\n\nCHECK +RESULT\nrecords in from +2,500\nrecords in to +2,500\nsampled records +100 of 100 equal\nsearches +100 % of 1,000 ids agree, 0 with other scores\n$/,
    );
    expect(records((await run('vectors export to')).stdout)).toEqual(
      records((await run('vectors export from')).stdout),
    );
    const again = await run('vectors copy from to --json');
    expect(again.stderr).toBe('to holds 2,500 records already; those with the same ids are replaced\n');
    expect(json(again)).toEqual({
      ...{ copied: 2_500, failed: 0, errors: [], verified: true },
      counts: { from: 2_500, to: 2_500, before: 2_500 },
      records: { compared: 100, differing: [] },
      searches: { searches: 100, ids: 1_000, agreement: 1, other_scores: 0 },
    });
  });

  it('compares the records alone where the target holds others, and says so', async () => {
    await run('vectors import busy -', {
      stdin: '{"id":"mine","values":[1,2,3,4,5,6,7,8]}\n{"id":"v7","values":[1,1,1,1,1,1,1,1]}',
    });
    const { code, stdout, stderr } = await run('vectors copy from busy');
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'busy holds 2 records already; those with the same ids are replaced\n',
    });
    expect(stdout).toContain('records in busy  2,501 (2 before the copy)\n');
    expect(stdout).toMatch(/^searches +not compared: busy holds other records as well$/m);
  });

  it.each([
    ['from odd', 'from holds vectors of dimension 8, and odd takes 3'],
    ['from euclid', 'from measures by cosine, and euclid by euclidean; allow it with --allow-metric-change'],
    ['from from', 'from cannot be copied to itself'],
    ['from notes', 'notes is a file connector; this needs a vector one'],
  ])('refuses to copy %s before anything is written', async (both, message) => {
    await run('create euclid --type vector --dimension 8 --metric euclidean');
    const { code, stdout, stderr } = await run(`vectors copy ${both}`);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`error: ${message}`);
    expect((await run('vectors count euclid')).stdout).toBe('0\n');
  });

  it('copies to another metric where that is allowed, without comparing searches', async () => {
    await run('create dotted --type vector --dimension 8 --metric dot');
    const { code, stdout } = await run('vectors copy from dotted --allow-metric-change --json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      copied: 2_500,
      verified: true,
      searches: { skipped: 'the metric is another one' },
    });
  });

  it('refuses to copy from one tenant to another', async () => {
    await run('create theirs --type vector --dimension 8 --tenant umbrella');
    const everyone = await run('list --json --tenant umbrella');
    const [theirs] = json(everyone)['connectors'] as readonly { readonly connector_id: string }[];
    const { code, stderr } = await run([
      'vectors',
      'copy',
      'from',
      theirs?.connector_id ?? '',
      '--tenant',
      'acme',
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/^error: /);
  });
});

describe('an import by a process of its own', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'connectors-killed-'));
  });

  it(
    'loses nothing to kill -9: the same command goes on behind what was acknowledged',
    { timeout: 120_000 },
    async () => {
      const file = join(folder, 'data.ndjson');
      const lines = 60_000;
      await writeFile(
        file,
        Array.from(
          { length: lines },
          (_, i) => `{"id":"v${i}","values":[${i + 1},1],"text":"${'x'.repeat(200)}"}`,
        ).join('\n'),
      );
      const state = join(folder, 'state');
      const env = {
        CONNECTORS_STATE_DIR: state,
        CONNECTORS_DATA_DIR: join(folder, 'data'),
        CONNECTORS_TENANT: 'acme',
      };
      const run = typing({ env });
      await run('create killed --type vector --dimension 2');
      const child = spawn(process.execPath, [MAIN, 'vectors', 'import', 'killed', file], {
        stdio: 'ignore',
        env: { PATH: process.env['PATH'], ...env },
      });
      const closed = once(child, 'close');
      const acknowledged = async () =>
        (await readdir(state).catch(() => [])).some((name) => name.endsWith('.json'));
      while (!(await acknowledged())) await nextTurn();
      child.kill('SIGKILL');
      const [code, signal] = await closed;
      expect({ code, signal }).toEqual({ code: null, signal: 'SIGKILL' });

      const resumed = await run(['vectors', 'import', 'killed', file]);
      expect(resumed).toMatchObject({ code: 0, stdout: `${lines} written, 0 refused\n` });
      expect(resumed.stderr).toMatch(/^going on at line [\d,]+ of data\.ndjson; --restart begins anew\n$/);
      expect((await run('vectors count killed')).stdout).toBe(`${lines}\n`);
      expect((await readdir(state)).filter((name) => name.endsWith('.json'))).toEqual([]);
      await rm(folder, { recursive: true });
    },
  );
});
