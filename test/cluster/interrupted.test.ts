import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { isRunning } from '../../src/testing/child-server.fixture.ts';
import { noPostgres, query, startPostgres } from '../../src/testing/postgres.fixture.ts';
import { noRedis } from '../../src/testing/redis.fixture.ts';
import { until } from './until.ts';

const missing =
  noPostgres ?? noRedis ?? (process.platform === 'linux' ? undefined : 'processes are found in /proc');
if (missing !== undefined) console.warn(`skipped: a run of several servers that is told to end: ${missing}`);

type Process = { readonly pid: number; readonly isServer: boolean; readonly standsStill: boolean };

it.skipIf(missing !== undefined).each([
  // Of three servers a fourth process: one was killed and started again.
  ['SIGINT', 130, 'kills', (seen: readonly Process[]) => seen.filter(({ isServer }) => isServer).length > 3],
  ['SIGTERM', 143, 'database', (seen: readonly Process[]) => seen.some(({ standsStill }) => standsStill)],
] as const)(
  'a run that gets %s ends with %i and leaves neither processes nor folders, in the midst of %s',
  async (signal, status, part, isInTheMidst) => {
    const folder = mkdtempSync(join(tmpdir(), 'interrupted-'));
    // PostgreSQL is another user where the tests are root.
    chmodSync(folder, 0o755);
    const args = [join(import.meta.dirname, 'index.ts'), '--only', part, '--share', '0.1'];
    const run = spawn(process.execPath, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, TMPDIR: folder },
    });
    onTestFinished(() => {
      for (const { pid } of processesOf(folder)) process.kill(pid, 'SIGKILL');
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
    });
    let said = '';
    run.stderr.setEncoding('utf8').on('data', (more: string) => (said += more));
    const seen = new Map<number, Process>();
    const isThere = await until(
      async () => {
        if (!isRunning(run)) throw new Error(`the run ended by itself: ${said}`);
        for (const one of processesOf(folder)) seen.set(one.pid, one);
        return isInTheMidst([...seen.values()]);
      },
      { isWanted: Boolean, withinMs: 90_000, everyMs: 20 },
    );
    expect(isThere).toBe(true);
    const exited = once(run, 'exit');
    run.kill(signal);
    expect(await exited).toEqual([status, null]);
    expect(said).toBe(`cluster: Error: ended by ${signal}\n`);
    expect(processesOf(folder)).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  },
  120_000,
);

it.skipIf(noPostgres !== undefined)('ends a PostgreSQL that stands still', async (test) => {
  const { own, database, close } = await startPostgres();
  if (!own) return test.skip('the server of CONNECTORS_TEST_PG_URL is not ours to pause');
  const url = await database();
  const { resume } = own.pause();
  test.onTestFinished(resume);
  await close();
  await expect(query(url, 'select')).rejects.toThrow('ECONNREFUSED');
});

/** Those that run in a folder or whose arguments or variables name it: Redis writes over its arguments. */
function processesOf(folder: string): readonly Process[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .flatMap((pid) => {
      try {
        const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8');
        const args = read('cmdline');
        // After the name, which may hold anything.
        const state = read('stat').split(') ').at(-1)?.[0];
        if (state === 'Z') return [];
        const cwd = readlinkSync(`/proc/${pid}/cwd`);
        const text = `${cwd}\0${args}\0${read('environ')}`;
        if (!text.includes(folder)) return [];
        return [{ pid, isServer: args.includes('\0serve\0'), standsStill: state === 'T' }];
      } catch {
        // It ended meanwhile, or is another user's.
        return [];
      }
    });
}
