import { sql } from 'kysely';
import { ConnectorStatus, ConnectorType } from '../connectors/kinds.ts';
import { checkValue, damagedRow, verifyRow } from './check-value.ts';
import { connectorStore } from './connector-store.ts';
import { checkFile, rememberFile } from './file-check.ts';
import { invocationStore } from './invocation-store.ts';
import { keyStore } from './key-store.ts';
import { migrate } from './migrate.ts';
import { openSqlite, type Sqlite } from './sqlite.ts';
import type { Store, StoreStatistics } from './store.ts';

/** The store on SQL. */
export const SqlStore = {
  /**
   * Opens the database in `file`, or one in memory for `:memory:`, brings its schema up to date, and says of every
   * connector that another process left connected that it is disconnected.
   *
   * @throws ConnectorError `internal` where the file is damaged, `invalid_state` where a newer version of this
   *   program wrote it, `unavailable` where it cannot be read or written.
   */
  async open({ file }: { readonly file: string }): Promise<Store> {
    const inMemory = file === ':memory:';
    if (!inMemory) await checkFile(file);
    const sqlite = openSqlite(file);
    try {
      await migrate(sqlite.writer);
      await disconnectAll(sqlite);
    } catch (error) {
      await sqlite.close();
      throw error;
    }
    let closed = false;
    return {
      ...connectorStore(sqlite),
      ...countStore(sqlite),
      ...keyStore(sqlite),
      ...invocationStore(sqlite),
      ...factStore(sqlite),
      ping: async () => void (await sql`select 1`.execute(sqlite.reader)),
      async close() {
        if (closed) return;
        closed = true;
        await sqlite.close();
        if (!inMemory) await rememberFile(file);
      },
    };
  },
};

/** The connections of a process end with it, however it ended. */
async function disconnectAll({ writer }: Sqlite): Promise<void> {
  await writer
    .updateTable('connectors')
    .set({ status: 'disconnected' })
    .where('status', '=', 'connected')
    // In the words of the index on rare statuses, so that opening does not read every connector.
    .where(sql<boolean>`status not in ('registered', 'ready')`)
    .execute();
}

function countStore({ reader }: Sqlite): Pick<Store, 'listTenants' | 'statistics'> {
  return {
    async listTenants() {
      const rows = await reader
        .selectFrom('connector_counts')
        .select('tenant_id')
        .distinct()
        .orderBy('tenant_id')
        .execute();
      return rows.map((row) => row.tenant_id);
    },

    async statistics(tenantId) {
      const rows = await reader
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

function factStore({ reader, writer }: Sqlite): Pick<Store, 'getFact' | 'setFact'> {
  return {
    async getFact(name) {
      const row = await reader.selectFrom('facts').selectAll().where('name', '=', name).executeTakeFirst();
      if (row) verifyRow('fact', name, row.fact_check, name, row.value);
      return row?.value;
    },

    async setFact(name, value) {
      const columns = { value, fact_check: checkValue(name, value) };
      await writer
        .insertInto('facts')
        .values({ name, ...columns })
        .onConflict((conflict) => conflict.column('name').doUpdateSet(columns))
        .execute();
    },
  };
}
