import type { ConnectorRecord } from '../connectors/base.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import * as queries from './connector-queries.ts';
import { activityColumns, madeAt, recordColumns, storedConnector } from './connector-rows.ts';
import { type Engine, wordsOf } from './engine.ts';
import { pacer } from './pacer.ts';
import type { Database, SecretRow } from './schema.ts';
import { sealedSecret, secretRows } from './secret-store.ts';
import type { NewConnector, Store } from './store.ts';

type ConnectorStore = Pick<
  Store,
  | 'insertConnectors'
  | 'getConnector'
  | 'getConnectorByName'
  | 'listConnectors'
  | 'updateConnector'
  | 'deleteConnector'
  | 'clearTenant'
  | 'getSecrets'
>;

/** Connectors removed by one statement; between two of them other work has its turn. */
const ROWS_PER_DELETE = 200;

/** The part of the store that keeps connectors and their secrets. */
export function connectorStore({ reader, writer, peers }: Engine): ConnectorStore {
  return {
    insertConnectors: (connectors) => insertAll(writer(tenantOf(connectors)), writer(null), connectors),

    async getConnector(tenantId, connectorId) {
      const { rows } =
        tenantId === null
          ? await queries.connectorById(reader(null), { connectorId })
          : await queries.connectorOfTenant(reader(tenantId), { tenantId, connectorId });
      return rows[0] && storedConnector(rows[0]);
    },

    async getConnectorByName(tenantId, name) {
      const { rows } = await queries.connectorByName(reader(tenantId), { tenantId, name });
      return rows[0] && storedConnector(rows[0]);
    },

    async listConnectors(filter) {
      const { rows } = await queries.listQuery(filter)(reader(filter.tenantId ?? null), filter);
      return rows.map(storedConnector);
    },

    async updateConnector(record, secrets) {
      const { tenantId, connectorId } = record;
      const update = writer(tenantId)
        .transaction()
        .execute(async (db) => {
          // The connector before what is below it, as its removal does: so neither waits for the other.
          const { numAffectedRows } = await queries.updateConnector(db, {
            ...recordColumns(record),
            expected: record.version - 1,
            made: madeAt(record),
          });
          if (numAffectedRows === 0n) return refuseOtherVersion(db, record);
          if (secrets) {
            await db
              .deleteFrom('secrets')
              .where('connector_id', '=', connectorId)
              .where('tenant_id', '=', tenantId)
              .execute();
            await insertSecretRows(db, secretRows(record, secrets));
            if (peers) await endConnections(db, connectorId);
          }
          return true;
        });
      return update.catch((error: unknown) => {
        throw isTaken(error) ? nameTaken(record) : error;
      });
    },

    async deleteConnector(tenantId, connectorId) {
      const { numDeletedRows } = await writer(tenantId)
        .deleteFrom('connectors')
        .where('connector_id', '=', connectorId)
        .where('tenant_id', '=', tenantId)
        .executeTakeFirst();
      return numDeletedRows > 0n;
    },

    clearTenant(tenantId) {
      return writer(tenantId)
        .transaction()
        .execute(async (db) => {
          const pause = pacer();
          const removed: string[] = [];
          for (;;) {
            const some = db
              .selectFrom('connectors')
              .select('connector_id')
              .where('tenant_id', '=', tenantId)
              // In the order in which all transactions hold connectors.
              .orderBy('connector_id')
              .limit(ROWS_PER_DELETE)
              .$call(wordsOf(db).hold);
            const gone = await db
              .deleteFrom('connectors')
              .where('connector_id', 'in', some)
              .returning('connector_id')
              .execute();
            removed.push(...gone.map((row) => row.connector_id));
            if (gone.length < ROWS_PER_DELETE) return removed;
            await pause();
          }
        });
    },

    async getSecrets(tenantId, connectorId) {
      const { rows } = await queries.secretsOfConnector(reader(tenantId), { tenantId, connectorId });
      return rows.map(sealedSecret);
    },
  };
}

/** Inserts everything in one transaction, in batches between which other work has its turn. */
async function insertAll(
  writer: Database,
  all: Database,
  connectors: readonly NewConnector[],
): Promise<void> {
  let batch = connectors;
  try {
    const [first] = connectors;
    // One statement is whole or absent by itself.
    if (first && connectors.length === 1 && first.secrets.length === 0) {
      await queries.insertConnector(writer, [
        { ...recordColumns(first.record), ...activityColumns(first.activity) },
      ]);
      return;
    }
    await writer.transaction().execute(async (db) => {
      const pause = pacer();
      for (let at = 0; at < connectors.length; at += queries.ROWS_PER_INSERT) {
        batch = connectors.slice(at, at + queries.ROWS_PER_INSERT);
        const rows = batch.map(({ record, activity }) => ({
          ...recordColumns(record),
          ...activityColumns(activity),
        }));
        if (rows.length === queries.ROWS_PER_INSERT) await queries.insertConnectors(db, rows);
        else for (const row of rows) await queries.insertConnector(db, [row]);
        await insertSecretRows(
          db,
          batch.flatMap(({ record, secrets }) => secretRows(record, secrets)),
        );
        await pause();
      }
    });
  } catch (error) {
    if (!isTaken(error)) throw error;
    throw (await firstTaken(all, batch)) ?? firstTwin(connectors) ?? error;
  }
}

/** The one tenant that all are of; null where there are several. */
function tenantOf(connectors: readonly NewConnector[]): string | null {
  const tenantId = connectors[0]?.record.tenantId;
  return tenantId !== undefined && connectors.every(({ record }) => record.tenantId === tenantId)
    ? tenantId
    : null;
}

/** What processes have connected, they have with the configuration that was: who uses the new one says so again. */
async function endConnections(db: Database, connectorId: string): Promise<void> {
  await db.deleteFrom('connections').where('connector_id', '=', connectorId).execute();
  await db
    .updateTable('connectors')
    .set({ status: 'disconnected' })
    .where('connector_id', '=', connectorId)
    .where('status', '=', 'connected')
    .execute();
}

async function insertSecretRows(db: Database, rows: readonly SecretRow[]): Promise<void> {
  let at = 0;
  for (; rows.length - at >= queries.ROWS_PER_INSERT; at += queries.ROWS_PER_INSERT) {
    await queries.insertSecrets(db, rows.slice(at, at + queries.ROWS_PER_INSERT));
  }
  for (const row of rows.slice(at)) await queries.insertSecret(db, [row]);
}

/** Which of the connectors has the id of an earlier one, or its name within the tenant. */
function firstTwin(connectors: readonly NewConnector[]): ConnectorError | undefined {
  const ids = new Set<string>();
  const names = new Set<string>();
  for (const { record } of connectors) {
    // No tenant has a line break in its name, so the two parts cannot run into one another.
    const name = `${record.tenantId}\n${record.name}`;
    if (ids.has(record.connectorId)) return idTaken(record);
    if (names.has(name)) return nameTaken(record);
    ids.add(record.connectorId);
    names.add(name);
  }
  return undefined;
}

/** Which of the connectors could not be inserted: asked after the transaction was rolled back. */
async function firstTaken(
  db: Database,
  connectors: readonly NewConnector[],
): Promise<ConnectorError | undefined> {
  for (const { record } of connectors) {
    const byId = await queries.connectorById(db, record);
    if (byId.rows.length > 0) return idTaken(record);
    const byName = await queries.connectorByName(db, record);
    if (byName.rows.length > 0) return nameTaken(record);
  }
  return undefined;
}

/** False where the connector does not exist. @throws ConnectorError `conflict` where it has another version, or is another. */
async function refuseOtherVersion(
  db: Database,
  { tenantId, connectorId, version }: ConnectorRecord,
): Promise<false> {
  const { rows } = await queries.connectorOfTenant(db, { tenantId, connectorId });
  const [stored] = rows;
  if (!stored) return false;
  const now =
    stored.version === version - 1
      ? 'it was removed, and another one has its id'
      : `it has version ${stored.version}, the update was made from ${version - 1}`;
  throw new ConnectorError('conflict', `the connector was changed meanwhile: ${now}`, {
    connectorId,
    details: { version: stored.version },
  });
}

function isTaken(error: unknown): boolean {
  return isConnectorError(error) && error.code === 'already_exists';
}

function nameTaken({ name }: ConnectorRecord): ConnectorError {
  return new ConnectorError('already_exists', `a connector named ${JSON.stringify(name)} exists already`);
}

function idTaken({ connectorId }: ConnectorRecord): ConnectorError {
  return new ConnectorError('already_exists', `the connector id ${JSON.stringify(connectorId)} is taken`);
}
