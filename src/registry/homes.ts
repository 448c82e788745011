import type { ConnectorRecord } from '../connectors/base.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import type { Peers } from '../store/peers.ts';
import type { AnyDriver } from './catalog.ts';

type Where = Pick<ConnectorRecord, 'tenantId' | 'connectorId' | 'connectorType' | 'name'>;

/**
 * Where several servers share a store, what an embedded engine keeps is in the data directory of one of them: the one that
 * used the connector first. The others refuse, instead of answering from a directory where nothing is.
 */
export class Homes {
  readonly #peers: Peers | undefined;
  readonly #here: string;
  /** Connectors that are at home here; they never move. */
  readonly #own = new Set<string>();
  readonly #others = new Set<string>();

  /** @param here the id of this process's data directory. */
  constructor(peers: Peers | undefined, here: string) {
    this.#peers = peers;
    this.#here = here;
  }

  /** The id of this process's data directory. */
  get here(): string {
    return this.#here;
  }

  /** @throws ConnectorError `invalid_state` where the connector is at home elsewhere. */
  async check({ tenantId, connectorId, connectorType, name }: Where, driver: AnyDriver): Promise<void> {
    if (driver.remote || !this.#peers || this.#own.has(connectorId)) return;
    const home = await this.#peers.claimHome(tenantId, connectorId, this.#here);
    if (home === this.#here) {
      this.#own.add(connectorId);
      return;
    }
    throw new ConnectorError(
      'invalid_state',
      `the ${connectorType} connector "${name}" keeps what it stores in the data directory ${home} of another server; ` +
        'send the call there, or use a provider that all servers reach',
      { connectorId, connectorType, details: { home, here: this.#here } },
    );
  }

  /** Whether its calls can be served here; it is at home here from now on where it was nowhere. */
  async isHere(record: Where, driver: AnyDriver): Promise<boolean> {
    if (this.#others.has(record.connectorId)) return false;
    try {
      await this.check(record, driver);
      return true;
    } catch (error) {
      if (!isConnectorError(error) || error.code !== 'invalid_state') throw error;
      this.#others.add(record.connectorId);
      return false;
    }
  }

  /** The connector is gone. */
  forget(connectorId: string): void {
    this.#own.delete(connectorId);
    this.#others.delete(connectorId);
  }
}

/** Whether an error is that of a connector that is at home on another server. */
export function isElsewhere(error: ConnectorError): boolean {
  return error.code === 'invalid_state' && 'home' in error.details;
}
