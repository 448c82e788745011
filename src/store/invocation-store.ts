import { sql } from 'kysely';
import {
  DUE_PER_TENANT,
  KEY_TTL_MS,
  neverRan,
  type InvocationRecord,
} from '../connectors/serverless/invocations.ts';
import { ConnectorError } from '../errors/error.ts';
import { type Engine, wordsOf } from './engine.ts';
import { ownClaims, sharedClaims } from './invocation-claims.ts';
import { InvocationRoom } from './invocation-room.ts';
import { DUE_CONNECTORS, END, HELD_ROW, OPEN, REMOVE_EXPIRED, ROW } from './invocation-queries.ts';
import {
  INVOCATION_COLUMNS,
  invocationRecord,
  invocationRow,
  invocationSummary,
  nativeColumns,
  outcomeColumns,
  requestCheck,
  type SummaryRow,
} from './invocation-rows.ts';
import { pacer } from './pacer.ts';
import { prepared } from './prepared.ts';
import type { Database, InvocationRow } from './schema.ts';
import type { Store } from './store.ts';

type InvocationStore = Pick<
  Store,
  | 'addInvocation'
  | 'claimInvocations'
  | 'renewInvocations'
  | 'endInvocation'
  | 'deferInvocation'
  | 'cancelInvocation'
  | 'getInvocation'
  | 'listInvocations'
  | 'endedInvocations'
  | 'dueInvocations'
  | 'releaseInvocations'
  | 'removeExpiredInvocations'
>;

/** Rows removed by one statement; between two of them other work has its turn. */
const ROWS_PER_DELETE = 200;

/** The part of the store that keeps invocations. */
export function invocationStore(
  engine: Engine,
  room: InvocationRoom = new InvocationRoom({ isShared: engine.peers !== undefined }),
): InvocationStore {
  const { reader, writer } = engine;
  return {
    ...(engine.peers ? sharedClaims(engine) : ownClaims(engine)),

    async addInvocation(invocation) {
      const db = writer(invocation.tenantId);
      if (invocation.idempotencyKey === null) {
        await insertBelowConnector(db, invocation, room);
        return { record: invocation, isNew: true };
      }
      return db.transaction().execute(async (db) => {
        const known = await holderOfKey(db, invocation);
        if (known === undefined) {
          await insertBelowConnector(db, invocation, room);
          return { record: invocation, isNew: true };
        }
        const isSame = known.payloadHash === invocation.payloadHash;
        if (!neverRan(known) || !isSame) return { record: known, isNew: false };
        return { record: await beginAnew(db, known, invocation), isNew: true };
      });
    },

    async endInvocation(lease, end) {
      const columns = outcomeColumns(lease.requestId, end);
      const { numAffectedRows } = await END(writer(lease.tenantId), {
        ...lease,
        ...columns,
        status: end.status,
      });
      return numAffectedRows === 1n;
    },

    async deferInvocation({ tenantId, requestId, fence }, { status, dueAt, failures, native }) {
      const { numUpdatedRows } = await writer(tenantId)
        .updateTable('invocations')
        .set({ status, due_at: dueAt.getTime(), failures, ...nativeColumns(requestId, native) })
        .where('request_id', '=', requestId)
        .where('tenant_id', '=', tenantId)
        .where('fence', '=', fence)
        .where('due_at', 'is not', null)
        .executeTakeFirst();
      return numUpdatedRows === 1n;
    },

    cancelInvocation(tenantId, connectorId, requestId, end) {
      return writer(tenantId)
        .transaction()
        .execute(async (db) => {
          const { rows } = await HELD_ROW(db, { tenantId, connectorId, requestId });
          const [row] = rows;
          if (!row) return undefined;
          const before = invocationRecord(row);
          if (before.endedAt !== null) return { record: before, before };
          const fence = before.fence + 1;
          await db
            .updateTable('invocations')
            .set({ status: end.status, due_at: null, fence, ...outcomeColumns(requestId, end) })
            .where('request_id', '=', requestId)
            .execute();
          return { record: { ...before, ...end, fence, dueAt: null }, before };
        });
    },

    async getInvocation(tenantId, connectorId, requestId) {
      const { rows } = await ROW(reader(tenantId), { tenantId, connectorId, requestId });
      const [row] = rows;
      return row && invocationRecord(row);
    },

    async listInvocations(tenantId, connectorId, filter) {
      const { functionName, status, since, until, limit, after } = filter;
      const db = reader(tenantId);
      const { json } = wordsOf(db);
      const rows = await db
        .selectFrom('invocations')
        .select(['request_id', 'function_name', 'status', 'failures', 'native', 'native_check', 'created_at'])
        .select([
          json<string>('outcome', 'error').as('error'),
          json<number | string>('outcome', 'durationMs').as('duration_ms'),
          json<number | string>('outcome', 'endedAt').as('ended_at'),
        ])
        .where('connector_id', '=', connectorId)
        .where('tenant_id', '=', tenantId)
        .$if(functionName !== undefined, (q) => q.where('function_name', '=', functionName ?? ''))
        .$if(status !== undefined, (q) => q.where('status', '=', status ?? ''))
        .$if(since !== undefined, (q) => q.where('created_at', '>=', since?.getTime() ?? 0))
        .$if(until !== undefined, (q) => q.where('created_at', '<', until?.getTime() ?? 0))
        .$if(after !== undefined, (q) =>
          q.where(
            sql<boolean>`(created_at, request_id) < (${after?.createdAt.getTime()}, ${after?.requestId})`,
          ),
        )
        .orderBy('created_at', 'desc')
        .orderBy('request_id', 'desc')
        .limit(limit)
        .execute();
      return rows.map((row: SummaryRow) => invocationSummary(row));
    },

    async endedInvocations(requestIds) {
      const { rows } = await OPEN(reader(null), { requestIds: JSON.stringify(requestIds) });
      const open = new Set(rows.map(({ request_id }) => request_id));
      return requestIds.filter((requestId) => !open.has(requestId));
    },

    async dueInvocations(now, after) {
      const given = JSON.stringify(Object.fromEntries(after));
      const { rows } = await DUE_CONNECTORS(reader(null), { dueBy: now.getTime(), after: given });
      const last = rows.filter(({ place }) => place === DUE_PER_TENANT);
      return {
        connectors: rows
          .filter(({ isDue }) => isDue)
          .map(({ tenantId, connectorId }) => ({ tenantId, connectorId })),
        after: new Map(last.map(({ tenantId, connectorId }) => [tenantId, connectorId])),
      };
    },

    async releaseInvocations(now) {
      await writer(null)
        .updateTable('invocations')
        .set({ due_at: now.getTime() })
        .where('due_at', '>', now.getTime())
        // What was accepted by a clock that has been set back since would wait until then.
        .where((eb) => eb.or([eb('status', '=', 'running'), eb('created_at', '>', now.getTime())]))
        // What a platform carries on is nobody's lease.
        .where('native', 'is', null)
        .execute();
    },

    async removeExpiredInvocations(at, forget) {
      const pause = pacer();
      for (let removed = 0; ; await pause()) {
        const db = reader(null);
        const expired = await db
          .selectFrom('invocations')
          .select(['request_id', 'tenant_id as tenantId', 'connector_id as connectorId'])
          .select(wordsOf(db).json<string>('outcome', 'resultFile').as('resultFile'))
          .where('expires_at', '<', at.getTime())
          .limit(ROWS_PER_DELETE)
          .execute();
        const files = expired.flatMap(({ tenantId, connectorId, resultFile }) =>
          resultFile === null ? [] : [{ tenantId, connectorId, resultFile }],
        );
        if (files.length > 0) await forget?.(files);
        const ids = expired.map(({ request_id }) => request_id);
        if (ids.length > 0)
          await REMOVE_EXPIRED(writer(null), { requestIds: JSON.stringify(ids), at: at.getTime() });
        removed += ids.length;
        if (ids.length < ROWS_PER_DELETE) return removed;
      }
    },
  };
}

/** The invocation that holds the idempotency key; one whose time with it is over lets go of it. */
async function holderOfKey(db: Database, wanted: InvocationRecord): Promise<InvocationRecord | undefined> {
  const { tenantId, connectorId, functionName, idempotencyKey } = wanted;
  if (idempotencyKey === null) return undefined;
  const turn = wordsOf(db).queue(db, connectorId, functionName, idempotencyKey);
  if (turn) await turn;
  const row = await db
    .selectFrom('invocations')
    .selectAll()
    .where('connector_id', '=', connectorId)
    .where('function_name', '=', functionName)
    .where('idempotency_key', '=', idempotencyKey)
    .where('tenant_id', '=', tenantId)
    .$call(wordsOf(db).hold)
    .executeTakeFirst();
  if (!row) return undefined;
  const holder = invocationRecord(row);
  const isOver = holder.createdAt.getTime() + KEY_TTL_MS <= wanted.createdAt.getTime();
  if (holder.endedAt === null || !isOver) return holder;
  const freed = { ...row, idempotency_key: null };
  await db
    .updateTable('invocations')
    .set({ idempotency_key: null, request_check: requestCheck(freed) })
    .where('request_id', '=', row.request_id)
    .execute();
  return undefined;
}

/** The same invocation once more, under a new fence, as the wanted one would begin. */
async function beginAnew(
  db: Database,
  known: InvocationRecord,
  {
    status,
    dueAt,
    native,
    result,
    resultFile,
    error,
    logs,
    durationMs,
    endedAt,
    expiresAt,
  }: InvocationRecord,
): Promise<InvocationRecord> {
  const outcome = { status, result, resultFile, error, logs, durationMs, endedAt, expiresAt };
  const record = { ...known, ...outcome, dueAt, native, failures: 0, fence: known.fence + 1 };
  await db
    .updateTable('invocations')
    .set({
      status,
      due_at: dueAt?.getTime() ?? null,
      fence: record.fence,
      failures: 0,
      ...nativeColumns(known.requestId, native),
      ...outcomeColumns(known.requestId, outcome),
    })
    .where('request_id', '=', known.requestId)
    .execute();
  return record;
}

/** Inserts by way of the connector's row, so that nothing is stored below one that is gone or another tenant's. */
async function insertBelowConnector(
  db: Database,
  invocation: InvocationRecord,
  room: InvocationRoom,
): Promise<void> {
  const row = invocationRow(invocation);
  await room.take(db, row);
  const { numAffectedRows } = await INSERT(db, row);
  if (numAffectedRows === 1n) return;
  throw new ConnectorError('not_found', 'the connector of the invocation does not exist');
}

const INSERT = prepared<InvocationRow, never>((db, value) =>
  db
    .insertInto('invocations')
    .columns(INVOCATION_COLUMNS)
    .expression(
      db
        .selectFrom('connectors')
        .select(INVOCATION_COLUMNS.map((column) => sql.val(value(column)).as(column)))
        .where('connector_id', '=', value('connector_id'))
        .where('tenant_id', '=', value('tenant_id')),
    ),
);
