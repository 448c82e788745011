import { systemClock } from '../../../driver.ts';
import { denoRuntime, type Launch } from './deno.ts';
import { SandboxPool } from './pool.ts';

/**
 * The program of a host that a test kills: it runs a function that loops for ever, and prints the process's id once it
 * does.
 */
const launch: Launch = { memoryMb: 64, allowNet: false, envNames: [] };
const limits = { processes: 1, processesOfTenant: 1, idleMs: 60_000, startMs: 20_000 };
const pool = new SandboxPool(await denoRuntime(), 1000, limits, systemClock);
const member = await pool.acquire(
  { tenant: 'a', owner: 'a', key: 'f', launch },
  new AbortController().signal,
);
await member.ready;
const code = 'export const handler = () => { for (;;); };';
await member.sandbox.ask({ code, functionName: 'f', env: {}, maxResultBytes: 1000 });
void member.sandbox.ask({ event: null, requestId: 'r', deadlineMs: Date.now() + 600_000 });
console.log(member.sandbox.pid);
