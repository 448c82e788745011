import { sql } from 'kysely';
import { type Engine, wordsOf } from './engine.ts';
import type { Database } from './schema.ts';
import type { ProbeWant, Store } from './store.ts';

/** The part of the store that says whose health is to be looked at, and how often in a row it was bad. */
export function probeStore({
  reader,
  writer,
  peers,
}: Engine): Pick<Store, 'claimProbes' | 'countFailedChecks'> {
  return {
    async claimProbes(want) {
      const due = await dueProbes(reader(null), want, peers !== undefined).execute();
      if (due.length === 0) return [];
      const now = want.now.getTime();
      const ids = due.map((row) => row.connector_id);
      const claimed = await writer(null)
        .transaction()
        .execute(async (db) => {
          // In the order in which all transactions hold connectors, and before what is below them: those that are still there.
          const held = await db
            .selectFrom('connectors')
            .select(['connector_id', 'tenant_id'])
            .where('connector_id', 'in', ids)
            .orderBy('connector_id')
            .$call(wordsOf(db).hold)
            .execute();
          if (held.length === 0) return [];
          return (
            db
              .insertInto('probes')
              .values(held.map((row) => ({ ...row, due_at: want.nextAt().getTime(), failures: 0 })))
              // Whoever comes second finds it moved.
              .onConflict((conflict) =>
                conflict
                  .column('connector_id')
                  .doUpdateSet(({ ref }) => ({ due_at: ref('excluded.due_at') }))
                  .where('probes.due_at', '<=', now),
              )
              .returning(['connector_id', 'tenant_id', 'due_at'])
              .execute()
          );
        });
      return claimed.map((row) => ({
        tenantId: row.tenant_id,
        connectorId: row.connector_id,
        nextAt: new Date(row.due_at),
      }));
    },

    async countFailedChecks({ tenantId, connectorId, failed }) {
      if (failed === 0) {
        const failures = reader(tenantId)
          .selectFrom('probes')
          .select('failures')
          .where('connector_id', '=', connectorId)
          .where('tenant_id', '=', tenantId);
        // Nearly always there is nothing to write, and no writer to wait for.
        if (!(await failures.executeTakeFirst())?.failures) return 0;
        await writer(tenantId)
          .updateTable('probes')
          .set({ failures: 0 })
          .where('connector_id', '=', connectorId)
          .where('tenant_id', '=', tenantId)
          .execute();
        return 0;
      }
      const row = await writer(tenantId)
        .insertInto('probes')
        .columns(['connector_id', 'tenant_id', 'due_at', 'failures'])
        .expression((from) =>
          from
            .selectFrom('connectors')
            .select(['connector_id', 'tenant_id', sql.lit(0).as('due_at'), sql.lit(failed).as('failures')])
            .where('connector_id', '=', connectorId)
            .where('tenant_id', '=', tenantId),
        )
        .onConflict((conflict) =>
          conflict
            .column('connector_id')
            .doUpdateSet({ failures: sql<number>`probes.failures + ${sql.lit(failed)}` }),
        )
        .returning('failures')
        .executeTakeFirst();
      return row?.failures ?? 0;
    },
  };
}

/**
 * What is connected or failed, of 1,000,000 connectors, is in the index on rare statuses; the query says its condition in
 * its words, and looks at the rest row by row: PostgreSQL takes row security to leave next to nothing, and joins that grow
 * with the square of what is connected.
 */
export function dueProbes(db: Database, { now, limit, home }: ProbeWant, isShared: boolean) {
  const dueAt = sql<number>`coalesce((select due_at from probes where probes.connector_id = connectors.connector_id), 0)`;
  const homeOf = sql<string>`(select home from homes where homes.connector_id = connectors.connector_id)`;
  return (
    db
      .selectFrom('connectors')
      .select(['connector_id', 'tenant_id'])
      .where('status', 'in', ['connected', 'error'])
      .where(sql<boolean>`status not in ('registered', 'ready')`)
      .where(dueAt, '<=', now.getTime())
      // What an embedded engine stores on another server cannot be looked at here.
      .$if(isShared && home !== undefined, (q) => q.where(sql<boolean>`coalesce(${homeOf} = ${home}, true)`))
      // Those that wait longest, so that none is left out where there are more than can be looked at.
      .orderBy(dueAt)
      .orderBy('connector_id')
      .limit(limit)
  );
}
