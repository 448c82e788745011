import { expect, it } from 'vitest';
import type { ErrorCode } from '../errors/codes.ts';
import { ConnectorError } from '../errors/error.ts';
import { testClock } from '../testing/clock.ts';
import { testCall } from './call.fixture.ts';
import { circuitBreaker } from './circuit-breaker.ts';
import type { Call } from './pipeline.ts';

/** A breaker before a backend whose next answer the test sets; `reached` counts what came through. */
function setUp() {
  const clock = testClock();
  const backend = { reached: 0, answer: async (_call: Call): Promise<string> => 'ok' };
  const call = circuitBreaker(clock)(async (call) => {
    backend.reached += 1;
    return backend.answer(call);
  });
  const failWith = (code: ErrorCode) => {
    backend.answer = async () => Promise.reject(new ConnectorError(code, 'failed'));
  };
  const outcome = async (signal?: AbortSignal) =>
    call(testCall(signal ? { signal } : {})).catch((error: unknown) =>
      error instanceof ConnectorError ? error.code : error,
    );
  const open = async () => {
    failWith('unavailable');
    for (let i = 0; i < 5; i++) await outcome();
  };
  return { clock, backend, call, failWith, outcome, open };
}

for (const code of ['timeout', 'unavailable'] as const) {
  it(`opens after 5 consecutive ${code} and then asks the backend nothing`, async () => {
    const { backend, failWith, outcome } = setUp();
    failWith(code);
    for (let i = 0; i < 5; i++) expect(await outcome()).toBe(code);
    for (let i = 0; i < 100; i++) expect(await outcome()).toBe('circuit_open');
    expect(backend.reached).toBe(5);
  });
}

it('learns nothing from an attempt that was refused before the backend was asked', async () => {
  const { clock, backend, failWith, open, outcome } = setUp();
  const refuse = () => {
    const refusal = new ConnectorError('unavailable', 'no room', { details: { asked: false } });
    backend.answer = async () => Promise.reject(refusal);
  };
  refuse();
  for (let i = 0; i < 20; i++) expect(await outcome()).toBe('unavailable');
  failWith('timeout');
  for (let i = 0; i < 4; i++) await outcome();
  refuse();
  await outcome();
  failWith('timeout');
  expect([await outcome(), await outcome()]).toEqual(['timeout', 'circuit_open']);
  await open();
  await clock.advance(30_000);
  refuse();
  // The next one is the trial.
  expect([await outcome(), await outcome()]).toEqual(['unavailable', 'unavailable']);
  failWith('timeout');
  expect([await outcome(), await outcome()]).toEqual(['timeout', 'circuit_open']);
});

for (const code of [
  'not_found',
  'rate_limited',
  'invalid_argument',
  'auth_failed',
  'backend_error',
] as const) {
  it(`reads ${code} as a sign of life`, async () => {
    const { failWith, outcome } = setUp();
    failWith('unavailable');
    for (let i = 0; i < 4; i++) await outcome();
    failWith(code);
    for (let i = 0; i < 20; i++) expect(await outcome()).toBe(code);
    failWith('unavailable');
    for (let i = 0; i < 4; i++) await outcome();
    expect(await outcome()).toBe('unavailable');
    expect(await outcome()).toBe('circuit_open');
  });
}

it('starts its count anew after a success', async () => {
  const { backend, failWith, outcome } = setUp();
  for (let round = 0; round < 3; round++) {
    failWith('timeout');
    for (let i = 0; i < 4; i++) expect(await outcome()).toBe('timeout');
    backend.answer = async () => 'ok';
    expect(await outcome()).toBe('ok');
  }
});

it('learns nothing from calls that their callers aborted, nor from a bug', async () => {
  const { backend, outcome, failWith } = setUp();
  failWith('timeout');
  for (let i = 0; i < 20; i++) expect(await outcome(AbortSignal.abort())).toBe('timeout');
  failWith('cancelled');
  for (let i = 0; i < 20; i++) expect(await outcome()).toBe('cancelled');
  const bug = new TypeError('a bug');
  backend.answer = async () => Promise.reject(bug);
  for (let i = 0; i < 20; i++) expect(await outcome()).toBe(bug);
  expect(backend.reached).toBe(60);
});

it('says when to come back, and what failed', async () => {
  const { clock, call, open } = setUp();
  await open();
  await clock.advance(12_000);
  await expect(call(testCall())).rejects.toMatchObject({
    code: 'circuit_open',
    retryAfterMs: 18_000,
    details: { lastCode: 'unavailable' },
  });
});

it('lets exactly one call through after 30 s, and closes when it is answered', async () => {
  const { clock, backend, outcome, open } = setUp();
  await open();
  await clock.advance(29_999);
  expect(await outcome()).toBe('circuit_open');
  await clock.advance(1);
  const { promise, resolve } = Promise.withResolvers<string>();
  backend.answer = async () => promise;
  const trial = outcome();
  for (let i = 0; i < 10; i++) expect(await outcome()).toBe('circuit_open');
  expect(backend.reached).toBe(6);
  resolve('ok');
  expect(await trial).toBe('ok');
  backend.answer = async () => 'ok';
  expect(await outcome()).toBe('ok');
});

it('opens for another 30 s when the trial fails', async () => {
  const { clock, backend, outcome, open } = setUp();
  await open();
  await clock.advance(30_000);
  expect(await outcome()).toBe('unavailable');
  expect(await outcome()).toBe('circuit_open');
  await clock.advance(29_999);
  expect(await outcome()).toBe('circuit_open');
  await clock.advance(1);
  expect(await outcome()).toBe('unavailable');
  expect(backend.reached).toBe(7);
});

it('closes on a trial that is answered with an error of the caller', async () => {
  const { clock, failWith, outcome, open } = setUp();
  await open();
  await clock.advance(30_000);
  failWith('not_found');
  expect(await outcome()).toBe('not_found');
  expect(await outcome()).toBe('not_found');
});

it('makes the next call the trial when the caller aborted the last one', async () => {
  const { clock, backend, outcome, open } = setUp();
  await open();
  await clock.advance(30_000);
  const caller = new AbortController();
  backend.answer = async () => {
    caller.abort();
    throw new ConnectorError('cancelled', 'gone');
  };
  expect(await outcome(caller.signal)).toBe('cancelled');
  const { promise, resolve } = Promise.withResolvers<string>();
  backend.answer = async () => promise;
  const trial = outcome();
  expect(await outcome()).toBe('circuit_open');
  resolve('ok');
  expect(await trial).toBe('ok');
});

it('ignores what comes back from an attempt that began before it opened', async () => {
  const { clock, backend, outcome, open } = setUp();
  const slow = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const;
  backend.answer = async () => slow[0].promise;
  const lateSuccess = outcome();
  backend.answer = async () => slow[1].promise;
  const lateFailure = outcome();
  await open();
  slow[0].resolve('ok');
  expect(await lateSuccess).toBe('ok');
  expect(await outcome()).toBe('circuit_open');
  await clock.advance(30_000);
  backend.answer = async () => 'ok';
  expect(await outcome()).toBe('ok');
  slow[1].reject(new ConnectorError('timeout', 'late'));
  expect(await lateFailure).toBe('timeout');
  backend.answer = async () => Promise.reject(new ConnectorError('timeout', 'failed'));
  for (let i = 0; i < 5; i++) expect(await outcome()).toBe('timeout');
});
