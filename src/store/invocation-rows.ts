import type { NativeRun } from '../connectors/serverless/driver.ts';
import {
  INVOCATION_STATUSES,
  type InvocationEnd,
  type InvocationRecord,
  type InvocationStatus,
  type InvocationSummary,
} from '../connectors/serverless/invocations.ts';
import { checkValue, damagedRow, verifyRow } from './check-value.ts';
import type { InvocationRow } from './schema.ts';

/** What the column `request` holds. Rows of earlier versions do not say whether they may be repeated. */
type RequestJson = Pick<InvocationRecord, 'functionName' | 'payload' | 'payloadHash' | 'timeoutMs'> & {
  readonly repeatable?: boolean;
};
/** What the column `outcome` holds. Rows of earlier versions have no results in files. */
type OutcomeJson = Pick<InvocationRecord, 'result' | 'error' | 'logs' | 'durationMs'> & {
  readonly endedAt: number | null;
  readonly resultFile?: string | null;
};

const UNFINISHED: OutcomeJson = { result: null, error: null, logs: null, durationMs: null, endedAt: null };

export function invocationRow(invocation: InvocationRecord): InvocationRow {
  const { requestId, tenantId, connectorId, functionName, idempotencyKey } = invocation;
  const { payload, payloadHash, timeoutMs, repeatable } = invocation;
  const request = JSON.stringify({
    functionName,
    payload,
    payloadHash,
    timeoutMs,
    repeatable,
  } satisfies RequestJson);
  const row = {
    request_id: requestId,
    tenant_id: tenantId,
    connector_id: connectorId,
    function_name: functionName,
    idempotency_key: idempotencyKey,
    created_at: invocation.createdAt.getTime(),
    request,
  };
  return {
    ...row,
    request_check: requestCheck(row),
    status: invocation.status,
    due_at: invocation.dueAt?.getTime() ?? null,
    fence: invocation.fence,
    failures: invocation.failures,
    takeovers: invocation.takeovers,
    ...nativeColumns(requestId, invocation.native),
    ...outcomeColumns(requestId, invocation),
  };
}

export const INVOCATION_COLUMNS = [
  'request_id',
  'tenant_id',
  'connector_id',
  'function_name',
  'status',
  'idempotency_key',
  'created_at',
  'due_at',
  'fence',
  'failures',
  'takeovers',
  'request',
  'request_check',
  'native',
  'native_check',
  'outcome',
  'expires_at',
  'outcome_check',
] as const satisfies readonly (keyof InvocationRow)[];

export function requestCheck(
  row: Pick<
    InvocationRow,
    'request_id' | 'tenant_id' | 'connector_id' | 'idempotency_key' | 'created_at' | 'request'
  >,
): number {
  const { request_id: id, tenant_id: tenantId, connector_id: connectorId } = row;
  return checkValue(id, tenantId, connectorId, row.idempotency_key, row.created_at, row.request);
}

export function nativeColumns(requestId: string, native: NativeRun | null) {
  const text = native && JSON.stringify(native);
  return { native: text, native_check: text === null ? null : checkValue(requestId, text) };
}

export function outcomeColumns(requestId: string, end: InvocationEnd) {
  const { result, resultFile, error, logs, durationMs } = end;
  const endedAt = end.endedAt?.getTime() ?? null;
  const expiresAt = end.expiresAt?.getTime() ?? null;
  const outcome =
    endedAt === null
      ? null
      : JSON.stringify({ result, resultFile, error, logs, durationMs, endedAt } satisfies OutcomeJson);
  return { outcome, expires_at: expiresAt, outcome_check: checkValue(requestId, outcome, expiresAt) };
}

/** @throws ConnectorError `internal` where the row is not what was stored. */
export function invocationRecord(row: InvocationRow): InvocationRecord {
  const { request_id: id, outcome, expires_at: expiresAt } = row;
  if (row.request_check !== requestCheck(row)) throw damagedRow('invocation', id);
  verifyRow('invocation', id, row.outcome_check, id, outcome, expiresAt);
  // The check values say that these are the texts that were written above.
  const {
    endedAt,
    resultFile = null,
    ...ended
  } = outcome === null ? UNFINISHED : (JSON.parse(outcome) as OutcomeJson);
  const { repeatable = row.idempotency_key === null, ...request } = JSON.parse(row.request) as RequestJson;
  if (request.functionName !== row.function_name) throw damagedRow('invocation', id);
  return {
    ...request,
    ...ended,
    repeatable,
    resultFile,
    requestId: id,
    tenantId: row.tenant_id,
    connectorId: row.connector_id,
    status: statusOf(row),
    idempotencyKey: row.idempotency_key,
    failures: row.failures,
    takeovers: row.takeovers,
    fence: row.fence,
    dueAt: row.due_at === null ? null : new Date(row.due_at),
    native: nativeOf(row),
    createdAt: new Date(row.created_at),
    endedAt: endedAt === null ? null : new Date(endedAt),
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
  };
}

export type SummaryRow = Pick<
  InvocationRow,
  'request_id' | 'function_name' | 'status' | 'failures' | 'native' | 'native_check' | 'created_at'
> & {
  readonly error: string | null;
  readonly duration_ms: number | string | null;
  readonly ended_at: number | string | null;
};

export function invocationSummary(row: SummaryRow): InvocationSummary {
  return {
    requestId: row.request_id,
    functionName: row.function_name,
    status: statusOf(row),
    failures: row.failures,
    native: nativeOf(row),
    // Written above, and read by the database itself, which may answer a number of a JSON text as text.
    error: row.error === null ? null : (JSON.parse(row.error) as InvocationSummary['error']),
    durationMs: row.duration_ms === null ? null : Number(row.duration_ms),
    createdAt: new Date(row.created_at),
    endedAt: row.ended_at === null ? null : new Date(Number(row.ended_at)),
  };
}

function nativeOf(row: Pick<InvocationRow, 'request_id' | 'native' | 'native_check'>): NativeRun | null {
  if (row.native === null) return null;
  verifyRow('invocation', row.request_id, row.native_check ?? 0, row.request_id, row.native);
  return JSON.parse(row.native) as NativeRun;
}

function statusOf({ request_id, status }: Pick<InvocationRow, 'request_id' | 'status'>): InvocationStatus {
  const known = INVOCATION_STATUSES.find((one) => one === status);
  if (known) return known;
  throw damagedRow('invocation', request_id);
}
