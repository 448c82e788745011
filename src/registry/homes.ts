import type { ConnectorRecord } from '../connectors/base.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import type { Peers } from '../store/peers.ts';
import type { AnyDriver, DriverCatalog } from './catalog.ts';

type Where = Pick<ConnectorRecord, 'tenantId' | 'connectorId' | 'connectorType' | 'name'>;

/**
 * Where several servers share a store, what an embedded engine keeps is in the data directory of one of them: the one that
 * used the connector first. The others refuse, instead of answering from a directory where nothing is. Where embedded
 * engines are not offered at all, every server does.
 */
export class Homes {
  readonly #peers: Peers | undefined;
  readonly #here: string;
  readonly #catalog: DriverCatalog;
  /** Connectors that are at home here; they never move. */
  readonly #own = new Set<string>();
  readonly #others = new Set<string>();

  constructor(parts: {
    readonly peers: Peers | undefined;
    /** The id of this process's data directory. */
    readonly here: string;
    readonly catalog: DriverCatalog;
  }) {
    this.#peers = parts.peers;
    this.#here = parts.here;
    this.#catalog = parts.catalog;
  }

  /** The id of this process's data directory. */
  get here(): string {
    return this.#here;
  }

  /** @throws ConnectorError `invalid_state` where the connector is at home elsewhere, or may not be used at all. */
  async check({ tenantId, connectorId, connectorType, name }: Where, driver: AnyDriver): Promise<void> {
    if (driver.remote) return;
    await this.#catalog.checkOffered(driver);
    if (!this.#peers || this.#own.has(connectorId)) return;
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
      if (!isConnectorError(error) || !isElsewhere(error)) throw error;
      this.#others.add(record.connectorId);
      return false;
    }
  }

  /** Others may be gone, and others have their ids. */
  forgetAllBut(isKnown: (connectorId: string) => boolean): void {
    for (const id of [...this.#own, ...this.#others]) if (!isKnown(id)) this.forget(id);
  }

  /** The connector is gone. */
  forget(connectorId: string): void {
    this.#own.delete(connectorId);
    this.#others.delete(connectorId);
  }
}

/** Whether an error is that of a connector which this server does not serve, however well it is. */
export function isElsewhere({ code, details }: ConnectorError): boolean {
  return code === 'invalid_state' && ('home' in details || 'setting' in details);
}
