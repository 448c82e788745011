import { ConnectorConfig, type WireConfig } from '../connectors/config.ts';
import type { ConnectorActivity, ConnectorRecord, LastError } from '../connectors/base.ts';
import {
  ConnectorStatus,
  ConnectorType,
  type ConnectorCapability,
  type ConnectorStatus as Status,
  type ConnectorType as Type,
} from '../connectors/kinds.ts';
import { checkValue, damagedRow, verifyRow } from './check-value.ts';
import type { ConnectorRow } from './schema.ts';
import type { StoredConnector } from './store.ts';

/** What the column `record` holds. */
type RecordJson = {
  readonly provider: string;
  readonly config: WireConfig;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly capabilities: readonly ConnectorCapability[];
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Absent in rows that were written before it existed. */
  readonly trusted?: boolean;
  readonly createdAt: number;
  readonly updatedAt: number;
};

/** What the column `activity` holds. */
type ActivityJson = {
  readonly lastConnected: number | null;
  readonly lastError: (Omit<LastError, 'at'> & { readonly at: number }) | null;
};

/** The columns of a record. Credentials are masked: values live in the table of secrets, sealed. */
export function recordColumns(record: ConnectorRecord) {
  const { connectorId, tenantId, name, connectorType, version } = record;
  const json = JSON.stringify({
    provider: record.provider,
    config: record.config.toDict(),
    settings: record.settings,
    capabilities: record.capabilities,
    metadata: record.metadata,
    ...(record.trusted && { trusted: true }),
    createdAt: record.createdAt.getTime(),
    updatedAt: record.updatedAt.getTime(),
  } satisfies RecordJson);
  return {
    connector_id: connectorId,
    tenant_id: tenantId,
    name,
    connector_type: connectorType,
    version,
    record: json,
    record_check: checkValue(connectorId, tenantId, name, connectorType, version, json),
  };
}

const CHECKS = new WeakMap<ConnectorRecord, number>();

/** The check value that the row of a record has. Worked out once for each. */
export function recordCheck(record: ConnectorRecord): number {
  const check = CHECKS.get(record) ?? recordColumns(record).record_check;
  CHECKS.set(record, check);
  return check;
}

/** What the column `record` is like, as a pattern: no later connector of the same id was created at that time. */
export function madeAt({ createdAt }: Pick<ConnectorRecord, 'createdAt'>): string {
  return `%"createdAt":${createdAt.getTime()},"updatedAt":%`;
}

/** The columns of what happened to a connector. */
export function activityColumns(activity: ConnectorActivity) {
  const { status, lastConnected, lastError, connectionCount, errorCount } = activity;
  const json =
    lastConnected === null && lastError === null
      ? null
      : JSON.stringify({
          lastConnected: lastConnected?.getTime() ?? null,
          lastError: lastError && { ...lastError, at: lastError.at.getTime() },
        } satisfies ActivityJson);
  return {
    status,
    connection_count: connectionCount,
    error_count: errorCount,
    activity: json,
    activity_check: checkValue(connectionCount, errorCount, json),
  };
}

/**
 * The connector that a row holds.
 *
 * @throws ConnectorError `internal` where the row is not what was written.
 */
export function storedConnector(row: ConnectorRow): StoredConnector {
  const { connector_id: id, version } = row;
  const type = Object.hasOwn(ConnectorType, row.connector_type) && (row.connector_type as Type);
  const status = Object.hasOwn(ConnectorStatus, row.status) && (row.status as Status);
  if (!type || !status) throw damagedRow('connector', id);
  verifyRow('connector', id, row.record_check, id, row.tenant_id, row.name, type, version, row.record);
  verifyRow('connector', id, row.activity_check, row.connection_count, row.error_count, row.activity);
  // The check values say that these are the texts that were written above.
  const record = JSON.parse(row.record) as RecordJson;
  const activity = row.activity === null ? NOTHING : (JSON.parse(row.activity) as ActivityJson);
  const { lastConnected, lastError } = activity;
  return {
    record: {
      connectorId: id,
      tenantId: row.tenant_id,
      name: row.name,
      connectorType: type,
      provider: record.provider,
      config: ConnectorConfig.fromParsed(record.config),
      settings: record.settings,
      capabilities: record.capabilities,
      metadata: record.metadata,
      trusted: record.trusted ?? false,
      version,
      createdAt: new Date(record.createdAt),
      updatedAt: new Date(record.updatedAt),
    },
    activity: {
      status,
      lastConnected: lastConnected === null ? null : new Date(lastConnected),
      lastError: lastError && { ...lastError, at: new Date(lastError.at) },
      connectionCount: row.connection_count,
      errorCount: row.error_count,
    },
  };
}

const NOTHING: ActivityJson = { lastConnected: null, lastError: null };
