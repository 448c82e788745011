import type { Migration } from '../migrate.ts';

/** What `app.tenant` is for an administrator's code path: no tenant can have this name. */
export const ALL_TENANTS = '*';

const TABLES_OF_TENANTS = ['connectors', 'connector_counts', 'secrets', 'api_keys', 'invocations'];

/** Text is compared by its bytes, as SQLite does. */
const TEXT = 'text collate "C"';

/** The whole schema as SQLite's first two steps leave it, and row security on every table with a tenant. */
const initial: Migration = {
  version: 1,
  name: '001-postgres',
  statements: [
    `create table connectors (
      connector_id ${TEXT} not null primary key,
      tenant_id ${TEXT} not null,
      name ${TEXT} not null,
      connector_type ${TEXT} not null,
      version bigint not null,
      record text not null,
      record_check bigint not null,
      status ${TEXT} not null,
      connection_count bigint not null,
      error_count bigint not null,
      activity text,
      activity_check bigint not null
    )`,
    'create unique index connectors_by_tenant on connectors (tenant_id, name)',
    'create index connectors_by_name on connectors (name, connector_id, status, connector_type)',
    `create index connectors_by_status on connectors (status, name, connector_id)
      where status not in ('registered', 'ready')`,

    // Only ever added to, and summed up now and then: one row for each sum would be a lock that all writers wait for.
    `create table connector_counts (
      tenant_id ${TEXT} not null,
      connector_type ${TEXT} not null,
      status ${TEXT} not null,
      connectors bigint not null,
      connections bigint not null,
      errors bigint not null
    )`,
    'create index connector_counts_by_tenant on connector_counts (tenant_id)',
    `create function sum_up_connector_counts() returns void language sql as $$
      with summed as (
        delete from connector_counts where ctid = any (array(select ctid from connector_counts for update skip locked))
        returning *
      )
      insert into connector_counts
      select tenant_id, connector_type, status, sum(connectors), sum(connections), sum(errors) from summed
      group by tenant_id, connector_type, status
      having sum(connectors) <> 0 or sum(connections) <> 0 or sum(errors) <> 0
    $$`,
    counting('insert', `select ${counted(1)} from added`, 'new table as added'),
    counting('delete', `select ${counted(-1)} from removed`, 'old table as removed'),
    counting(
      'update',
      `select ${counted(1)} from added union all select ${counted(-1)} from removed`,
      'new table as added old table as removed',
    ),
  ].flat(),
};

const rest: Migration = {
  version: 2,
  name: '002-postgres',
  statements: [
    `create table secrets (
      connector_id ${TEXT} not null references connectors (connector_id) on delete cascade,
      tenant_id ${TEXT} not null,
      field ${TEXT} not null,
      key_id ${TEXT} not null,
      sealed text not null,
      secret_check bigint not null,
      primary key (connector_id, tenant_id, field)
    )`,
    `create table api_keys (
      key_id ${TEXT} not null primary key,
      tenant_id ${TEXT},
      role text not null,
      label text not null,
      hash ${TEXT} not null unique,
      created_at bigint not null,
      key_check bigint not null,
      revoked_at bigint,
      revoked_check bigint not null
    )`,
    'create index api_keys_by_tenant on api_keys (tenant_id, created_at, key_id)',
    `create table invocations (
      request_id ${TEXT} not null primary key,
      tenant_id ${TEXT} not null,
      connector_id ${TEXT} not null references connectors (connector_id) on delete cascade,
      function_name ${TEXT} not null,
      status ${TEXT} not null,
      idempotency_key ${TEXT},
      created_at bigint not null,
      due_at bigint,
      fence bigint not null,
      failures bigint not null,
      takeovers bigint not null,
      request text not null,
      request_check bigint not null,
      native text,
      native_check bigint,
      outcome text,
      expires_at bigint,
      outcome_check bigint not null
    )`,
    'create unique index invocations_by_key on invocations (connector_id, function_name, idempotency_key)',
    'create index invocations_due on invocations (connector_id, due_at, request_id) where due_at is not null',
    'create index invocations_by_time on invocations (connector_id, created_at, request_id, status, function_name)',
    'create index invocations_by_expiry on invocations (expires_at) where expires_at is not null',
    `create table facts (name ${TEXT} not null primary key, value text not null, fact_check bigint not null)`,
    ...TABLES_OF_TENANTS.flatMap((table) => [
      `alter table ${table} enable row level security`,
      // For its owner as well: the store may connect as that.
      `alter table ${table} force row level security`,
      `create policy own_rows on ${table} using (
        tenant_id = current_setting('app.tenant', true) or current_setting('app.tenant', true) = '${ALL_TENANTS}'
      )`,
    ]),
  ],
};

/** All steps of the schema in PostgreSQL, in order. */
export const POSTGRES_MIGRATIONS: readonly Migration[] = [initial, rest];

function counted(sign: 1 | -1): string {
  return `tenant_id, connector_type, status, ${sign} as connectors,
    ${sign} * connection_count as connections, ${sign} * error_count as errors`;
}

function counting(event: 'insert' | 'update' | 'delete', changed: string, tables: string): readonly string[] {
  return [
    `create function connectors_on_${event}() returns trigger language plpgsql as $$ begin
      insert into connector_counts
      select tenant_id, connector_type, status, sum(connectors), sum(connections), sum(errors) from (${changed}) changed
      group by tenant_id, connector_type, status
      having sum(connectors) <> 0 or sum(connections) <> 0 or sum(errors) <> 0;
      if random() < 0.005 then perform sum_up_connector_counts(); end if;
      return null;
    end $$`,
    `create trigger connectors_on_${event} after ${event} on connectors referencing ${tables}
      for each statement execute function connectors_on_${event}()`,
  ];
}
