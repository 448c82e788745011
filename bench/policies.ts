/** What a call costs on its way through the policies, beside cockatiel's own in the same run, and what sealing costs. */
import { spawnSync } from 'node:child_process';
import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import {
  circuitBreaker as cockatielBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleAll,
  retry as cockatielRetry,
  timeout as cockatielTimeout,
  TimeoutStrategy,
  wrap,
} from 'cockatiel';
import { systemClock } from '../src/contract/clock.ts';
import { ConnectorError } from '../src/errors/error.ts';
import { NEVER, type Call } from '../src/policies/pipeline.ts';
import { memoryCounters } from '../src/policies/rate-limit.ts';
import { retry } from '../src/policies/retry.ts';
import { standardPolicies } from '../src/policies/standard.ts';
import { cipher } from '../src/secrets/cipher.ts';
import { keyRing } from '../src/secrets/key-ring.ts';
import { median } from './pairs.ts';
import { report, type Row } from './report.ts';

const quick = process.argv.includes('--quick');
const ROUNDS = 5;
const CALLS = quick ? 5000 : 50_000;

const CALL: Call = { operation: 'bench', idempotent: true, attempt: 1, signal: NEVER, progress: () => {} };
const OPTIONS = { key: 'acme/c1', timeoutMs: 30_000, maxRetries: 3, retryDelayMs: 1000 };
const LIMIT = { rateLimit: { requests: 1_000_000_000, windowMs: 60_000 } };
const idle = async () => 1;

/** The median of one call in µs, each call timed on its own. */
async function callUs(call: () => Promise<unknown>): Promise<number> {
  const us = Array.from({ length: CALLS }, () => 0);
  for (let i = 0; i < CALLS; i++) {
    const startMs = performance.now();
    await call();
    us[i] = (performance.now() - startMs) * 1000;
  }
  return median(us);
}

/** The same for work that is not asynchronous. */
function workUs(work: () => unknown): number {
  const us = Array.from({ length: CALLS }, () => 0);
  for (let i = 0; i < CALLS; i++) {
    const startMs = performance.now();
    work();
    us[i] = (performance.now() - startMs) * 1000;
  }
  return median(us);
}

/** The median over the rounds; the rounds of all subjects are interleaved, so that a busy machine slows each alike. */
async function rounds<K extends string>(
  subjects: Readonly<Record<K, () => number | Promise<number>>>,
): Promise<(name: K) => number> {
  const figures = new Map<string, number[]>();
  const named = Object.entries<() => number | Promise<number>>(subjects);
  for (let round = -1; round < ROUNDS; round++) {
    for (const [name, measure] of named) {
      const figure = await measure();
      // The first round warms up the compiler and is dropped.
      if (round >= 0) figures.set(name, [...(figures.get(name) ?? []), figure]);
    }
  }
  return (name) => median(figures.get(name) ?? []);
}

function cockatielStack() {
  return wrap(
    cockatielRetry(handleAll, {
      maxAttempts: 3,
      backoff: new ExponentialBackoff({ initialDelay: 1000, maxDelay: 30_000 }),
    }),
    cockatielBreaker(handleAll, { halfOpenAfter: 30_000, breaker: new ConsecutiveBreaker(5) }),
    cockatielTimeout(30_000, TimeoutStrategy.Aggressive),
  );
}

async function callRows(): Promise<Row[]> {
  const context = { clock: systemClock, counters: memoryCounters() };
  const plain = standardPolicies(OPTIONS, context);
  const limited = standardPolicies({ ...OPTIONS, ...LIMIT }, context);
  const theirs = cockatielStack();
  const caller = new AbortController();
  const us = await rounds({
    bare: () => callUs(() => idle()),
    plain: () => callUs(() => plain(idle)(CALL)),
    limited: () => callUs(() => limited(idle)(CALL)),
    signalled: () => callUs(() => limited(idle)({ ...CALL, signal: caller.signal })),
    theirs: () => callUs(() => theirs.execute(idle)),
    theirsSignalled: () => callUs(() => theirs.execute(idle, caller.signal)),
    create: () => workUs(() => standardPolicies({ ...OPTIONS, ...LIMIT }, context)),
  });
  const held = (name: Parameters<typeof us>[0]) => ({ target: '<= 15', ok: us(name) <= 15 });
  return [
    { what: 'a driver that does nothing, bare, p50', figure: us('bare'), unit: 'µs' },
    { what: 'through retry, breaker, timeout, p50', figure: us('plain'), unit: 'µs', ...held('plain') },
    { what: '... and a rate limit, p50', figure: us('limited'), unit: 'µs', ...held('limited') },
    { what: "... and a caller's signal, p50", figure: us('signalled'), unit: 'µs', ...held('signalled') },
    { what: "cockatiel's retry, breaker, timeout, p50", figure: us('theirs'), unit: 'µs' },
    { what: "... and a caller's signal, p50", figure: us('theirsSignalled'), unit: 'µs' },
    { what: 'making the policies of a connector, p50', figure: us('create'), unit: 'µs' },
  ];
}

/** Milliseconds from a caller's abort, 20 ms into a wait of a second, to the end of the call. */
async function releaseMs(call: (signal: AbortSignal) => Promise<unknown>): Promise<number> {
  const caller = new AbortController();
  const ended = call(caller.signal).catch(() => {});
  await wait(20);
  const startMs = performance.now();
  caller.abort();
  await ended;
  return performance.now() - startMs;
}

/** Where the behaviour that this product promises and cockatiel's part ways. */
async function behaviourRows(): Promise<Row[]> {
  const down = async () => Promise.reject(new ConnectorError('unavailable', 'down'));
  const ours = retry({ maxRetries: 1, retryDelayMs: 1000 }, systemClock, () => 1)(down);
  const theirs = cockatielRetry(handleAll, { maxAttempts: 1, backoff: { next: () => fixedDelay } });
  const fixedDelay = { duration: 1000, next: () => fixedDelay };

  const breaker = cockatielBreaker(handleAll, { halfOpenAfter: 20, breaker: new ConsecutiveBreaker(1) });
  await breaker.execute(down).catch(() => {});
  await wait(30);
  const trial = breaker.execute(() => wait(300));
  const startMs = performance.now();
  await breaker.execute(idle);
  const queuedMs = performance.now() - startMs;
  await trial;

  await breaker.execute(down).catch(() => {});
  const realNow = Date.now;
  Date.now = () => realNow() - 3_600_000;
  await wait(30);
  const refused = await breaker.execute(idle).then(
    () => 0,
    () => 1,
  );
  Date.now = realNow;

  return [
    {
      what: 'abort in a wait of 1,000 ms: until released',
      figure: await releaseMs((signal) => ours({ ...CALL, signal })),
      unit: 'ms',
    },
    {
      what: '... by cockatiel',
      figure: await releaseMs((signal) => theirs.execute(down, signal)),
      unit: 'ms',
    },
    {
      what: 'cockatiel: a caller during a trial of 300 ms waits',
      figure: queuedMs,
      unit: 'ms',
      note: 'ours refuses at once',
    },
    {
      what: 'cockatiel: refuses after its 20 ms, clock set back 1 h',
      figure: refused,
      unit: 'of 1',
      note: 'reads the wall clock; ours the monotonic one',
    },
  ];
}

/** The median time of an import in a process of its own. */
function importMs(specifier: string): number {
  const program = `const startMs = performance.now(); await import(${JSON.stringify(specifier)}); console.log(performance.now() - startMs);`;
  return median(
    Array.from({ length: ROUNDS }, () =>
      Number(
        spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }).stdout,
      ),
    ),
  );
}

async function secretRows(): Promise<Row[]> {
  const { seal, open } = cipher(keyRing(['11'.repeat(32)], 'bench'));
  const place = { tenantId: 'acme', connectorId: '0198c1de-5a4e-7000-8000-000000000000', field: 'api_key' };
  const secret = 'x'.repeat(40);
  const sealed = seal(secret, place);
  let tenant = 0;
  const key = createSecretKey(randomBytes(32));
  const aad = Buffer.from(JSON.stringify(place));
  const bare = () => {
    const gcm = createCipheriv('aes-256-gcm', key, randomBytes(12)).setAAD(aad);
    return [gcm.update(secret, 'utf8'), gcm.final(), gcm.getAuthTag()];
  };
  const us = await rounds({
    seal: () => workUs(() => seal(secret, place)),
    open: () => workUs(() => open(sealed, place)),
    bare: () => workUs(bare),
    derive: () => workUs(() => seal(secret, { ...place, tenantId: `t${(tenant += 1)}` })),
  });
  return [
    {
      what: 'seal 40 characters, p50',
      figure: us('seal'),
      unit: 'µs',
      target: '<= 10',
      ok: us('seal') <= 10,
    },
    {
      what: 'open 40 characters, p50',
      figure: us('open'),
      unit: 'µs',
      target: '<= 10',
      ok: us('open') <= 10,
    },
    { what: "node:crypto's AES-256-GCM alone, p50", figure: us('bare'), unit: 'µs' },
    { what: 'seal for a tenant without a derived key yet, p50', figure: us('derive'), unit: 'µs' },
  ];
}

report('policies', [
  ...(await callRows()),
  ...(await behaviourRows()),
  { what: 'import cockatiel', figure: importMs('cockatiel'), unit: 'ms' },
  {
    what: 'import rate-limiter-flexible',
    figure: importMs('rate-limiter-flexible'),
    unit: 'ms',
    note: 'on first use',
  },
  ...(await secretRows()),
]);
