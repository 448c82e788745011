import type { Insertable, Kysely, Selectable } from 'kysely';

/**
 * The tables as Kysely sees them.
 *
 * Columns exist for what is searched, sorted or counted; the rest of a thing is one JSON text, which halved the cost
 * of an import (19 columns: 75,000 rows/s, 12 columns: 115,000 rows/s on the same machine). Times are milliseconds
 * since the epoch. A `…_check` column holds the check value of its neighbours, see `check-value.ts`.
 */
export type Tables = {
  readonly connectors: ConnectorTable;
  readonly connector_counts: CountTable;
  readonly secrets: SecretTable;
  readonly api_keys: KeyTable;
  readonly invocations: InvocationTable;
  readonly facts: FactTable;
  readonly probes: ProbeTable;
  // Only where several processes share the database.
  readonly servers: ServerTable;
  readonly connections: ConnectionTable;
  readonly homes: HomeTable;
};

type ConnectorTable = {
  connector_id: string;
  tenant_id: string;
  name: string;
  connector_type: string;
  version: number;
  /** Everything else of the record, in JSON. */
  record: string;
  record_check: number;
  /** Not part of a check value, so that opening the store may change it in one statement: no two names are alike. */
  status: string;
  connection_count: number;
  error_count: number;
  /** The rest of the activity, in JSON; null where nothing ever happened. */
  activity: string | null;
  activity_check: number;
};
export type ConnectorRow = Selectable<ConnectorTable>;
export type NewConnectorRow = Insertable<ConnectorTable>;

/** Sums over the connectors of one tenant, type and status, kept by triggers. */
type CountTable = {
  tenant_id: string;
  connector_type: string;
  status: string;
  connectors: number;
  connections: number;
  errors: number;
};

type SecretTable = {
  connector_id: string;
  tenant_id: string;
  field: string;
  key_id: string;
  sealed: string;
  secret_check: number;
};
export type SecretRow = Selectable<SecretTable>;

type KeyTable = {
  key_id: string;
  tenant_id: string | null;
  role: string;
  label: string;
  hash: string;
  created_at: number;
  key_check: number;
  revoked_at: number | null;
  revoked_check: number;
};
export type KeyRow = Selectable<KeyTable>;

type InvocationTable = {
  request_id: string;
  tenant_id: string;
  connector_id: string;
  function_name: string;
  status: string;
  idempotency_key: string | null;
  created_at: number;
  /** Null once it has ended. Neither this nor the counts are part of a check value: they change at every turn. */
  due_at: number | null;
  fence: number;
  failures: number;
  takeovers: number;
  /** What was asked for, in JSON. */
  request: string;
  request_check: number;
  /** The run that the platform carries on, in JSON. */
  native: string | null;
  native_check: number | null;
  /** What came of it, in JSON; null until it ended. */
  outcome: string | null;
  expires_at: number | null;
  outcome_check: number;
};
export type InvocationRow = Selectable<InvocationTable>;

type FactTable = { name: string; value: string; fact_check: number };

/** The processes that share the database; `seen_at` by the database's own clock. */
type ServerTable = { server_id: string; key_ids: string; seen_at: number };
type ConnectionTable = { connector_id: string; tenant_id: string; server_id: string };
type HomeTable = { connector_id: string; tenant_id: string; home: string };
/** Of connectors whose health was ever looked at. */
type ProbeTable = { connector_id: string; tenant_id: string; due_at: number; failures: number };

export type Database = Kysely<Tables>;
