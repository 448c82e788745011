import { sql } from 'kysely';
import type { InvocationLease } from '../connectors/serverless/invocations.ts';
import { wordsOf } from './engine.ts';
import type { outcomeColumns } from './invocation-rows.ts';
import { prepared } from './prepared.ts';
import type { InvocationRow } from './schema.ts';

export type Place = { readonly tenantId: string; readonly connectorId: string };

export const ROW = prepared<Place & { readonly requestId: string }, InvocationRow>((db, value) =>
  db
    .selectFrom('invocations')
    .selectAll()
    .where('request_id', '=', value('requestId'))
    .where('tenant_id', '=', value('tenantId'))
    .where('connector_id', '=', value('connectorId')),
);

/** The same, held until the transaction ends. */
export const HELD_ROW = prepared<Place & { readonly requestId: string }, InvocationRow>((db, value) =>
  db
    .selectFrom('invocations')
    .selectAll()
    .where('request_id', '=', value('requestId'))
    .where('tenant_id', '=', value('tenantId'))
    .where('connector_id', '=', value('connectorId'))
    .$call(wordsOf(db).hold),
);

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

export const CLAIM = prepared<Claim, never>(
  (db, value) =>
    db
      .updateTable('invocations')
      .set({
        status: 'running',
        due_at: value('due_at'),
        fence: value('fence'),
        takeovers: value('takeovers'),
      })
      .where('request_id', '=', value('request_id')) as never,
);

export const RENEW = prepared<InvocationLease & { readonly dueAt: number }, never>(
  (db, value) =>
    db
      .updateTable('invocations')
      .set({ due_at: value('dueAt') })
      .where('request_id', '=', value('requestId'))
      .where('tenant_id', '=', value('tenantId'))
      .where('fence', '=', value('fence'))
      .where('due_at', 'is not', null) as never,
);

type EndValues = Omit<InvocationLease, 'connectorId'> &
  ReturnType<typeof outcomeColumns> & { readonly status: string };

export const END = prepared<EndValues, never>(
  (db, value) =>
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
      .where('due_at', 'is not', null) as never,
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
    ) as never,
);

/** Jumps from one connector to the next on the index, however many rows each has. */
export const DUE_CONNECTORS = prepared<{ readonly dueBy: number }, Place>((db, value) => ({
  compile: () =>
    sql<Place>`
    with recursive waiting (id) as (
      select min(connector_id) from invocations where due_at is not null
      union all
      select (select min(connector_id) from invocations where due_at is not null and connector_id > waiting.id)
      from waiting where waiting.id is not null
    ),
    found as (
      select id as "connectorId", (
        select tenant_id from invocations where connector_id = waiting.id and due_at <= ${value('dueBy')} limit 1
      ) as "tenantId"
      from waiting where id is not null
    )
    select "connectorId", "tenantId" from found where "tenantId" is not null`.compile(db),
}));
