import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

let folder: string;
const running = new Set<ChildProcessByStdio<null, Readable, Readable>>();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connectors-start-'));
});
afterEach(async () => {
  for (const child of running) child.kill('SIGKILL');
  running.clear();
  await rm(folder, { recursive: true });
});

type As = {
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
};

function launch(args: readonly string[], { env, ...user }: As = {}) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], CONNECTORS_DATA_DIR: folder, CONNECTORS_PORT: '0', ...env },
    ...user,
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

async function finished(args: readonly string[], as?: As) {
  const child = launch(args, as);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { code: code as number, stdout, stderr };
}

/** Starts and reads until the server says that it is up. */
async function started(args: readonly string[]) {
  const child = launch(args);
  const complaints = text(child.stderr);
  let shown = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    shown += String(chunk);
    if (shown.includes('Ctrl-C stops.')) break;
  }
  const stop = async () => {
    child.kill('SIGINT');
    const [[code], stderr] = await Promise.all([once(child, 'close'), complaints]);
    return { code: code as number, stderr };
  };
  return { shown, stop, url: /http:\/\/127\.0\.0\.1:\d+/.exec(shown)?.[0] ?? '' };
}

it('starts, walks once, and finds everything again after Ctrl-C', { timeout: 120_000 }, async () => {
  const first = await started(['start']);
  expect(first.shown).toContain('? In which order do the policies wrap a call?');
  expect(first.shown).toMatch(/retry,\s+rate\s+limit,\s+circuit\s+breaker,\s+timeout/);
  expect(first.shown).toMatch(
    /summarize\(\) on the best[^]*sync +completed[^]*async +stored as \S+ .*completed/,
  );
  const key = /CONNECTORS_API_KEY=(crk_\S+)/.exec(first.shown)?.[1] ?? '';
  expect((await stat(join(folder, 'master.key'))).mode & 0o777).toBe(0o600);

  // The commands that it suggests work as they are printed.
  const suggested = first.shown.split('\n').filter((line) => /^ {2}node .*main\.ts /.test(line));
  expect(suggested).toHaveLength(3);
  for (const line of suggested) {
    const child = spawn('sh', ['-c', line.trim().replace(/^node \S+/, `'${process.execPath}' '${MAIN}'`)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'], CONNECTORS_URL: first.url, CONNECTORS_API_KEY: key },
    });
    const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
    expect(code).toBe(0);
    expect(stdout).not.toBe('');
  }

  // While it runs, the directory is its own.
  const refused = await finished(['show', 'demo-files', '--json']);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toMatch(
    new RegExp(
      `in use by process \\d+ \\(${first.url}\\); ask the server instead: .* --url ${first.url} show demo-files --json`,
    ),
  );
  expect((await finished(['tour'])).stderr).toMatch(/stop that process first \(kill \d+\)/);

  const stopped = await first.stop();
  expect(stopped.code).toBe(0);
  // The key is shown once and kept as a hash.
  expect(stopped.stderr).toContain(key);

  const second = await started(['start']);
  expect(second.shown).toContain('Everything is still there from an earlier start: 3 connectors');
  expect(second.shown).not.toContain('? In which order');
  const ended = await second.stop();
  expect(ended.code).toBe(0);
  expect(ended.stderr).not.toContain('crk_');
});

it('says that the port is taken', { timeout: 60_000 }, async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const refused = await finished(['serve', '--port', String(port)]);
  other.close();
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(`cannot listen on 127.0.0.1 port ${port}: another process has it`);
});

it('ends a command that is interrupted with 130', { timeout: 60_000 }, async () => {
  const child = spawn(
    process.execPath,
    [MAIN, 'create', 'x', '--type', 'file', '--tenant', 't', '--credential', 'a=-'],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], CONNECTORS_DATA_DIR: folder },
    },
  );
  child.stdin.write('half a secret');
  // It waits for the rest once the directory is its own.
  while ((await stat(join(folder, 'in-use.json')).catch(() => undefined)) === undefined) await nextTurn();
  child.kill('SIGINT');
  const [code] = await once(child, 'close');
  expect(code).toBe(130);
});

it.runIf(process.getuid?.() === 0)(
  'names a local file that this user may not read, whatever would read it',
  { timeout: 60_000 },
  async () => {
    const file = join(folder, 'closed.ndjson');
    await writeFile(file, '{"id":"a","values":[1,2]}\n', { mode: 0o600 });
    await chmod(folder, 0o777);
    const somebody = { uid: 65_534, gid: 65_534, env: { CONNECTORS_DATA_DIR: join(folder, 'data') } };
    await finished(['create', 'notes', '--type', 'file', '--tenant', 'a'], somebody);
    await finished(['create', 'v', '--type', 'vector', '--dimension', '2', '--tenant', 'a'], somebody);
    for (const args of [
      ['files', 'put', 'notes', file],
      ['files', 'cp', file, 'notes:'],
      ['vectors', 'import', 'v', file],
    ])
      expect(await finished([...args, '--tenant', 'a'], somebody)).toEqual({
        ...{ code: 1, stdout: '' },
        stderr: `error: ${file}: this user may not do that (permission_denied)\n`,
      });
  },
);
