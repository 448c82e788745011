import { type RawBuilder, sql } from 'kysely';
import { DUE_PER_TENANT, type InvocationLease } from '../connectors/serverless/invocations.ts';
import { isPostgres, wordsOf } from './engine.ts';
import type { outcomeColumns } from './invocation-rows.ts';
import { prepared, type Value } from './prepared.ts';
import type { Database, InvocationRow } from './schema.ts';

export type Place = { readonly tenantId: string; readonly connectorId: string };

type Of = Place & { readonly requestId: string };

const byId = (db: Database, value: Value<Of>) =>
  db
    .selectFrom('invocations')
    .selectAll()
    .where('request_id', '=', value('requestId'))
    .where('tenant_id', '=', value('tenantId'))
    .where('connector_id', '=', value('connectorId'));

export const ROW = prepared<Of, InvocationRow>(byId);

/** The same, held until the transaction ends. */
export const HELD_ROW = prepared<Of, InvocationRow>((db, value) => byId(db, value).$call(wordsOf(db).hold));

export const DUE_ROWS = prepared<Place & { readonly limit: number; readonly dueBy: number }, InvocationRow>(
  (db, value) =>
    db
      .selectFrom('invocations')
      .selectAll()
      .where('connector_id', '=', value('connectorId'))
      .where('tenant_id', '=', value('tenantId'))
      .where('due_at', '<=', value('dueBy'))
      .orderBy('due_at')
      .orderBy('request_id')
      .limit(value('limit'))
      .$call(wordsOf(db).holdFree),
);

type Claim = Pick<InvocationRow, 'request_id' | 'due_at' | 'fence' | 'takeovers'>;

export const CLAIM = prepared<Claim, never>((db, value) =>
  db
    .updateTable('invocations')
    .set({
      status: 'running',
      due_at: value('due_at'),
      fence: value('fence'),
      takeovers: value('takeovers'),
    })
    .where('request_id', '=', value('request_id')),
);

export const RENEW = prepared<InvocationLease & { readonly dueAt: number }, never>((db, value) =>
  db
    .updateTable('invocations')
    .set({ due_at: value('dueAt') })
    .where('request_id', '=', value('requestId'))
    .where('tenant_id', '=', value('tenantId'))
    .where('fence', '=', value('fence'))
    .where('due_at', 'is not', null),
);

type EndValues = Omit<InvocationLease, 'connectorId'> &
  ReturnType<typeof outcomeColumns> & { readonly status: string };

export const END = prepared<EndValues, never>((db, value) =>
  db
    .updateTable('invocations')
    .set({
      status: value('status'),
      due_at: null,
      outcome: value('outcome'),
      expires_at: value('expires_at'),
      outcome_check: value('outcome_check'),
    })
    .where('request_id', '=', value('requestId'))
    .where('tenant_id', '=', value('tenantId'))
    .where('fence', '=', value('fence'))
    // What has ended stays as it ended.
    .where('due_at', 'is not', null),
);

/** Of these, the ones that have not ended. The ids are a JSON text, so that there is one statement for any number. */
export const OPEN = prepared<{ readonly requestIds: string }, Pick<InvocationRow, 'request_id'>>(
  (db, value) =>
    db
      .selectFrom('invocations')
      .select('request_id')
      .where(({ eb, ref }) => eb(ref('request_id'), 'in', wordsOf(db).listed(value('requestIds'))))
      .where('due_at', 'is not', null),
);

/** Holds them in the order of their ids, as all who write several do, and leaves those that somebody is at. */
export const REMOVE_EXPIRED = prepared<{ readonly requestIds: string; readonly at: number }, never>(
  (db, value) =>
    db.deleteFrom('invocations').where('request_id', 'in', (eb) =>
      eb
        .selectFrom('invocations')
        .select('request_id')
        .where(({ eb, ref }) => eb(ref('request_id'), 'in', wordsOf(db).listed(value('requestIds'))))
        // One that was begun anew meanwhile has no such time any more.
        .where('expires_at', '<', value('at'))
        .orderBy('request_id')
        .$call(wordsOf(db).holdFree),
    ),
);

type Looked = Place & { readonly isDue: boolean | number; readonly place: number };

/**
 * Jumps on the index from one connector to the next, however many rows each has, and in each tenant no further than so many
 * with something that has not ended, from where the look before stopped. The first of each tenant come before the second
 * of any.
 *
 * A row of `looked` is a connector, or the step before a tenant (no id) or before its first connector (place 0 and 1).
 */
export const DUE_CONNECTORS = prepared<{ readonly dueBy: number; readonly after: string }, Looked>(
  (db, value) =>
    sql<Looked>`
      with recursive looked (tenant, id, place) as (
        select cast(min(tenant_id) as text), cast(min(tenant_id) as text), 0 from invocations where due_at is not null
        union all
        select
          case when id is null
            then (select min(tenant_id) from invocations where due_at is not null and tenant_id > looked.tenant)
            else tenant end,
          case
            when id is null then tenant
            when place = 0 then coalesce((select value from ${wordsOf(db).members(value('after'))} where key = tenant), '')
            when place <= ${sql.lit(DUE_PER_TENANT)} then (
              select case when tenant_id = looked.tenant then connector_id end from invocations
              where due_at is not null and ${onwards(db, '>')}
              order by tenant_id, connector_id limit 1
            ) end,
          case when id is null then 0 else place + 1 end
        from looked where tenant is not null
      ),
      found as materialized (
        select tenant, id, place - 1 as place, (
          select due_at from invocations
          where due_at is not null and ${onwards(db, '>=')}
          order by tenant_id, connector_id, due_at limit 1
        ) <= ${value('dueBy')} as is_due
        from looked where id is not null and place > 1
      )
      select tenant as "tenantId", id as "connectorId", is_due as "isDue", place from found
      where is_due or place = ${sql.lit(DUE_PER_TENANT)} order by place`,
);

/** From the connector that was looked at on: each database finds its way on the index by one of these, and by the other reads all rows of a tenant. */
function onwards(db: Database, than: '>' | '>='): RawBuilder<boolean> {
  return isPostgres(db)
    ? sql`(tenant_id, connector_id) ${sql.raw(than)} (looked.tenant, looked.id)`
    : sql`tenant_id = looked.tenant and connector_id ${sql.raw(than)} looked.id`;
}
