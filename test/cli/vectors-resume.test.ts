import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConnectorError } from '../../src/driver.ts';
import { drivers } from '../../src/drivers.generated.ts';
import { ConnectorRegistry } from '../../src/registry/registry.ts';
import { serverLogger } from '../../src/server/logging.ts';
import { type RunningServer, startServer } from '../../src/server/serve.ts';
import { breakable, refusal } from './breakable.fixture.ts';
import { type Outcome, typing } from './terminal.fixture.ts';

// Of the failures that pass by themselves the one for which no circuit breaker opens.
const down = (): never => {
  throw new ConnectorError('rate_limited', 'the backend is busy');
};
/** So many that the third slice breaks, each of them small enough to be sent whole before it does. */
const LINES = 25_000;
const FEWER = 15_000;

let folder: string;
let file: string;
let registry: ConnectorRegistry;
let server: RunningServer;
let backend: ReturnType<typeof breakable>;
let run: ReturnType<typeof typing>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-resume-'));
  file = join(folder, 'data.ndjson');
  backend = breakable();
  const { driver } = backend;
  const all = { ...drivers, 'vector/breakable': async () => ({ default: driver }) };
  registry = await ConnectorRegistry.open({ dataDir: join(folder, 'data'), drivers: all });
  server = await startServer({ registry, port: 0, logger: serverLogger({ level: 'silent' }) });
  const { key } = await registry.keys.create({ tenantId: 'acme', role: 'operator' });
  run = typing({
    env: {
      CONNECTORS_URL: server.url,
      CONNECTORS_API_KEY: key,
      CONNECTORS_TENANT: 'acme',
      CONNECTORS_STATE_DIR: join(folder, 'state'),
    },
  });
  for (const name of ['a', 'b']) {
    const made = await run(`create ${name} --type vector --provider breakable --dimension 2 --max-retries 0`);
    if (made.code !== 0) throw new Error(made.stderr);
  }
});

afterEach(async () => {
  await server.close();
  await registry.close();
  await rm(folder, { recursive: true });
});

const states = () => readdir(join(folder, 'state')).catch(() => []);
const json = ({ stdout }: Outcome): unknown => JSON.parse(stdout);

async function writeLines(count = LINES): Promise<void> {
  const lines = Array.from({ length: count }, (_, i) => `{"id":"${i}","values":[${i + 1},1]}`);
  await writeFile(file, lines.join('\n'));
}

/** The ids that a copy compares in the end. */
const compared: string[] = [];

/** The backend fails with the record of this number and those after it; answers the ids that it was sent. */
function failFrom(number: number): readonly number[] {
  const sent: number[] = [];
  backend.script = (client) => ({
    fetch: (ids, signal) => {
      compared.push(...ids);
      return client.fetch(ids, signal);
    },
    upsert: async (records, signal) => {
      sent.push(...records.map(({ id }) => Number(id)));
      return records.some(({ id }) => Number(id) >= number) ? down() : client.upsert(records, signal);
    },
  });
  return sent;
}

/** The line that a message says an import goes on at. */
const lineOf = ({ stderr }: Outcome): number =>
  Number(/go(?:es|ing) on at line ([\d,]+)/.exec(stderr)?.[1]?.replaceAll(',', ''));

describe('vectors import', () => {
  it('goes on behind the lines that were acknowledged, and sends none of them again', async () => {
    await writeLines();
    failFrom(22_000);
    const broken = await run(['vectors', 'import', 'a', file]);
    expect(broken).toMatchObject({ code: 1, stdout: '' });
    expect(broken.stderr).toMatch(
      /^error: .*the backend is busy; 2\d,\d{3} records are written so far; the same command goes on at line [\d,]+ \(rate_limited\)\n$/,
    );
    const line = lineOf(broken);
    // Two slices of 10,000 lines, or more that a slow machine cut earlier.
    expect(line).toBeGreaterThan(10_000);
    expect(line).toBeLessThanOrEqual(22_001);
    expect(await states()).toHaveLength(1);

    const sent = failFrom(Infinity);
    const resumed = await run(['vectors', 'import', 'a', file]);
    expect(resumed).toMatchObject({ code: 0, stdout: `${LINES} written, 0 refused\n` });
    expect(lineOf(resumed)).toBe(line);
    expect(sent.toSorted((x, y) => x - y)).toEqual(
      Array.from({ length: LINES - line + 1 }, (_, i) => line - 1 + i),
    );
    expect((await run('vectors count a')).stdout).toBe(`${LINES}\n`);
    expect(await states()).toEqual([]);
  });

  it.each(['content', 'date'])(
    'begins anew, and says so, where the %s of the file has changed',
    async (what) => {
      await writeLines(FEWER);
      failFrom(12_000);
      await run(['vectors', 'import', 'a', file]);
      if (what === 'date') await utimes(file, 1, 1);
      else await writeLines(FEWER + 1);
      const sent = failFrom(Infinity);
      const { code, stderr } = await run(['vectors', 'import', 'a', file]);
      expect(code).toBe(0);
      expect(stderr).toMatch(
        /^data\.ndjson has changed since its import was interrupted; beginning at its first line, not at line [\d,]+\n$/,
      );
      expect(sent).toHaveLength(what === 'date' ? FEWER : FEWER + 1);
    },
  );

  it('begins anew where that is asked for, or where the records are gone', async () => {
    await writeLines(FEWER);
    failFrom(12_000);
    await run(['vectors', 'import', 'a', file]);
    const sent = failFrom(14_000);
    expect((await run(['vectors', 'import', 'a', file, '--restart'])).stderr).not.toContain('going on');
    expect(Math.min(...sent)).toBe(0);
    const connector = (await registry.forTenant('acme').list())[0];
    await registry
      .forTenant('acme')
      .vector(connector?.connectorId ?? '')
      .then((a) => a.deleteVectors({ all: true }));
    failFrom(Infinity);
    const { code, stderr } = await run(['vectors', 'import', 'a', file]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^a holds nothing any more of what was imported from data\.ndjson; beginning/);
    expect((await run('vectors count a')).stdout).toBe(`${FEWER}\n`);
  });

  it('keeps imports of other files and into other connectors apart', async () => {
    await writeLines(FEWER);
    failFrom(12_000);
    await run(['vectors', 'import', 'a', file]);
    failFrom(Infinity);
    expect((await run(['vectors', 'import', 'b', file])).stderr).toBe('');
    const other = join(folder, 'other.ndjson');
    await writeFile(other, '{"id":"x","values":[1,1]}');
    expect((await run(['vectors', 'import', 'a', other])).stderr).toBe('');
    expect((await run(['vectors', 'import', 'a', file])).stderr).toMatch(/going on at line \d/);
  });

  it('names refused records with their lines, writes the others, and fails in the end', async () => {
    await writeLines(12_000);
    backend.script = (client) => ({
      upsert: async (records, signal) => {
        const isRefused = ({ id }: { readonly id: string }) => id === '16' || id === '11500';
        await client.upsert(
          records.filter((record) => !isRefused(record)),
          signal,
        );
        return records.flatMap((record, i) => (isRefused(record) ? [refusal(i, record.id)] : []));
      },
    });
    const { code, stdout, stderr } = await run(['vectors', 'import', 'a', file]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '11998 written, 2 refused\n' });
    expect(stderr.split('\n')).toEqual([
      'refused: line 17 (16): no room (backend_error)',
      'refused: line 11,501 (11500): no room (backend_error)',
      expect.stringMatching(/^error: 2 records were refused, the first is line 17 \(16\): no room/),
      '',
    ]);
    expect(json(await run(['vectors', 'import', 'a', file, '--json']))).toEqual({
      upserted: 11_998,
      failed: 2,
      errors: [
        { line: 17, id: '16', code: 'backend_error', message: 'no room' },
        { line: 11_501, id: '11500', code: 'backend_error', message: 'no room' },
      ],
    });
  });

  it('does not take a batch for refused that failed beside others', async () => {
    await writeLines(1_000);
    backend.script = (client) => ({
      upsert: async (records, signal) => (records[0]?.id === '500' ? down() : client.upsert(records, signal)),
    });
    const { code, stdout, stderr } = await run(['vectors', 'import', 'a', file]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/the backend is busy; .*the same command goes on at line 1 \(rate_limited\)\n$/);
  });

  it('says where stdin is to go on', async () => {
    failFrom(2_000);
    const stdin = Array.from({ length: 3_000 }, (_, i) => `{"id":"${i}","values":[1,1]}`).join('\n');
    const { stderr } = await run('vectors import a -', { stdin });
    expect(stderr).toMatch(
      /2,000 records are written so far; go on with --from-line 2001 \(rate_limited\)\n$/,
    );
    const sent = failFrom(Infinity);
    expect((await run('vectors import a - --from-line 2001', { stdin })).stdout).toBe(
      '1000 written, 0 refused\n',
    );
    expect(sent).toHaveLength(1_000);
    expect(await states()).toEqual([]);
  });
});

describe('vectors copy', () => {
  beforeEach(async () => {
    await writeLines(3_500);
    await run(['vectors', 'import', 'a', file]);
  });

  it('goes on behind the pages that were acknowledged, and compares a sample of all', async () => {
    failFrom(Infinity);
    const whole = json(await run('vectors copy a b --json'));
    const sample = new Set(compared.splice(0));
    expect(sample.size).toBe(100);
    // Of every page.
    expect(new Set([...sample].map((id) => Math.floor(Number(id) / 1_000)))).toEqual(new Set([0, 1, 2, 3]));
    await registry
      .forTenant('acme')
      .list()
      .then(async (all) => {
        const target = all.find(({ name }) => name === 'b');
        await (
          await registry.forTenant('acme').vector(target?.connectorId ?? '')
        ).deleteVectors({ all: true });
      });
    failFrom(2_000);
    const broken = await run('vectors copy a b');
    expect(broken).toMatchObject({ code: 1, stdout: '' });
    expect(broken.stderr).toMatch(
      /^error: .*the backend is busy; 2,000 records are copied; the same command goes on there \(rate_limited\)\n$/,
    );
    const sent = failFrom(Infinity);
    const resumed = await run('vectors copy a b --json');
    expect(resumed).toMatchObject({
      code: 0,
      stderr: 'going on behind 2,000 records; --restart begins anew\n',
    });
    expect(Math.min(...sent)).toBe(2_000);
    expect(json(resumed)).toEqual(whole);
    expect(new Set(compared.splice(0))).toEqual(sample);
    expect(await states()).toEqual([]);
  });

  it('says that a place which the backend has forgotten cannot be gone on from', async () => {
    failFrom(2_000);
    await run('vectors copy a b');
    backend.script = (client) => ({
      list: async (page, signal) =>
        client.list(page.cursor === undefined ? page : { ...page, cursor: 'x' }, signal),
    });
    const { code, stderr } = await run('vectors copy a b');
    expect(code).toBe(2);
    expect(stderr).toContain('does not know any more where the copy stopped, --restart begins anew');
    backend.script = () => ({});
    expect((await run('vectors copy a b --restart')).code).toBe(0);
  });

  it('fails where a record arrives as another one, and says what differs', async () => {
    backend.script = (client) => ({
      upsert: (records, signal) =>
        client.upsert(
          records.map((record) => ({ ...record, text: 'other' })),
          signal,
        ),
    });
    const { code, stdout, stderr } = await run('vectors copy a b');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^sampled records +0 of 100 equal$/m);
    expect(stderr).toMatch(
      /^error: b is not a copy of a: 100 of 100 sampled records differ, for example \d+ /,
    );
  });

  it('fails where a record is lost', async () => {
    backend.script = (client) => ({
      upsert: (records, signal) =>
        client.upsert(
          records.filter(({ id }) => id !== '3200'),
          signal,
        ),
    });
    const { code, stdout, stderr } = await run('vectors copy a b --json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      verified: false,
      counts: { from: 3_500, to: 3_499, before: 0 },
    });
    expect(stderr).toContain('b is not a copy of a: it holds 3,499 records, not 3,500');
  });

  it('fails where searches find other records, unless that is allowed', async () => {
    let searches = 0;
    // Every second search is one of the target's: both are asked at once, the source first.
    const forgetful = { limit: 5 };
    backend.script = (client) => ({
      search: async (vector, query, signal) => {
        const found = await client.search(vector, query, signal);
        return searches++ % 2 === 1 ? found.slice(0, forgetful.limit) : found;
      },
    });
    const { code, stderr } = await run('vectors copy a b');
    expect(code).toBe(1);
    expect(stderr).toMatch(/b is not a copy of a: searches agree on 50 % of 1000 ids, and 99 % are wanted/);
    expect((await run('vectors copy a b --min-agreement 0.5')).code).toBe(0);
    expect((await run('vectors copy a b --min-agreement 1.5')).code).toBe(2);
  });

  it('names the records that the target refuses', async () => {
    backend.script = (client) => ({
      upsert: async (records, signal) => {
        await client.upsert(
          records.filter(({ id }) => id !== '3200'),
          signal,
        );
        return records.flatMap(({ id }, i) => (id === '3200' ? [refusal(i, id)] : []));
      },
    });
    const { code, stderr } = await run('vectors copy a b');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^refused: 3200: no room \(backend_error\)\nerror: 1 record was refused/);
  });
});

it('leaves no file where an export breaks in the middle', async () => {
  await writeLines(5_000);
  await run(['vectors', 'import', 'a', file]);
  backend.script = (client) => ({
    list: async (page, signal) => (Number(page.cursor) >= 2_000 ? down() : client.list(page, signal)),
  });
  const { code, stderr } = await run(['vectors', 'export', 'a', join(folder, 'out.ndjson')]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/the backend is busy/) });
  expect((await readdir(folder)).filter((name) => name.startsWith('out'))).toEqual([]);
});
