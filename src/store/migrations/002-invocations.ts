import type { Migration } from '../migrate.ts';

/** Invocations that are leased to workers, and idempotency keys that belong to a function. */
export const invocations: Migration = {
  version: 2,
  name: '002-invocations',
  statements: [
    "alter table invocations add column function_name text not null default ''",
    'alter table invocations add column due_at integer',
    'alter table invocations add column fence integer not null default 0',
    'alter table invocations add column failures integer not null default 0',
    'alter table invocations add column takeovers integer not null default 0',
    'alter table invocations add column native text',
    'alter table invocations add column native_check integer',
    `update invocations set function_name = json_extract(request, '$.functionName'),
      due_at = case when status in ('queued', 'running') then created_at end`,

    'drop index invocations_by_key',
    'create unique index invocations_by_key on invocations (connector_id, function_name, idempotency_key)',
    'drop index invocations_unfinished',
    // What a worker looks for, in the order in which it asks.
    'create index invocations_due on invocations (connector_id, due_at, request_id) where due_at is not null',
    // All that a listing filters by, so that it reads no row that it does not answer.
    'create index invocations_by_time on invocations (connector_id, created_at, request_id, status, function_name)',
  ],
};
