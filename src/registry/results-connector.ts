import type { BaseConnector, ConnectorRecord } from '../connectors/base.ts';
import type { ConnectorConfig } from '../connectors/config.ts';
import { FileConnector } from '../connectors/file/connector.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import { leadsTo } from './making.ts';
import type { Parts } from './parts.ts';
import type { Place } from './result-files.ts';
import { absent } from './session.ts';

const SETTING = 'CONNECTORS_RESULTS_CONNECTOR';

/**
 * The file connector of an id, where it can keep the large results of all tenants. Whoever has a key of its tenant could
 * read them, so nobody may have one.
 *
 * @throws ConnectorError `invalid_argument` that names the setting; `invalid_state` for an embedded engine that is not offered.
 */
export async function resultsConnector(
  connectorId: string,
  get: (connectorId: string) => Promise<BaseConnector>,
  { catalog, store }: Pick<Parts, 'catalog' | 'store'>,
): Promise<FileConnector> {
  const wrong = (message: string) => invalidField(`${SETTING} (resultsConnector)`, message);
  const connector = await get(connectorId).catch(absent);
  if (!(connector instanceof FileConnector))
    throw wrong(`is the id of a file connector, and there is none with the id "${connectorId}"`);
  const { driver } = await catalog.load('file', connector.provider);
  await catalog.checkOffered(driver);
  if (store.peers && !driver.remote)
    throw wrong(
      `is a file connector that all servers reach; "${connectorId}" keeps its files on one (${connector.provider})`,
    );
  const { tenantId } = connector;
  const key = (await store.listKeys(tenantId)).find(({ revokedAt }) => revokedAt === null);
  if (key)
    throw wrong(
      `is a file connector of a tenant that nobody has a key of, as it keeps the results of all; tenant "${tenantId}" of ` +
        `"${connectorId}" has key ${key.keyId}: revoke it, or make the connector in a tenant of your own`,
    );
  return connector;
}

/** Guards the file connector that this server keeps large results in, once it is told which. */
export class ResultsGuard {
  #guarded: Place | undefined;

  guard({ tenantId, connectorId }: Place): void {
    this.#guarded = { tenantId, connectorId };
  }

  /** @throws ConnectorError `invalid_state` where it would go with that connector, or with all of that tenant. */
  checkRemoval({ tenantId, connectorId }: Pick<Place, 'tenantId'> & Partial<Place>): void {
    if (
      tenantId === this.#guarded?.tenantId &&
      (connectorId ?? this.#guarded.connectorId) === this.#guarded.connectorId
    )
      throw this.#refused('it cannot be removed');
  }

  /** @throws ConnectorError `invalid_state` where it would lead elsewhere. Its credentials may change. */
  checkChange({ connectorId, config }: ConnectorRecord, changed: ConnectorConfig): void {
    if (connectorId === this.#guarded?.connectorId && leadsTo(changed) !== leadsTo(config))
      throw this.#refused('its endpoint and options cannot change');
  }

  /** @throws ConnectorError `invalid_state` where the holder of a key of that tenant could read it. */
  checkKey(tenantId: string | null): void {
    if (tenantId !== null && tenantId === this.#guarded?.tenantId)
      throw this.#refused(`tenant "${tenantId}" can have no keys, whose holders could read them`);
  }

  #refused(what: string): ConnectorError {
    return new ConnectorError(
      'invalid_state',
      `connector ${this.#guarded?.connectorId} keeps the large results of all tenants, so ${what}; ` +
        `name another one in ${SETTING} and restart the servers first`,
    );
  }
}
