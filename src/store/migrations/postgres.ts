import type { Migration } from '../migrate.ts';
import { CLAIM_INVOCATIONS } from './claim-invocations.ts';

/** What `app.tenant` is for an administrator's code path: no tenant can have this name. */
export const ALL_TENANTS = '*';

const TABLES_OF_TENANTS = ['connectors', 'connector_counts', 'secrets', 'api_keys', 'invocations'];

/** What the store may read and write. */
export const TABLES = [
  ...TABLES_OF_TENANTS,
  'connections',
  'homes',
  'probes',
  'servers',
  'facts',
  'rate_limits',
];

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
    // By tenant first, so that what is looked at of each can be bounded.
    `create index invocations_due on invocations (tenant_id, connector_id, due_at, request_id)
      where due_at is not null`,
    'create index invocations_by_time on invocations (connector_id, created_at, request_id, status, function_name)',
    'create index invocations_by_expiry on invocations (expires_at) where expires_at is not null',
    `create table facts (name ${TEXT} not null primary key, value text not null, fact_check bigint not null)`,
    ...TABLES_OF_TENANTS.flatMap(rowSecurity),
  ],
};

/** What processes that share the database tell each other, and hold for one another. */
const shared: Migration = {
  version: 3,
  name: '003-postgres',
  statements: [
    `create table servers (
      server_id ${TEXT} not null primary key,
      key_ids text not null,
      seen_at bigint not null
    )`,
    // Who has a connector connected: it is so for all while one of them has.
    `create table connections (
      connector_id ${TEXT} not null references connectors (connector_id) on delete cascade,
      tenant_id ${TEXT} not null,
      server_id ${TEXT} not null,
      primary key (connector_id, server_id)
    )`,
    'create index connections_by_server on connections (server_id)',
    // The data directory that has what an embedded engine stores for a connector.
    `create table homes (
      connector_id ${TEXT} not null primary key references connectors (connector_id) on delete cascade,
      tenant_id ${TEXT} not null,
      home ${TEXT} not null
    )`,
    `create table probes (
      connector_id ${TEXT} not null primary key references connectors (connector_id) on delete cascade,
      tenant_id ${TEXT} not null,
      due_at bigint not null,
      failures bigint not null
    )`,
    // What a crash takes of it is one window of counts.
    `create unlogged table rate_limits (
      key ${TEXT} not null primary key,
      points bigint not null,
      expire bigint not null
    )`,
    'create index secrets_by_key on secrets (key_id)',
    `create index invocations_running on invocations (connector_id)
      where status = 'running' and native is null and due_at is not null`,
    CLAIM_INVOCATIONS,
    ...['connections', 'homes', 'probes'].flatMap(rowSecurity),
    // 25 at most, since a notification has room for 8,000 bytes.
    `create function tell_of_connectors(what text, items json[]) returns void language plpgsql as $$ declare at int; begin
      for at in 0 .. cardinality(items) - 1 by 25 loop
        perform pg_notify('connector_registry', json_build_object(
          what, case when cardinality(items) > 1000 then to_json('all'::text) else to_json(items[at + 1 : at + 25]) end
        )::text);
        exit when cardinality(items) > 1000;
      end loop;
    end $$`,
    telling(
      'connectors',
      'update',
      `perform tell_of_connectors('changed', array(select to_json(connector_id) from added))`,
      'new',
    ),
    telling(
      'connectors',
      'delete',
      `perform tell_of_connectors('removed',
        array(select json_build_array(tenant_id, connector_type, connector_id) from added))`,
      'old',
    ),
    telling(
      'api_keys',
      'update',
      `perform pg_notify('connector_registry', json_build_object('keys', true)::text)`,
      'new',
    ),
  ].flat(),
};

/** All steps of the schema in PostgreSQL, in order. */
export const POSTGRES_MIGRATIONS: readonly Migration[] = [initial, rest, shared];

/** For the owner of the table as well: the store may connect as that. */
function rowSecurity(table: string): readonly string[] {
  return [
    `alter table ${table} enable row level security`,
    `alter table ${table} force row level security`,
    `create policy own_rows on ${table} using (
      tenant_id = current_setting('app.tenant', true) or current_setting('app.tenant', true) = '${ALL_TENANTS}'
    )`,
  ];
}

/** Tells the processes that listen what a statement changed; they hear of it when its transaction ends. */
function telling(
  table: string,
  event: 'update' | 'delete',
  body: string,
  rows: 'new' | 'old',
): readonly string[] {
  const name = `tell_of_${event}_of_${table}`;
  return [
    `create function ${name}() returns trigger language plpgsql as $$ begin
      ${body};
      return null;
    end $$`,
    `create trigger ${name} after ${event} on ${table} referencing ${rows} table as added
      for each statement execute function ${name}()`,
  ];
}

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
