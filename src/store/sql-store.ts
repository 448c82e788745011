import { sql } from 'kysely';
import { activityStore } from './activity-store.ts';
import { ConnectorStatus, ConnectorType } from '../connectors/kinds.ts';
import { checkValue, damagedRow, verifyRow } from './check-value.ts';
import { connectorStore } from './connector-store.ts';
import type { Engine } from './engine.ts';
import { invocationStore } from './invocation-store.ts';
import { keyStore } from './key-store.ts';
import { openingStore } from './opening-store.ts';
import { probeStore } from './probe-store.ts';
import type { Database } from './schema.ts';
import { secretStore } from './secret-store.ts';
import { openFile } from './sqlite.ts';
import type { Store, StoreStatistics } from './store.ts';
import { refuseUnfinished } from './unfinished.ts';

/** The store on SQL. */
export const SqlStore = {
  /**
   * Opens the database in `file`, one in memory for `:memory:`, or one of PostgreSQL, and brings its schema up to date.
   * Says of every connector that another process left connected that it is disconnected; not on PostgreSQL, where that
   * process may still be at it.
   *
   * @throws ConnectorError `internal` where the file is damaged, `invalid_state` where a newer version of this
   *   program wrote it or only part of a registry was moved there, `unavailable` where it cannot be read or written.
   */
  async open(
    place:
      { readonly file: string } | { readonly databaseUrl: string; readonly poolSize?: number | undefined },
  ): Promise<Store> {
    const engine =
      'databaseUrl' in place
        ? await (await import('./postgres.ts')).openPostgres(place.databaseUrl, { poolSize: place.poolSize })
        : await openFile(place.file);
    try {
      await refuseUnfinished(engine.writer(null));
      if (!engine.peers) await disconnectAll(engine);
    } catch (error) {
      await engine.close();
      throw error;
    }
    let closed: Promise<void> | undefined;
    return { ...storeOn(engine), close: () => (closed ??= engine.close()) };
  },
};

function storeOn(engine: Engine): Omit<Store, 'close'> {
  return {
    peers: engine.peers,
    ...connectorStore(engine),
    ...openingStore(engine),
    ...secretStore(engine),
    ...activityStore(engine),
    ...countStore(engine),
    ...keyStore(engine),
    ...invocationStore(engine),
    ...probeStore(engine),
    ...factStore(engine),
    ping: async () => void (await sql`select 1`.execute(engine.reader(null))),
  };
}

/** The connections of a process end with it, however it ended. */
async function disconnectAll({ writer }: Engine): Promise<void> {
  await writer(null)
    .updateTable('connectors')
    .set({ status: 'disconnected' })
    .where('status', '=', 'connected')
    // In the words of the index on rare statuses, so that opening does not read every connector.
    .where(sql<boolean>`status not in ('registered', 'ready')`)
    .execute();
}

function countStore({ reader }: Engine): Pick<Store, 'listTenants' | 'statistics'> {
  return {
    async listTenants() {
      const rows = await reader(null)
        .selectFrom('connector_counts')
        .select('tenant_id')
        .groupBy('tenant_id')
        .having(({ fn }) => fn.sum('connectors'), '>', 0)
        .orderBy('tenant_id')
        .execute();
      return rows.map((row) => row.tenant_id);
    },

    async statistics(tenantId) {
      const rows = await reader(tenantId)
        .selectFrom('connector_counts')
        .select(({ fn }) => [
          'connector_type',
          'status',
          fn.sum<number>('connectors').as('connectors'),
          fn.sum<number>('connections').as('connections'),
          fn.sum<number>('errors').as('errors'),
        ])
        .$if(tenantId !== null, (q) => q.where('tenant_id', '=', tenantId ?? ''))
        .groupBy(['connector_type', 'status'])
        // Where what is counted is added up of changes, some come to nothing.
        .having(({ fn }) => fn.sum('connectors'), '>', 0)
        .execute();
      return rows.reduce(addGroup, NO_STATISTICS);
    },
  };
}

type Group = {
  readonly connector_type: string;
  readonly status: string;
  readonly connectors: number;
  readonly connections: number;
  readonly errors: number;
};

const NO_STATISTICS: StoreStatistics = { byType: {}, byStatus: {}, totalConnections: 0, totalErrors: 0 };

function addGroup(sum: StoreStatistics, group: Group): StoreStatistics {
  const type = Object.values(ConnectorType).find((known) => known === group.connector_type);
  const status = Object.values(ConnectorStatus).find((known) => known === group.status);
  if (!type || !status) throw damagedRow('count of', `${group.connector_type} ${group.status}`);
  return {
    byType: { ...sum.byType, [type]: (sum.byType[type] ?? 0) + group.connectors },
    byStatus: { ...sum.byStatus, [status]: (sum.byStatus[status] ?? 0) + group.connectors },
    totalConnections: sum.totalConnections + group.connections,
    totalErrors: sum.totalErrors + group.errors,
  };
}

function factStore({ reader, writer }: Engine): Pick<Store, 'getFact' | 'setFact' | 'claimFact'> {
  const read = async (db: Database, name: string) => {
    const row = await db.selectFrom('facts').selectAll().where('name', '=', name).executeTakeFirst();
    if (row) verifyRow('fact', name, row.fact_check, name, row.value);
    return row?.value;
  };
  return {
    getFact: (name) => read(reader(null), name),

    async setFact(name, value) {
      const columns = { value, fact_check: checkValue(name, value) };
      await writer(null)
        .insertInto('facts')
        .values({ name, ...columns })
        .onConflict((conflict) => conflict.column('name').doUpdateSet(columns))
        .execute();
    },

    async claimFact(name, value) {
      await writer(null)
        .insertInto('facts')
        .values({ name, value, fact_check: checkValue(name, value) })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .execute();
      return (await read(writer(null), name)) ?? value;
    },
  };
}
