import { cancelled, type Clock } from '../../contract/clock.ts';
import { ERROR_CODES, type ErrorCode } from '../../errors/codes.ts';
import { ConnectorError } from '../../errors/error.ts';
import { neverRan, type InvocationLog, type InvocationRecord } from './invocations.ts';
import { overTime } from './within-time.ts';
import type { InvocationWorker } from './worker.ts';

export type StoredParts = {
  readonly connectorId: string;
  readonly invocations: InvocationLog;
  readonly worker: InvocationWorker;
  readonly clock: Clock;
  /** The error as it names its connector. */
  readonly named: (error: ConnectorError) => ConnectorError;
};

/** Looks for one connector's stored invocations, and waits for their ends. */
export class StoredInvocations {
  readonly #parts: StoredParts;

  constructor(parts: StoredParts) {
    this.#parts = parts;
  }

  /** @throws ConnectorError `not_found`, also for one that is another's or whose time is over; `cancelled`. */
  async get(requestId: string, signal: AbortSignal | undefined): Promise<InvocationRecord> {
    const { invocations, clock, connectorId, named } = this.#parts;
    if (signal?.aborted) throw named(cancelled(signal));
    const record = await invocations.get(requestId);
    const isExpired = record?.expiresAt && record.expiresAt.getTime() <= clock.now();
    if (record !== undefined && !isExpired && record.connectorId === connectorId) return record;
    throw named(new ConnectorError('not_found', 'no such invocation', { details: { requestId } }));
  }

  /** The invocation once it has ended, or as it is when the time is over. @throws ConnectorError as `get`. */
  async ended(
    requestId: string,
    limitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<InvocationRecord> {
    if (limitMs === 0) return this.get(requestId, signal);
    const over = new AbortController();
    const stop = this.#parts.clock.after(limitMs, () => over.abort());
    try {
      return await this.#endedBefore(over.signal, requestId, signal);
    } finally {
      stop();
    }
  }

  /**
   * The same for a caller who waits for an answer of the function.
   *
   * @throws ConnectorError `timeout` where it goes on, `unavailable` where this server is being closed before its end; whatever else it ended
   *   with: `timeout`, `cancelled`, `backend_error` for one that is lost, and the platform's failure.
   */
  async answered(
    requestId: string,
    limitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<InvocationRecord> {
    const record = await this.ended(requestId, limitMs, signal);
    const open = this.#parts.worker.leaving.aborted ? leaving(record) : notYet(record, limitMs);
    const failure = record.endedAt === null ? open : failureOf(record);
    if (failure) throw this.#parts.named(failure);
    return record;
  }

  async #endedBefore(
    over: AbortSignal,
    requestId: string,
    signal: AbortSignal | undefined,
  ): Promise<InvocationRecord> {
    const { worker } = this.#parts;
    const signals = [over, worker.leaving, ...(signal ? [signal] : [])];
    for (;;) {
      const looked = new AbortController();
      // Listening before looking, so that no end falls between the two.
      const changed = worker.change(requestId, AbortSignal.any([looked.signal, ...signals]));
      try {
        const record = await this.get(requestId, signal);
        if (record.endedAt !== null || over.aborted || worker.leaving.aborted) return record;
        await changed;
      } finally {
        looked.abort();
      }
    }
  }
}

/** It goes on: another caller has it, or it waits for its turn. */
function notYet({ requestId, status }: InvocationRecord, limitMs: number): ConnectorError {
  return new ConnectorError(
    'timeout',
    `the call that has the idempotency key has not ended within ${limitMs / 1000} s; ask for invocation ${requestId} later`,
    { details: { requestId, status, timeoutMs: limitMs } },
  );
}

/** The same key asks for it again, on this server or another. */
function leaving({ requestId, status }: InvocationRecord): ConnectorError {
  return new ConnectorError(
    'unavailable',
    `the server is stopping before the end of invocation ${requestId}; ask again under the same key`,
    { details: { requestId, status }, retryAfterMs: 1_000 },
  );
}

function failureOf(record: InvocationRecord): ConnectorError | undefined {
  const { requestId, status, functionName, timeoutMs, error } = record;
  if (status === 'timed_out') return overTime(functionName, timeoutMs);
  if (status === 'cancelled') return new ConnectorError('cancelled', 'the invocation was cancelled');
  if (status !== 'lost' && !neverRan(record)) return undefined;
  const code = status === 'lost' ? 'backend_error' : codeOf(error?.name);
  const message = error?.message ?? `function ${functionName} ended as ${status}`;
  return new ConnectorError(code, message, { details: { requestId, status } });
}

/** The code that a stored failure of the platform has for its name. */
function codeOf(name: string | undefined): ErrorCode {
  return name !== undefined && Object.hasOwn(ERROR_CODES, name) ? (name as ErrorCode) : 'backend_error';
}
