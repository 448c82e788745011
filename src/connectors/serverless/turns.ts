import type { Clock } from '../../contract/clock.ts';
import { codeRow, type ErrorCode } from '../../errors/codes.ts';
import type { ConnectorError } from '../../errors/error.ts';
import type { FunctionCalls } from './calls.ts';
import type { InvocationOutcome, NativeOutcome, NativeRun } from './driver.ts';
import {
  KEY_TTL_MS,
  type ClaimedInvocation,
  type InvocationEnd,
  type InvocationRecord,
} from './invocations.ts';
import type { Turn } from './worker.ts';

/** Repetitions after the first attempt, where the platform fails. */
const MAX_RETRIES = 2;
const MAX_BACKOFF_MS = 30_000;
/** A limit of the platform is waited out for as long as AWS Lambda does: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html (read 2026-11-28). */
const MAX_THROTTLED_MS = 6 * 3_600_000;
/** However long a platform asks to wait: the longest that one means is until its next day begins. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000;
/** An invocation whose workers ended so often is what ends them. */
const MAX_TAKEOVERS = 20;
/** How often a run that the platform carries on is asked about: a tenth of its age, within these. */
const FOLLOW_MS = { least: 1_000, most: 30_000 };
const MAX_FOLLOW_FAILURES = 60;
/** A platform may take a while to know of what it has just started. */
const MAX_NOT_FOUND = 2;
const MAX_FOLLOW_BACKOFF_MS = 300_000;
/** Beyond the function's own time: a platform that says the end has a queue of its own before it. */
const CALLBACK_SLACK_MS = 3_600_000;

/** Codes that say that the function was not run, whatever was sent. */
const NOT_RUN: ReadonlySet<ErrorCode> = new Set([
  'invalid_argument',
  'unauthenticated',
  'permission_denied',
  'egress_denied',
  'not_found',
  'invalid_state',
  'unsupported',
  'auth_failed',
  'rate_limited',
  'circuit_open',
]);

type Failed = {
  readonly failure: ConnectorError;
  /** The platform's client was asked; it may have been sent. */
  readonly asked: boolean;
  readonly durationMs: number;
};

/** How one call of the function ended. */
export type CallEnd =
  { readonly outcome: InvocationOutcome } | { readonly timedOut: ConnectorError } | Failed;

/** What came of starting a run that the platform carries on; no run where it only takes calls. */
export type StartEnd = { readonly native: NativeRun | undefined } | Failed;

/** What a turn needs of its connector. */
export type TurnHost = {
  /** A caller waits: what fails is his to repeat, and nothing is let go of until later. */
  readonly foreground: boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly retryDelayMs: number;
  readonly resultTtlMs: number;
  readonly native: false | 'follow' | 'callback';
  readonly calls: Pick<FunctionCalls, 'call' | 'start' | 'follow'>;
};

/** One turn of a stored invocation: the call itself, its start on a platform that carries it on, or a look at how that goes. */
export async function takeTurn(
  invocation: ClaimedInvocation,
  host: TurnHost,
  signal: AbortSignal,
): Promise<Turn> {
  const ends = new Ends(invocation, host);
  if (invocation.native) return followed(invocation, invocation.native, host, ends, signal);
  if (invocation.takeovers > MAX_TAKEOVERS)
    return ends.lost(`${invocation.takeovers} servers ended while they ran it`);
  const mayRun = invocation.repeatable || !invocation.interrupted;
  // Starting twice under one id starts once, so this is safe where calling is not.
  if (!host.foreground && (host.native === 'follow' || (host.native === 'callback' && mayRun))) {
    const turn = await started(invocation, host, ends, signal);
    if (turn) return turn;
  }
  if (!mayRun) return ends.lost('the server that called it ended before it knew how that went');
  const end = await host.calls.call(invocation, { signal, once: !host.foreground });
  if ('outcome' in end) return { end: ends.of(end.outcome) };
  if ('timedOut' in end) return ends.timedOut(end.timedOut);
  return failed(end, ends, signal);
}

async function started(
  invocation: ClaimedInvocation,
  host: TurnHost,
  ends: Ends,
  signal: AbortSignal,
): Promise<Turn | undefined> {
  const start = await host.calls.start(invocation, signal);
  // Asked or not, one that can be followed may be started again.
  if ('failure' in start)
    return failed({ ...start, asked: start.asked && host.native !== 'follow' }, ends, signal);
  const { native } = start;
  if (!native) return undefined;
  const dueInMs = host.native === 'follow' ? FOLLOW_MS.least : invocation.timeoutMs + CALLBACK_SLACK_MS;
  return { defer: { status: 'running', native, failures: invocation.failures }, dueInMs };
}

async function followed(
  invocation: ClaimedInvocation,
  native: NativeRun,
  host: TurnHost,
  ends: Ends,
  signal: AbortSignal,
): Promise<Turn> {
  if (host.native !== 'follow') {
    const why = `the platform accepted it (${native.kind} ${native.id}) and never said how it ended`;
    const failures = invocation.failures + 1;
    if (!invocation.repeatable || failures > MAX_RETRIES) return ends.lost(why);
    return { defer: { status: 'queued', native: null, failures }, dueInMs: 0 };
  }
  const again = (failures: number, dueInMs: number): Turn => ({
    defer: { status: 'running', native, failures },
    dueInMs,
  });
  const ageMs = host.clock.now() - invocation.createdAt.getTime();
  try {
    const outcome = await host.calls.follow(invocation, native, signal);
    if (outcome) return { end: ends.of(outcome) };
    return again(0, Math.min(FOLLOW_MS.most, Math.max(FOLLOW_MS.least, ageMs / 10)));
  } catch (error) {
    // The connector's session throws nothing else.
    const failure = error as ConnectorError;
    const { code, message } = failure;
    if (signal.aborted) return again(invocation.failures, 0);
    // It has ended, and its result will not get smaller.
    if (code === 'payload_too_large') return ends.failed(failure, ageMs);
    // What only asks to wait is no failure.
    const failures = invocation.failures + (code === 'rate_limited' ? 0 : 1);
    if (failures > (code === 'not_found' ? MAX_NOT_FOUND : MAX_FOLLOW_FAILURES))
      return ends.lost(`the platform does not tell how ${native.kind} ${native.id} ended: ${message}`);
    return again(
      failures,
      Math.max(waitOf(failure), Math.min(MAX_FOLLOW_BACKOFF_MS, FOLLOW_MS.most * 2 ** failures)),
    );
  }
}

/** What a failure of the platform leads to: another attempt, where that is allowed, or an end. */
function failed({ failure, asked, durationMs }: Failed, ends: Ends, signal: AbortSignal): Turn {
  const { invocation, host } = ends;
  const ran = asked && !NOT_RUN.has(failure.code) && failure.details['sent'] !== false;
  // The payload was within the limit, so it is what came back that is over it.
  if (failure.code === 'payload_too_large') return ends.failed(failure, ran ? durationMs : null);
  const mayRepeat = invocation.repeatable || !ran;
  if (host.foreground && mayRepeat) return ends.failed(failure, null);
  if (signal.aborted) {
    if (!mayRepeat) return ends.lost('the server was stopped while it ran', failure);
    return { defer: { status: 'queued', native: null, failures: invocation.failures }, dueInMs: 0 };
  }
  if (!mayRepeat) return ends.lost(failure.message, failure);
  const retryAfterMs = waitOf(failure);
  // Neither is an attempt that failed: the platform did nothing, or was not asked.
  if (failure.code === 'rate_limited' || failure.code === 'circuit_open') {
    const isOver = host.clock.now() - invocation.createdAt.getTime() > MAX_THROTTLED_MS;
    const dueInMs = Math.max(retryAfterMs, ends.backoffMs(invocation.failures));
    if (!isOver) return { defer: { status: 'queued', native: null, failures: invocation.failures }, dueInMs };
  }
  const isTemporary = codeRow(failure.code).recovery !== 'never' || failure.code === 'circuit_open';
  if (!isTemporary || invocation.failures >= MAX_RETRIES) return ends.failed(failure, null);
  const dueInMs = Math.max(retryAfterMs, ends.backoffMs(invocation.failures));
  return { defer: { status: 'queued', native: null, failures: invocation.failures + 1 }, dueInMs };
}

/** What the platform asks to wait. Longer than dates go, an invocation would never be due again, nor ever expire. */
function waitOf({ retryAfterMs = 0 }: ConnectorError): number {
  return Math.min(retryAfterMs, MAX_RETRY_AFTER_MS);
}

/** Every way in which an invocation ends. */
class Ends {
  readonly invocation: ClaimedInvocation;
  readonly host: TurnHost;

  constructor(invocation: ClaimedInvocation, host: TurnHost) {
    this.invocation = invocation;
    this.host = host;
  }

  of(outcome: NativeOutcome): InvocationEnd {
    return endOf(outcome, this.invocation, this.host);
  }

  timedOut(thrown: ConnectorError): Turn {
    const error = { name: 'TimeoutError', message: thrown.message };
    return { end: this.#end('timed_out', { error, durationMs: this.invocation.timeoutMs }), thrown };
  }

  /** @param durationMs null where the function did not run, see `neverRan`. */
  failed(thrown: ConnectorError, durationMs: number | null): Turn {
    const error = { name: thrown.code, message: thrown.message };
    return { end: this.#end('failed', { error, durationMs }), thrown };
  }

  lost(why: string, thrown?: ConnectorError): Turn {
    const error = { name: 'LostError', message: `whether it ran is not known: ${why}` };
    return { end: this.#end('lost', { error }), ...(thrown && { thrown }) };
  }

  backoffMs(failures: number): number {
    const { retryDelayMs, random } = this.host;
    return Math.min(MAX_BACKOFF_MS, retryDelayMs * 2 ** failures) * random();
  }

  #end(status: InvocationEnd['status'], patch: EndPatch): InvocationEnd {
    return endedNow(status, patch, this.invocation, this.host);
  }
}

/** The end of what ran; where nobody took the time, it is that since it was accepted. */
export function endOf(
  { status, ...outcome }: NativeOutcome,
  invocation: Pick<InvocationRecord, 'createdAt' | 'idempotencyKey'>,
  host: Pick<TurnHost, 'clock' | 'resultTtlMs'>,
): InvocationEnd {
  const { durationMs = host.clock.now() - invocation.createdAt.getTime() } = outcome;
  return endedNow(status, { ...outcome, durationMs }, invocation, host);
}

type EndPatch = {
  readonly [K in 'result' | 'error' | 'logs' | 'durationMs']?: InvocationEnd[K] | undefined;
};

/** The end of an invocation as it is stored; one that holds a key is kept for as long as the key answers. */
export function endedNow(
  status: InvocationEnd['status'],
  { result = null, error = null, logs = null, durationMs = null }: EndPatch,
  { createdAt, idempotencyKey }: Pick<InvocationRecord, 'createdAt' | 'idempotencyKey'>,
  { clock, resultTtlMs }: Pick<TurnHost, 'clock' | 'resultTtlMs'>,
): InvocationEnd {
  const now = clock.now();
  const keptFor = idempotencyKey === null ? 0 : createdAt.getTime() + KEY_TTL_MS;
  const expiresAt = new Date(Math.max(now + resultTtlMs, keptFor));
  return { status, result, resultFile: null, error, logs, durationMs, endedAt: new Date(now), expiresAt };
}
