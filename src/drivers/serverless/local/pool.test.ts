import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../driver.ts';
import { testClock } from '../../../testing/clock.ts';
import { denoRuntime, type Launch, type Runtime } from './deno.ts';
import { NEVER } from './local.fixture.ts';
import { SandboxPool, type Member, type Want } from './pool.ts';

const launch: Launch = { memoryMb: 64, allowNet: false, envNames: [] };
const limits = { processes: 4, processesOfTenant: 2, idleMs: 60_000, startMs: 20_000 };
let runtime: Runtime;
let pool: SandboxPool;

beforeAll(async () => {
  runtime = await denoRuntime();
});
afterEach(() => pool.retire(() => true));

function want(tenant: string, key = `${tenant}-f`): Want {
  return { tenant, owner: tenant, key, launch };
}

/** A process that is ready, for a test to give back. */
async function take(wanted: Want): Promise<Member> {
  const member = await pool.acquire(wanted, NEVER);
  await member.ready;
  return member;
}

const isGone = (member: Member) => expect.poll(() => existsSync(`/proc/${member.sandbox.pid}`)).toBe(false);

describe('the pool', () => {
  it('gives a function its own process again, and never that of another', async () => {
    pool = new SandboxPool(runtime, 1000, limits, systemClock);
    const first = await take(want('a', 'f'));
    pool.release(first, launch);
    const second = await take(want('a', 'g'));
    expect(second).not.toBe(first);
    expect(await take(want('a', 'f'))).toBe(first);
    pool.release(first, launch);
    pool.release(second, launch);
  });

  it('keeps one spare for a tenant, and gives it to that tenant alone', async () => {
    pool = new SandboxPool(runtime, 1000, limits, systemClock);
    pool.prewarm('a', launch);
    pool.prewarm('a', launch);
    expect(pool.size).toBe(1);
    const foreign = await take(want('b'));
    expect(pool.size).toBe(2);
    const own = await take(want('a'));
    expect(pool.size).toBe(2);
    for (const member of [foreign, own]) pool.release(member, launch);
  });

  it('makes a call wait at the ceiling of its tenant, while others go ahead', async () => {
    pool = new SandboxPool(runtime, 1000, limits, systemClock);
    const held = [await take(want('a', '1')), await take(want('a', '2'))];
    const waiting = pool.acquire(want('a', '3'), NEVER);
    const other = await take(want('b'));
    for (const member of [...held, other]) pool.release(member, launch);
    const third = await waiting;
    expect(third.key).toBe('3');
    pool.release(third, launch);
    expect(pool.size).toBeLessThanOrEqual(limits.processes);
  });

  it('lets a caller leave the queue', async () => {
    pool = new SandboxPool(runtime, 1000, limits, systemClock);
    const held = [await take(want('a', '1')), await take(want('a', '2'))];
    const caller = new AbortController();
    const waiting = pool.acquire(want('a', '3'), caller.signal);
    caller.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    for (const member of held) pool.release(member, launch);
    expect(pool.size).toBe(2);
  });

  it('ends a process when its idle time is over, and not before', async () => {
    const clock = testClock();
    pool = new SandboxPool(runtime, 1000, { ...limits, processesOfTenant: 1 }, clock);
    const member = await take(want('a'));
    pool.release(member, launch);
    await clock.advance(59_999);
    expect(member.sandbox.alive).toBe(true);
    await clock.advance(1);
    expect(member.sandbox.alive).toBe(false);
    expect(pool.size).toBe(0);
    await isGone(member);
  });

  it('reports a runtime that does not start', async () => {
    pool = new SandboxPool({ ...runtime, executable: '/bin/false' }, 1000, limits, systemClock);
    const member = await pool.acquire(want('a'), NEVER);
    await expect(member.ready).rejects.toMatchObject({ code: 'unavailable' });
    pool.release(member, launch);
  });
});

// The kernel's help that this needs, util-linux's setpriv, is Linux's; elsewhere `check` says that it is missing.
if (process.platform === 'linux') {
  it('ends an idle process that works for itself', async () => {
    pool = new SandboxPool(runtime, 1000, { ...limits, processesOfTenant: 1 }, systemClock);
    const member = await take(want('a'));
    const code = `new Worker(URL.createObjectURL(new Blob(['for (;;);'])), { type: 'module' }); export const handler = () => 1;`;
    const loaded = await member.sandbox.ask({ code, functionName: 'f', env: {}, maxResultBytes: 1000 });
    expect(loaded).toEqual({ kind: 'loaded' });
    pool.release(member, launch);
    await expect.poll(() => member.sandbox.alive, { timeout: 20_000 }).toBe(false);
    expect(pool.size).toBe(0);
  });

  it('leaves no process behind when the host is killed, not even one in an endless loop', async () => {
    const program = fileURLToPath(new URL('./host.fixture.ts', import.meta.url));
    const host = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = await new Promise<number>((resolve) => {
      createInterface(host.stdout).on('line', (line) => resolve(Number(line)));
    });
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    host.kill('SIGKILL');
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 10_000 }).toBe(false);
  });
}
