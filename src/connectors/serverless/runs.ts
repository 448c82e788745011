import { cancelled, type Clock } from '../../contract/clock.ts';
import { asConnectorError, type ConnectorError } from '../../errors/error.ts';
import type { InvocationOutcome } from './driver.ts';
import { hasRun, type InvocationEnd, type InvocationLog, type InvocationRecord } from './invocations.ts';

/** Background runs of one connector at once; the others wait in the order in which they were accepted. */
const MAX_CONCURRENT = 10;

export type RunResult = { readonly outcome: InvocationOutcome } | { readonly timedOut: ConnectorError };

/** How a stored run ended for the callers that wait for it; `thrown` is a failure that says nothing about the function. */
export type Ended = { readonly record: InvocationRecord } | { readonly thrown: ConnectorError };

export type RunsHost = {
  readonly invocations: InvocationLog;
  readonly clock: Clock;
  readonly run: (invocation: InvocationRecord) => Promise<RunResult>;
  readonly ttlMs: () => number;
  /** Told of a run whose progress or end could not be stored. */
  readonly failed: (requestId: string, error: unknown) => void;
};

/** The stored invocations of one connector that are under way in this process; each is run once however many ask. */
export class InvocationRuns {
  readonly #host: RunsHost;
  readonly #underWay = new Map<string, Promise<Ended>>();
  readonly #queue: (() => void)[] = [];
  #turns = MAX_CONCURRENT;

  constructor(host: RunsHost) {
    this.#host = host;
  }

  get busy(): boolean {
    return this.#underWay.size > 0;
  }

  /** Runs a stored invocation in the background, unless it has ended or is under way. `isNew`: stored by this very call. */
  enqueue(record: InvocationRecord, isNew: boolean): void {
    if (hasRun(record)) return;
    void this.#start(record, isNew, (run) => this.#inTurn(run));
  }

  /**
   * The end of a stored invocation: what is stored where it has ended, otherwise that of the one run under way.
   *
   * A signal ends this caller's wait alone, for the run may be shared.
   */
  async share(record: InvocationRecord, isNew: boolean, signal?: AbortSignal): Promise<Ended> {
    if (hasRun(record)) return { record };
    const ended = this.#start(record, isNew, (run) => run());
    return signal === undefined ? ended : untilAborted(ended, signal);
  }

  /** Resolves when nothing is under way. */
  async drain(signal?: AbortSignal): Promise<void> {
    while (this.#underWay.size > 0) {
      const ended = Promise.all(this.#underWay.values());
      await (signal === undefined ? ended : untilAborted(ended, signal));
    }
  }

  #start(
    record: InvocationRecord,
    isNew: boolean,
    schedule: (run: () => Promise<Ended>) => Promise<Ended>,
  ): Promise<Ended> {
    const known = this.#underWay.get(record.requestId);
    if (known !== undefined) return known;
    const ended = schedule(() => this.#run(record, isNew)).finally(() =>
      this.#underWay.delete(record.requestId),
    );
    this.#underWay.set(record.requestId, ended);
    return ended;
  }

  async #inTurn(run: () => Promise<Ended>): Promise<Ended> {
    // A turn that ends is handed on, so that nobody can slip in between.
    if (this.#turns === 0) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#turns--;
    try {
      return await run();
    } finally {
      const next = this.#queue.shift();
      if (next) next();
      else this.#turns++;
    }
  }

  /** Never rejects: nobody may be waiting. */
  async #run(record: InvocationRecord, isNew: boolean): Promise<Ended> {
    const { invocations, run } = this.#host;
    try {
      // A run of it may have ended between the caller's look at the store and now; its end was stored before it left the map.
      const current = isNew ? record : await invocations.get(record.requestId);
      if (current !== undefined && hasRun(current)) return { record: current };
      await invocations.markRunning(record.requestId);
      const { end, thrown } = await run(record).then(
        (result) => ({ end: this.#end(record, result), thrown: undefined }),
        (error: unknown) => {
          const failure = asConnectorError(error);
          return { end: this.#end(record, { outcome: platformFailure(failure) }), thrown: failure };
        },
      );
      await invocations.end(record.requestId, end);
      return thrown === undefined ? { record: { ...record, ...end } } : { thrown };
    } catch (error) {
      this.#host.failed(record.requestId, error);
      return { thrown: asConnectorError(error) };
    }
  }

  #end(record: InvocationRecord, run: RunResult): InvocationEnd {
    const now = this.#host.clock.now();
    const ended = { endedAt: new Date(now), expiresAt: new Date(now + this.#host.ttlMs()) };
    if ('timedOut' in run) {
      const error = { name: 'TimeoutError', message: run.timedOut.message };
      return { ...ended, status: 'timed_out', result: null, error, logs: null, durationMs: record.timeoutMs };
    }
    const { status, result = null, error = null, logs = null, durationMs = null } = run.outcome;
    return { ...ended, status, result, error, logs, durationMs };
  }
}

/** No duration: see `hasRun`. */
function platformFailure(error: ConnectorError): InvocationOutcome {
  return { status: 'failed', error: { name: error.code, message: error.message } };
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(cancelled(signal));
    const onAbort = () => reject(cancelled(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
