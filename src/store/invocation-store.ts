import { sql } from 'kysely';
import type {
  InvocationEnd,
  InvocationRecord,
  InvocationStatus,
} from '../connectors/serverless/invocations.ts';
import { ConnectorError } from '../errors/error.ts';
import { checkValue, damagedRow, verifyRow } from './check-value.ts';
import { pacer } from './pacer.ts';
import type { Database, InvocationRow } from './schema.ts';
import type { Sqlite } from './sqlite.ts';
import type { Store } from './store.ts';

type InvocationStore = Pick<
  Store,
  | 'addInvocation'
  | 'markInvocationRunning'
  | 'endInvocation'
  | 'getInvocation'
  | 'unfinishedInvocations'
  | 'removeExpiredInvocations'
>;

/** What the column `request` holds. */
type RequestJson = Pick<InvocationRecord, 'functionName' | 'payload' | 'payloadHash' | 'timeoutMs'>;
/** What the column `outcome` holds. */
type OutcomeJson = Pick<InvocationRecord, 'result' | 'error' | 'logs' | 'durationMs'> & {
  readonly endedAt: number | null;
};

/** In the very words of the index on them, without which SQLite would not use it. */
const unfinished = sql<boolean>`status in ('queued', 'running')`;

/** Rows removed by one statement; between two of them other work has its turn. */
const ROWS_PER_DELETE = 200;

/** The part of the store that keeps invocations. */
export function invocationStore({ reader, writer }: Sqlite): InvocationStore {
  return {
    addInvocation(invocation) {
      return writer.transaction().execute(async (db) => {
        const known = await findByKey(db, invocation);
        if (known) return known;
        await insertBelowConnector(db, invocation);
        return invocation;
      });
    },

    async markInvocationRunning(tenantId, requestId) {
      await writer
        .updateTable('invocations')
        .set({ status: 'running' })
        .where('request_id', '=', requestId)
        .where('tenant_id', '=', tenantId)
        .where('status', '=', 'queued')
        .execute();
    },

    async endInvocation(tenantId, requestId, end) {
      await writer
        .updateTable('invocations')
        .set({ status: end.status, ...outcomeColumns(requestId, end) })
        .where('request_id', '=', requestId)
        .where('tenant_id', '=', tenantId)
        // What has ended stays as it ended.
        .where(unfinished)
        .execute();
    },

    async getInvocation(tenantId, connectorId, requestId) {
      const row = await reader
        .selectFrom('invocations')
        .selectAll()
        .where('request_id', '=', requestId)
        .where('tenant_id', '=', tenantId)
        .where('connector_id', '=', connectorId)
        .executeTakeFirst();
      return row && invocationRecord(row);
    },

    async unfinishedInvocations() {
      const rows = await reader
        .selectFrom('invocations')
        .selectAll()
        .where(unfinished)
        .orderBy('created_at')
        .orderBy('request_id')
        .execute();
      return rows.map(invocationRecord);
    },

    async removeExpiredInvocations(at) {
      const pause = pacer();
      for (let removed = 0; ; await pause()) {
        const some = writer
          .selectFrom('invocations')
          .select('request_id')
          .where('expires_at', '<', at.getTime())
          .limit(ROWS_PER_DELETE);
        const { numDeletedRows } = await writer
          .deleteFrom('invocations')
          .where('request_id', 'in', some)
          .executeTakeFirst();
        removed += Number(numDeletedRows);
        if (numDeletedRows < ROWS_PER_DELETE) return removed;
      }
    },
  };
}

/** The invocation that holds the idempotency key already. */
async function findByKey(
  db: Database,
  { tenantId, connectorId, idempotencyKey }: InvocationRecord,
): Promise<InvocationRecord | undefined> {
  if (idempotencyKey === null) return undefined;
  const row = await db
    .selectFrom('invocations')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('connector_id', '=', connectorId)
    .where('idempotency_key', '=', idempotencyKey)
    .executeTakeFirst();
  return row && invocationRecord(row);
}

/** Inserts by way of the connector's row, so that nothing is stored below one that is gone or another tenant's. */
async function insertBelowConnector(db: Database, invocation: InvocationRecord): Promise<void> {
  const row = invocationRow(invocation);
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('invocations')
    .columns(INVOCATION_COLUMNS)
    .expression(
      db
        .selectFrom('connectors')
        .select(INVOCATION_COLUMNS.map((column) => sql.val(row[column]).as(column)))
        .where('connector_id', '=', invocation.connectorId)
        .where('tenant_id', '=', invocation.tenantId),
    )
    .executeTakeFirstOrThrow();
  if (numInsertedOrUpdatedRows === 1n) return;
  throw new ConnectorError('not_found', 'the connector of the invocation does not exist');
}

function invocationRow(invocation: InvocationRecord): InvocationRow {
  const { requestId, tenantId, connectorId, idempotencyKey } = invocation;
  const { functionName, payload, payloadHash, timeoutMs } = invocation;
  const createdAt = invocation.createdAt.getTime();
  const request = JSON.stringify({ functionName, payload, payloadHash, timeoutMs } satisfies RequestJson);
  return {
    request_id: requestId,
    tenant_id: tenantId,
    connector_id: connectorId,
    status: invocation.status,
    idempotency_key: idempotencyKey,
    created_at: createdAt,
    request,
    request_check: checkValue(requestId, tenantId, connectorId, idempotencyKey, createdAt, request),
    ...outcomeColumns(requestId, invocation),
  };
}

const INVOCATION_COLUMNS = [
  'request_id',
  'tenant_id',
  'connector_id',
  'status',
  'idempotency_key',
  'created_at',
  'request',
  'request_check',
  'outcome',
  'expires_at',
  'outcome_check',
] as const;

function outcomeColumns(requestId: string, end: InvocationEnd) {
  const { status, result, error, logs, durationMs } = end;
  const endedAt = end.endedAt?.getTime() ?? null;
  const expiresAt = end.expiresAt?.getTime() ?? null;
  const outcome =
    status === 'queued' || status === 'running'
      ? null
      : JSON.stringify({ result, error, logs, durationMs, endedAt } satisfies OutcomeJson);
  return {
    outcome,
    expires_at: expiresAt,
    outcome_check: checkValue(requestId, outcome, expiresAt),
  };
}

function invocationRecord(row: InvocationRow): InvocationRecord {
  const { request_id: id, tenant_id: tenantId, connector_id: connectorId, idempotency_key: key } = row;
  const { created_at: createdAt, request, outcome, expires_at: expiresAt } = row;
  verifyRow('invocation', id, row.request_check, id, tenantId, connectorId, key, createdAt, request);
  verifyRow('invocation', id, row.outcome_check, id, outcome, expiresAt);
  // The check values say that these are the texts that were written above.
  const { endedAt, ...ended } = outcome === null ? UNFINISHED : (JSON.parse(outcome) as OutcomeJson);
  return {
    ...(JSON.parse(request) as RequestJson),
    ...ended,
    requestId: id,
    tenantId,
    connectorId,
    status: status(row),
    idempotencyKey: key,
    createdAt: new Date(createdAt),
    endedAt: endedAt === null ? null : new Date(endedAt),
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
  };
}

const UNFINISHED: OutcomeJson = { result: null, error: null, logs: null, durationMs: null, endedAt: null };

function status({ request_id, status }: InvocationRow): InvocationStatus {
  switch (status) {
    case 'queued':
    case 'running':
    case 'completed':
    case 'failed':
    case 'timed_out':
      return status;
  }
  throw damagedRow('invocation', request_id);
}
