import { ConnectorStatus, type ConnectorType } from '../connectors/kinds.ts';
import type { StoreStatistics } from '../store/store.ts';

/** What there is and what happened, for one tenant or for all. */
export class ConnectorStats {
  readonly totalConnectors: number;
  readonly readyConnectors: number;
  readonly connectedConnectors: number;
  readonly errorConnectors: number;
  /** Only types that occur. */
  readonly connectorsByType: Readonly<Partial<Record<ConnectorType, number>>>;
  readonly totalConnections: number;
  readonly totalErrors: number;

  constructor(stored: StoreStatistics) {
    const count = (status: ConnectorStatus) => stored.byStatus[status] ?? 0;
    this.totalConnectors = Object.values(stored.byType).reduce((sum, n) => sum + n, 0);
    this.readyConnectors = count(ConnectorStatus.ready);
    this.connectedConnectors = count(ConnectorStatus.connected);
    this.errorConnectors = count(ConnectorStatus.error);
    this.connectorsByType = stored.byType;
    this.totalConnections = stored.totalConnections;
    this.totalErrors = stored.totalErrors;
  }

  toDict() {
    return {
      total_connectors: this.totalConnectors,
      ready_connectors: this.readyConnectors,
      connected_connectors: this.connectedConnectors,
      error_connectors: this.errorConnectors,
      connectors_by_type: this.connectorsByType,
      total_connections: this.totalConnections,
      total_errors: this.totalErrors,
    };
  }

  toJSON() {
    return this.toDict();
  }
}
