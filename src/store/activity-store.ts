import { sql } from 'kysely';
import { CHECKS_UNTIL_ERROR, together } from './activity.ts';
import { activityColumns, storedConnector } from './connector-rows.ts';
import { type Engine, wordsOf } from './engine.ts';
import { pacer } from './pacer.ts';
import type { ConnectorRow, Database } from './schema.ts';
import type { ActivityChange, ConnectorState, Store, StoredActivity, StoredConnector } from './store.ts';

type ActivityStore = Pick<Store, 'saveActivity' | 'getConnectors' | 'getConnectorStates'>;

/** Between two statements of so many connectors, or of their states, other work has its turn. */
const ROWS_AT_ONCE = 100;
const STATES_AT_ONCE = 1_000;

/** The part of the store that keeps what happens to connectors, in whichever process. */
export function activityStore({ reader, writer, peers }: Engine): ActivityStore {
  return {
    saveActivity: (changes) =>
      writer(null)
        .transaction()
        .execute((db) => save(db, changes, peers?.serverId)),

    getConnectors: (connectorIds) =>
      inSlices(connectorIds, ROWS_AT_ONCE, async (ids) => {
        const rows = await rowsOf(reader(null), ids).execute();
        return rows.flatMap(undamaged);
      }),

    getConnectorStates: (connectorIds) =>
      inSlices(connectorIds, STATES_AT_ONCE, async (ids) => {
        const rows = await reader(null)
          .selectFrom('connectors')
          .select([
            'connector_id as connectorId',
            'record_check as recordCheck',
            'status',
            'connection_count as connectionCount',
            'error_count as errorCount',
          ])
          .where('connector_id', 'in', ids)
          .execute();
        // A status that is none is found out where the connector is read.
        return rows as ConnectorState[];
      }),
  };
}

async function inSlices<T>(
  ids: readonly string[],
  size: number,
  read: (ids: readonly string[]) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  const found: T[] = [];
  const pause = pacer();
  for (let at = 0; at < ids.length; at += size) {
    found.push(...(await read(ids.slice(at, at + size))));
    await pause();
  }
  return found;
}

async function save(
  db: Database,
  changes: readonly ActivityChange[],
  serverId: string | undefined,
): Promise<readonly StoredActivity[]> {
  const rows = await rowsOf(
    db,
    changes.map(({ connectorId }) => connectorId),
  )
    // In the order in which all transactions hold connectors.
    .orderBy('connector_id')
    .$call(wordsOf(db).hold)
    .execute();
  const stored = new Map(rows.flatMap(undamaged).map((one) => [one.record.connectorId, one]));
  const known = changes.flatMap((change) => {
    const found = stored.get(change.connectorId);
    return found?.record.tenantId === change.tenantId ? [{ change, before: found.activity }] : [];
  });
  const moved = known.flatMap(({ change }) => (change.since.isMoved ? [change] : []));
  if (serverId !== undefined) await noteConnections(db, moved, serverId);
  const elsewhere =
    serverId === undefined ? new Set<string>() : await connectedElsewhere(db, moved, serverId);
  const merged = known.map(({ change, before }) => ({
    tenantId: change.tenantId,
    connectorId: change.connectorId,
    activity: together(before, change, elsewhere.has(change.connectorId)),
  }));
  await write(db, merged);
  return merged;
}

/** Says which of the connectors this process has connected. */
async function noteConnections(
  db: Database,
  moved: readonly ActivityChange[],
  serverId: string,
): Promise<void> {
  const [connected, others] = [true, false].map((is) =>
    moved.filter(({ activity }) => (activity.status === 'connected') === is),
  );
  if (connected && connected.length > 0)
    await db
      .insertInto('connections')
      .values(
        connected.map((c) => ({ connector_id: c.connectorId, tenant_id: c.tenantId, server_id: serverId })),
      )
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  if (others && others.length > 0)
    await db
      .deleteFrom('connections')
      .where('server_id', '=', serverId)
      .where(
        'connector_id',
        'in',
        others.map(({ connectorId }) => connectorId),
      )
      .execute();
}

async function connectedElsewhere(
  db: Database,
  moved: readonly ActivityChange[],
  serverId: string,
): Promise<ReadonlySet<string>> {
  if (moved.length === 0) return new Set();
  const rows = await db
    .selectFrom('connections')
    .select('connector_id')
    .where(
      'connector_id',
      'in',
      moved.map(({ connectorId }) => connectorId),
    )
    .where('server_id', '<>', serverId)
    // What failed so many checks is not connected, whoever says so.
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('probes')
            .select('failures')
            .whereRef('probes.connector_id', '=', 'connections.connector_id')
            .where('failures', '>=', CHECKS_UNTIL_ERROR),
        ),
      ),
    )
    .execute();
  return new Set(rows.map((row) => row.connector_id));
}

async function write(db: Database, changes: readonly StoredActivity[]): Promise<void> {
  if (changes.length === 0) return;
  const rows = changes.map(({ connectorId, activity }) => {
    const columns = activityColumns(activity);
    return sql`(${connectorId}, ${columns.status}, ${columns.connection_count}, ${columns.error_count},
      ${columns.activity}, ${columns.activity_check})`;
  });
  // Both databases name the columns of a list of values so; only one of them has to be told their types.
  await sql`update connectors set status = v.column2, connection_count = cast(v.column3 as bigint),
      error_count = cast(v.column4 as bigint), activity = v.column5, activity_check = cast(v.column6 as bigint)
    from (values ${sql.join(rows)}) as v where connector_id = v.column1`.execute(db);
}

function rowsOf(db: Database, connectorIds: readonly string[]) {
  return db.selectFrom('connectors').selectAll().where('connector_id', 'in', connectorIds);
}

/** None where the row is damaged; whoever asks for that connector by its id is told. */
function undamaged(row: ConnectorRow): readonly StoredConnector[] {
  try {
    return [storedConnector(row)];
  } catch {
    return [];
  }
}
