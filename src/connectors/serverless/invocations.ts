import { createHash } from 'node:crypto';
import { ConnectorError } from '../../errors/error.ts';
import type { CallOptions } from '../base.ts';
import type { FunctionFailure, JsonValue, NativeRun } from './driver.ts';

/** Every state of an invocation; the last five are ends. */
export const INVOCATION_STATUSES = [
  'queued',
  'running',
  'completed',
  'failed',
  'timed_out',
  'cancelled',
  'lost',
] as const;
export type InvocationStatus = (typeof INVOCATION_STATUSES)[number];

/** How long an idempotency key answers the first call, in milliseconds. */
export const KEY_TTL_MS = 24 * 3_600_000;

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
  /** Unique within the function for {@link KEY_TTL_MS}. */
  readonly idempotencyKey: string | null;
  /** Whether the function may run more than once for this invocation; false under a key, unless it is declared idempotent. */
  readonly repeatable: boolean;
  /** The function's own time limit, in milliseconds. */
  readonly timeoutMs: number;
  /** Attempts that the platform failed so far. */
  readonly failures: number;
  /** How often a worker ended in the middle of it, and another took it over. */
  readonly takeovers: number;
  /** Grows with each worker that takes the invocation up: only the holder of the last number may write. */
  readonly fence: number;
  /** When a worker may take it up: its turn while it is queued, the end of the lease while it runs; null once it has ended. */
  readonly dueAt: Date | null;
  /** The run that the platform carries on by itself. */
  readonly native: NativeRun | null;
  readonly result: JsonValue | null;
  /** Names where the result lies that is too large for a row; the store's keeper puts it there and reads it back. */
  readonly resultFile: string | null;
  readonly error: FunctionFailure | null;
  readonly logs: string | null;
  readonly durationMs: number | null;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
  /** When the row may be removed; null while it has not ended. */
  readonly expiresAt: Date | null;
};

/** What a listing shows of one: neither its payload nor its result. */
export type InvocationSummary = Pick<
  InvocationRecord,
  | 'requestId'
  | 'functionName'
  | 'status'
  | 'failures'
  | 'native'
  | 'error'
  | 'durationMs'
  | 'createdAt'
  | 'endedAt'
>;

/** The right to write one invocation, until another worker takes it up. */
export type InvocationLease = Pick<InvocationRecord, 'tenantId' | 'connectorId' | 'requestId' | 'fence'>;

export type InvocationEnd = Pick<
  InvocationRecord,
  'status' | 'result' | 'resultFile' | 'error' | 'logs' | 'durationMs' | 'endedAt' | 'expiresAt'
>;

/** What is written when a worker lets go of an invocation that has not ended. */
export type InvocationDeferral = Pick<InvocationRecord, 'failures' | 'native'> & {
  readonly status: 'queued' | 'running';
  readonly dueAt: Date;
};

/** An invocation that a worker has just taken up. */
export type ClaimedInvocation = InvocationRecord & {
  /** The worker before handed it to the platform, or was about to, and said no more. */
  readonly interrupted: boolean;
};

/** How many invocations of a connector a worker would take up. */
export type ClaimWant = Pick<InvocationRecord, 'tenantId' | 'connectorId'> & {
  readonly limit: number;
  /** How many of them may run at once, on all servers that share the store. */
  readonly maxConcurrency: number;
};

/** What came of it. */
export type InvocationClaim = {
  readonly claimed: readonly ClaimedInvocation[];
  /** Ids of connectors of which as many run as may, on this server and others: more may be due. */
  readonly full: readonly string[];
};

/** Which invocations to list, newest first. */
export type InvocationFilter = {
  readonly functionName?: string | undefined;
  readonly status?: InvocationStatus | undefined;
  /** Accepted at or after. */
  readonly since?: Date | undefined;
  /** Accepted before. */
  readonly until?: Date | undefined;
  readonly limit: number;
  /** Only those that follow this one. */
  readonly after?: { readonly createdAt: Date; readonly requestId: string } | undefined;
};

/** Where one connector's invocations are kept. Every method is durable when it resolves. */
export interface InvocationLog {
  /**
   * Stores an invocation, unless its idempotency key is known for the function: then the answer is the one that holds
   * the key. One that ended without having run is begun anew, and the answer to that is new.
   */
  add(invocation: InvocationRecord): Promise<{ readonly record: InvocationRecord; readonly isNew: boolean }>;
  get(requestId: string): Promise<InvocationRecord | undefined>;
  list(filter: InvocationFilter): Promise<readonly InvocationSummary[]>;
  /** Ends what has not ended, whoever is at it. The invocation as it is then, and as it was before. */
  cancel(
    requestId: string,
    end: InvocationEnd,
  ): Promise<{ readonly record: InvocationRecord; readonly before: InvocationRecord } | undefined>;
}

/** What a worker asks of the store. Every method is durable when it resolves. */
export interface InvocationQueue {
  /** Takes up what is due, oldest first, until `leaseEnd`; what another worker holds and did not finish in time included. */
  claim(wants: readonly ClaimWant[], now: Date, leaseEnd: Date): Promise<InvocationClaim>;
  /** Prolongs leases; those that are still held. */
  renew(leases: readonly InvocationLease[], leaseEnd: Date): Promise<readonly InvocationLease[]>;
  /** False where the lease was lost: nothing is written then. */
  end(lease: InvocationLease, end: InvocationEnd): Promise<boolean>;
  /** False where the lease was lost. */
  defer(lease: InvocationLease, deferral: InvocationDeferral): Promise<boolean>;
  /** Of these, the ones that have ended, or are gone. */
  ended(requestIds: readonly string[]): Promise<readonly string[]>;
  /** Connectors with something due: all of those among the next {@link DUE_PER_TENANT} of each tenant, fairly mixed. */
  due(now: Date, after: DueAfter): Promise<DueConnectors>;
}

/** How many connectors of one tenant are looked at at once, at most, so that those of one with many are no delay to others. */
export const DUE_PER_TENANT = 200;

/** By tenant, the connector after which the next look goes on; a tenant that is not in it has been looked at to the end. */
export type DueAfter = ReadonlyMap<string, string>;

export type DueConnectors = {
  readonly connectors: readonly Pick<InvocationRecord, 'tenantId' | 'connectorId'>[];
  readonly after: DueAfter;
};

/** An invocation as callers see it. */
export type Invocation = {
  readonly function: string;
  readonly requestId: string;
  readonly status: InvocationStatus;
  readonly result?: JsonValue;
  /** What the function threw; also why an invocation could not be run or its end is not known. */
  readonly error?: FunctionFailure;
  readonly logs?: string;
  readonly durationMs?: number;
  /** When it was accepted, for what is stored. */
  readonly createdAt?: Date;
  readonly endedAt?: Date;
  /** Attempts that the platform failed before. */
  readonly failures?: number;
  /** What the platform calls the run that it carries on by itself, and its own id of it. */
  readonly native?: NativeRun;
};

/** Which invocations to list. */
export type ListInvocationsOptions = CallOptions & {
  readonly function?: string | undefined;
  readonly status?: InvocationStatus | undefined;
  /** Accepted at or after. */
  readonly since?: Date | undefined;
  /** Accepted before. */
  readonly until?: Date | undefined;
  /** 100 by default, at most 1,000. */
  readonly limit?: number | undefined;
  /** What the page before answered. */
  readonly cursor?: string | undefined;
};

/** Invocations, newest first, without results and logs. */
export type InvocationPage = {
  readonly invocations: readonly Invocation[];
  readonly nextCursor?: string;
};

/** A stored invocation as callers see it. */
export function invocationOf(
  record: InvocationSummary & Partial<Pick<InvocationRecord, 'result' | 'logs'>>,
): Invocation {
  const { requestId, functionName, status, result, error, logs, durationMs } = record;
  const { createdAt, endedAt, failures, native } = record;
  return {
    function: functionName,
    requestId,
    status,
    // A completed function that answered nothing has the result null; one that has not ended has none.
    ...(status === 'completed' && result !== undefined && { result }),
    ...(error !== null && { error }),
    ...(logs !== null && logs !== undefined && { logs }),
    ...(durationMs !== null && { durationMs }),
    createdAt,
    ...(endedAt !== null && { endedAt }),
    ...(failures > 0 && { failures }),
    ...(native !== null && { native }),
  };
}

/** SHA-256 of a payload's JSON text, in hex. */
export function payloadHash(json: string): string {
  return createHash('sha256').update(json).digest('hex');
}

/**
 * True when the function cannot have run, because the platform was down for example: the same idempotency key may
 * begin it anew. What ran, or may have run, has a duration or another end.
 */
export function neverRan({ status, durationMs }: Pick<InvocationRecord, 'status' | 'durationMs'>): boolean {
  return status === 'failed' && durationMs === null;
}

/** @throws ConnectorError `invalid_argument` for a text that no listing answered. */
export function cursorPlace(cursor: string): NonNullable<InvocationFilter['after']> {
  const [, at, requestId] = /^(\d{1,15})\.([\w-]{1,128})$/.exec(cursor) ?? [];
  if (at === undefined || requestId === undefined) {
    throw new ConnectorError('invalid_argument', 'cursor is one that a listing answered', {
      issues: [{ path: 'cursor', message: 'is one that a listing answered' }],
    });
  }
  return { createdAt: new Date(Number(at)), requestId };
}

/** Names an invocation's place in a listing. */
export function cursorOf({
  createdAt,
  requestId,
}: Pick<InvocationRecord, 'createdAt' | 'requestId'>): string {
  return `${createdAt.getTime()}.${requestId}`;
}
