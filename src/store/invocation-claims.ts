import { sql } from 'kysely';
import type { ClaimedInvocation, InvocationLease } from '../connectors/serverless/invocations.ts';
import type { Engine } from './engine.ts';
import { CLAIM, DUE_ROWS, RENEW } from './invocation-queries.ts';
import { invocationRecord } from './invocation-rows.ts';
import { prepared } from './prepared.ts';
import type { InvocationRow } from './schema.ts';
import type { Store } from './store.ts';

type Claims = Pick<Store, 'claimInvocations' | 'renewInvocations'>;

/** How leases are taken and prolonged by a process that has the database to itself: no row is held by anybody else. */
export function ownClaims({ writer }: Engine): Claims {
  return {
    claimInvocations(wants, now, leaseEnd) {
      const dueBy = now.getTime();
      const dueAt = leaseEnd.getTime();
      return writer(null)
        .transaction()
        .execute(async (db) => {
          const due: InvocationRow[] = [];
          for (const { tenantId, connectorId, limit } of wants) {
            const { rows } = await DUE_ROWS(db, { tenantId, connectorId, limit, dueBy });
            due.push(...rows);
          }
          const taken = due.map((row) => {
            const interrupted = row.status === 'running' && row.native === null;
            const takeovers = row.takeovers + (interrupted ? 1 : 0);
            return {
              interrupted,
              row: { ...row, status: 'running', due_at: dueAt, fence: row.fence + 1, takeovers },
            };
          });
          for (const { row } of taken) await CLAIM(db, row);
          // What runs of a connector is all this process's, which counts it itself.
          return { claimed: taken.flatMap(claimedRow), full: [] };
        });
    },

    renewInvocations(leases, leaseEnd) {
      return writer(null)
        .transaction()
        .execute(async (db) => {
          const held: InvocationLease[] = [];
          for (const lease of leases) {
            const { numAffectedRows } = await RENEW(db, { ...lease, dueAt: leaseEnd.getTime() });
            if (numAffectedRows === 1n) held.push(lease);
          }
          return held;
        });
    },
  };
}

/** The same among several processes: one statement each, so that none of them holds a row while it does not go on. */
export function sharedClaims({ writer }: Engine): Claims {
  return {
    async claimInvocations(wants, now, leaseEnd) {
      const given = wants.map(({ tenantId, connectorId, limit, maxConcurrency }) => ({
        ...{ tenantId, connectorId, limit, maxConcurrency },
      }));
      const { rows } = await CLAIM_ALL(writer(null), {
        wants: JSON.stringify(given),
        dueBy: now.getTime(),
        leaseEnd: leaseEnd.getTime(),
      });
      return {
        claimed: rows.flatMap((row) =>
          row.was_due === null ? [] : claimedRow({ row, interrupted: row.interrupted }),
        ),
        full: rows.flatMap(({ connector, was_due }) => (was_due === null ? [connector] : [])),
      };
    },

    async renewInvocations(leases, leaseEnd) {
      if (leases.length === 0) return [];
      const given = leases.map(({ requestId, tenantId, fence }) => ({ requestId, tenantId, fence }));
      const { rows } = await RENEW_ALL(writer(null), {
        leases: JSON.stringify(given),
        leaseEnd: leaseEnd.getTime(),
      });
      const held = new Set(rows.map(({ requestId }) => requestId));
      return leases.filter(({ requestId }) => held.has(requestId));
    },
  };
}

/** None where it is damaged, as whoever asks for it is told: it is out of the way of the others until the lease ends. */
function claimedRow({
  row,
  interrupted,
}: {
  readonly row: InvocationRow;
  readonly interrupted: boolean;
}): readonly ClaimedInvocation[] {
  try {
    return [{ ...invocationRecord(row), interrupted }];
  } catch {
    return [];
  }
}

type Claimed = { readonly connector: string } & (
  (InvocationRow & { readonly was_due: number; readonly interrupted: boolean }) | { readonly was_due: null }
);

/** See the migration that makes the function. */
const CLAIM_ALL = prepared<
  { readonly wants: string; readonly dueBy: number; readonly leaseEnd: number },
  Claimed
>(
  (db, value) =>
    sql<Claimed>`select connector, was_due, interrupted, (claimed).*
      from claim_invocations(${value('wants')}::json, ${value('dueBy')}::bigint, ${value('leaseEnd')}::bigint)
      order by was_due, (claimed).request_id`,
);

/** Holds the rows in the order of their ids before it writes them, as all who write several do. */
const RENEW_ALL = prepared<
  { readonly leases: string; readonly leaseEnd: number },
  { readonly requestId: string }
>(
  (db, value) =>
    sql<{ readonly requestId: string }>`
      with held as (
        select request_id from invocations
        join json_to_recordset(${value('leases')}::json) as lease ("requestId" text, "tenantId" text, fence bigint)
          on request_id = "requestId" and tenant_id = "tenantId" and invocations.fence = lease.fence
        where due_at is not null
        order by request_id for no key update of invocations
      )
      update invocations set due_at = ${value('leaseEnd')}::bigint from held
      where invocations.request_id = held.request_id
      returning invocations.request_id as "requestId"`,
);
