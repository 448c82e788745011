import { sql } from 'kysely';
import type { recordColumns } from './connector-rows.ts';
import { prepared, preparedInsert, type Prepared } from './prepared.ts';
import type { ConnectorRow, NewConnectorRow, SecretRow } from './schema.ts';
import type { ListFilter } from './store.ts';

type Id = { readonly tenantId: string; readonly connectorId: string };
type RecordColumns = ReturnType<typeof recordColumns>;

/** Rows of one insert. More make the statement longer, not the import faster. */
export const ROWS_PER_INSERT = 50;

export const CONNECTOR_COLUMNS = [
  'connector_id',
  'tenant_id',
  'name',
  'connector_type',
  'version',
  'record',
  'record_check',
  'status',
  'connection_count',
  'error_count',
  'activity',
  'activity_check',
] as const;
export const insertConnector = preparedInsert<NewConnectorRow>('connectors', CONNECTOR_COLUMNS, 1);
export const insertConnectors = preparedInsert<NewConnectorRow>(
  'connectors',
  CONNECTOR_COLUMNS,
  ROWS_PER_INSERT,
);

export const SECRET_COLUMNS = [
  'connector_id',
  'tenant_id',
  'field',
  'key_id',
  'sealed',
  'secret_check',
] as const;
export const insertSecret = preparedInsert<SecretRow>('secrets', SECRET_COLUMNS, 1);
export const insertSecrets = preparedInsert<SecretRow>('secrets', SECRET_COLUMNS, ROWS_PER_INSERT);

export const connectorById = prepared<{ readonly connectorId: string }, ConnectorRow>((db, value) =>
  db.selectFrom('connectors').selectAll().where('connector_id', '=', value('connectorId')),
);

export const connectorOfTenant = prepared<Id, ConnectorRow>((db, value) =>
  db
    .selectFrom('connectors')
    .selectAll()
    .where('connector_id', '=', value('connectorId'))
    .where('tenant_id', '=', value('tenantId')),
);

export const connectorByName = prepared<{ readonly tenantId: string; readonly name: string }, ConnectorRow>(
  (db, value) =>
    db
      .selectFrom('connectors')
      .selectAll()
      .where('tenant_id', '=', value('tenantId'))
      .where('name', '=', value('name')),
);

/** Replaces a record where the stored version is `expected`, and the connector is the one that was `made` then. */
export const updateConnector = prepared<
  RecordColumns & { readonly expected: number; readonly made: string },
  never
>((db, value) =>
  db
    .updateTable('connectors')
    .set({
      name: value('name'),
      connector_type: value('connector_type'),
      version: value('version'),
      record: value('record'),
      record_check: value('record_check'),
    })
    .where('connector_id', '=', value('connector_id'))
    .where('tenant_id', '=', value('tenant_id'))
    .where('version', '=', value('expected'))
    .where('record', 'like', value('made')),
);

export const secretsOfConnector = prepared<Id, SecretRow>((db, value) =>
  db
    .selectFrom('secrets')
    .selectAll()
    .where('connector_id', '=', value('connectorId'))
    .where('tenant_id', '=', value('tenantId'))
    .orderBy('field'),
);

const LISTS = new Map<string, Prepared<ListFilter, ConnectorRow>>();

/** The query of a list, compiled once for each combination of conditions. */
export function listQuery({
  tenantId,
  name,
  connectorType,
  status,
}: ListFilter): Prepared<ListFilter, ConnectorRow> {
  const shape = {
    tenant: tenantId !== undefined,
    name: name !== undefined,
    type: connectorType !== undefined,
    status: status !== undefined,
    // Over all tenants a rare status has an index of its own; SQLite takes it where the index's condition is repeated.
    rare: tenantId === undefined && status !== undefined && status !== 'registered' && status !== 'ready',
  };
  const key = JSON.stringify(shape);
  const query = LISTS.get(key) ?? compileList(shape);
  LISTS.set(key, query);
  return query;
}

type ListShape = {
  readonly tenant: boolean;
  readonly name: boolean;
  readonly type: boolean;
  readonly status: boolean;
  readonly rare: boolean;
};

function compileList(shape: ListShape): Prepared<ListFilter, ConnectorRow> {
  // A condition is compiled only where its value is given.
  type Given = Required<{ [K in keyof ListFilter]: NonNullable<ListFilter[K]> }>;
  return prepared<Given, ConnectorRow>((db, value) =>
    db
      .selectFrom('connectors')
      .selectAll()
      .$if(shape.tenant, (q) => q.where('tenant_id', '=', value('tenantId')))
      .$if(shape.name, (q) => q.where('name', '=', value('name')))
      .$if(shape.type, (q) => q.where('connector_type', '=', value('connectorType')))
      .$if(shape.status, (q) => q.where('status', '=', value('status')))
      .$if(shape.rare, (q) => q.where(sql<boolean>`status not in ('registered', 'ready')`))
      .orderBy('name')
      .orderBy('connector_id')
      .limit(value('limit'))
      .offset(value('offset')),
  ) as Prepared<ListFilter, ConnectorRow>;
}
