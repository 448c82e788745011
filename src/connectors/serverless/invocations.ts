import { createHash } from 'node:crypto';
import type { FunctionFailure, JsonValue } from './driver.ts';

export type InvocationStatus = 'queued' | 'running' | 'completed' | 'failed' | 'timed_out';

/** One invocation as the store keeps it. */
export type InvocationRecord = {
  readonly requestId: string;
  readonly tenantId: string;
  readonly connectorId: string;
  readonly functionName: string;
  readonly status: InvocationStatus;
  readonly payload: JsonValue;
  /** SHA-256 of the payload's JSON, in hex: tells a repetition from another call under the same key. */
  readonly payloadHash: string;
  readonly idempotencyKey: string | null;
  /** The function's own time limit, in milliseconds. */
  readonly timeoutMs: number;
  readonly result: JsonValue | null;
  readonly error: FunctionFailure | null;
  readonly logs: string | null;
  readonly durationMs: number | null;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
  /** When the row may be removed; null while it has not ended. */
  readonly expiresAt: Date | null;
};

export type InvocationEnd = Pick<
  InvocationRecord,
  'status' | 'result' | 'error' | 'logs' | 'durationMs' | 'endedAt' | 'expiresAt'
>;

/** Where invocations are kept; the registry's store implements it for one tenant. Every method is durable when it resolves. */
export interface InvocationLog {
  /**
   * Stores an invocation, unless its idempotency key is known for the connector: then nothing is stored, and the
   * answer is the invocation that holds the key.
   */
  add(invocation: InvocationRecord): Promise<InvocationRecord>;
  markRunning(requestId: string): Promise<void>;
  end(requestId: string, end: InvocationEnd): Promise<void>;
  get(requestId: string): Promise<InvocationRecord | undefined>;
}

/** An invocation as callers see it. */
export type Invocation = {
  readonly function: string;
  readonly requestId: string;
  readonly status: InvocationStatus;
  readonly result?: JsonValue;
  /** What the function threw; also why an asynchronous invocation could not be run. */
  readonly error?: FunctionFailure;
  readonly logs?: string;
  readonly durationMs?: number;
};

/** A stored invocation as callers see it. */
export function invocationOf(record: InvocationRecord): Invocation {
  const { requestId, functionName, status, result, error, logs, durationMs } = record;
  return {
    function: functionName,
    requestId,
    status,
    // A completed function that answered nothing has the result null; one that has not ended has none.
    ...(status === 'completed' && { result }),
    ...(error !== null && { error }),
    ...(logs !== null && { logs }),
    ...(durationMs !== null && { durationMs }),
  };
}

/** SHA-256 of a payload's JSON text, in hex. */
export function payloadHash(json: string): string {
  return createHash('sha256').update(json).digest('hex');
}

/**
 * True when an invocation ran to its end. One that has ended without a duration never did, for example because the
 * platform was down: the same idempotency key may run it again.
 */
export function hasRun(record: InvocationRecord): boolean {
  return record.endedAt !== null && record.durationMs !== null;
}
