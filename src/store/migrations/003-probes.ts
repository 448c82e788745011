import type { Migration } from '../migrate.ts';

/** When the health of a connector is looked at next, and how many looks failed in a row; what is due of each tenant. */
export const probes: Migration = {
  version: 3,
  name: '003-probes',
  statements: [
    `create table probes (
      connector_id text not null primary key references connectors (connector_id) on delete cascade,
      tenant_id text not null,
      due_at integer not null,
      failures integer not null
    ) without rowid`,
    // By tenant first, so that what is looked at of each can be bounded.
    'drop index invocations_due',
    `create index invocations_due on invocations (tenant_id, connector_id, due_at, request_id)
      where due_at is not null`,
  ],
};
