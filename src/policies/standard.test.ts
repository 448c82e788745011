import { spawnSync } from 'node:child_process';
import { beforeAll, expect, it } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { testClock } from '../testing/clock.ts';
import { testCall } from './call.fixture.ts';
import { NEVER, type Call } from './pipeline.ts';
import { standardPolicies, type PolicyOptions } from './standard.ts';

const OPTIONS: PolicyOptions = { key: 'acme/c1', timeoutMs: 1000, maxRetries: 3, retryDelayMs: 100 };

// The limiter is imported at its first use, which takes real time that the test clock does not wait for.
beforeAll(async () => void (await import('rate-limiter-flexible')));

function setUp(options: Partial<PolicyOptions> = {}) {
  const clock = testClock();
  const policy = standardPolicies({ ...OPTIONS, ...options }, { clock, random: () => 1 });
  const seen: number[] = [];
  const startMs = clock.now();
  const run = (answer: (call: Call) => Promise<string>) =>
    policy(async (call) => {
      seen.push(clock.now() - startMs);
      return answer(call);
    });
  return { clock, policy, run, seen };
}

it('gives each attempt the whole time limit, and repeats a slow one', async () => {
  const { clock, run, seen } = setUp();
  const outcome = expect(run(() => new Promise(() => {}))(testCall())).rejects.toMatchObject({
    code: 'timeout',
  });
  await clock.advance(60_000);
  await outcome;
  expect(seen).toEqual([0, 1100, 2300, 3700]);
  expect(clock.pendingTimers).toBe(0);
});

it('takes a slot of the rate limit for each attempt', async () => {
  const { clock, run, seen } = setUp({ rateLimit: { requests: 2, windowMs: 3_600_000 } });
  const outcome = run(async () => Promise.reject(new ConnectorError('unavailable', 'down')))(testCall());
  const ended = expect(outcome).rejects.toMatchObject({ code: 'rate_limited' });
  await clock.advance(60_000);
  await ended;
  expect(seen.length).toBe(2);
});

it('never reads its own rate limit as a sick backend', async () => {
  const { clock, run, seen } = setUp({ maxRetries: 0, rateLimit: { requests: 1, windowMs: 3_600_000 } });
  const call = run(async () => 'ok');
  await call(testCall());
  for (let i = 0; i < 20; i++) await expect(call(testCall())).rejects.toMatchObject({ code: 'rate_limited' });
  await clock.advance(1);
  expect(seen.length).toBe(1);
});

it('counts each attempt as evidence, and does not repeat a call that the breaker refused', async () => {
  const { clock, run, seen } = setUp();
  const dead = run(async () => Promise.reject(new ConnectorError('unavailable', 'down')));
  for (const code of ['unavailable', 'circuit_open', 'circuit_open']) {
    const outcome = expect(dead(testCall())).rejects.toMatchObject({ code });
    await clock.advance(2000);
    await outcome;
  }
  expect(seen.length).toBe(5);
});

it('ends at once wherever the call stands when its caller gives up', async () => {
  for (const atMs of [0, 500, 1050, 1500]) {
    const { clock, run } = setUp();
    const caller = new AbortController();
    const outcome = run(() => new Promise(() => {}))(testCall({ signal: caller.signal }));
    await clock.advance(atMs);
    caller.abort();
    await expect(outcome).rejects.toMatchObject({ code: 'cancelled' });
    expect(clock.pendingTimers).toBe(0);
  }
});

it('keeps what one connector suffers from another', async () => {
  const clock = testClock();
  const [sick, healthy] = ['a', 'b'].map((key) =>
    standardPolicies({ ...OPTIONS, key, maxRetries: 0 }, { clock }),
  );
  for (let i = 0; i < 6; i++) {
    await sick?.(async () => Promise.reject(new ConnectorError('unavailable', 'down')))(testCall()).catch(
      () => {},
    );
  }
  await expect(sick?.(async () => 'ok')(testCall())).rejects.toMatchObject({ code: 'circuit_open' });
  expect(await healthy?.(async () => 'ok')(testCall())).toBe('ok');
});

it('lets the process end while windows are open and calls have ended', () => {
  const program = `
    import { standardPolicies } from ${JSON.stringify(new URL('./standard.ts', import.meta.url).href)};
    import { systemClock } from ${JSON.stringify(new URL('../contract/clock.ts', import.meta.url).href)};
    const signal = new AbortController().signal;
    for (let i = 0; i < 1000; i++) {
      const policy = standardPolicies(
        { key: 'acme/c' + i, timeoutMs: 900_000, maxRetries: 3, retryDelayMs: 1000, rateLimit: { requests: 1, windowMs: 86_400_000 } },
        { clock: systemClock },
      );
      await policy(async () => 'ok')({ operation: 'test', idempotent: true, attempt: 1, signal, progress() {} });
    }`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

it('shares one signal among many calls that nobody can end without a warning or a leak', async () => {
  const { run } = setUp();
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  const { promise, resolve } = Promise.withResolvers<string>();
  const call = run(async () => promise);
  const calls = Array.from({ length: 2000 }, () => call(testCall({ signal: NEVER })));
  resolve('ok');
  await Promise.all(calls);
  process.off('warning', note);
  expect(warnings).toEqual([]);
});
