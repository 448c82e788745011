import type { BaseConnector, CallOptions, HealthReport } from '../connectors/base.ts';
import { FileConnector } from '../connectors/file/connector.ts';
import { ServerlessConnector } from '../connectors/serverless/connector.ts';
import { VectorConnector } from '../connectors/vector/connector.ts';
import { ConnectorError } from '../errors/error.ts';
import type { ConnectorRegistry, ListOptions } from './registry.ts';
import type {
  ConnectorPatch,
  ConnectorSpec,
  FileConnectorSpec,
  ServerlessConnectorSpec,
  VectorConnectorSpec,
} from './spec.ts';
import type { ConnectorStats } from './stats.ts';

type Own<Spec> = Omit<Spec, 'tenantId' | 'connectorId'>;
type OwnSpec = ConnectorSpec extends infer S ? (S extends ConnectorSpec ? Own<S> : never) : never;

/**
 * A registry as one tenant sees it. Another tenant's connector reads exactly like one that never existed.
 *
 * Unless it was made for an administrator, references to credentials of the host and options that leave the tenant's
 * own ground are refused with `permission_denied`.
 */
export class TenantView {
  readonly #registry: ConnectorRegistry;
  readonly #admin: boolean;
  readonly tenantId: string;

  constructor(registry: ConnectorRegistry, tenantId: string, admin: boolean) {
    this.#registry = registry;
    this.#admin = admin;
    this.tenantId = tenantId;
  }

  create(spec: OwnSpec): Promise<BaseConnector> {
    return this.#registry.create(
      { ...spec, tenantId: this.tenantId },
      {
        admin: this.#admin,
      },
    );
  }
  createVectorConnector(spec: Own<VectorConnectorSpec>): Promise<VectorConnector> {
    return this.#registry.createVectorConnector({ ...spec, tenantId: this.tenantId }, { admin: this.#admin });
  }
  createFileConnector(spec: Own<FileConnectorSpec>): Promise<FileConnector> {
    return this.#registry.createFileConnector({ ...spec, tenantId: this.tenantId }, { admin: this.#admin });
  }
  createServerlessConnector(spec: Own<ServerlessConnectorSpec>): Promise<ServerlessConnector> {
    return this.#registry.createServerlessConnector(
      { ...spec, tenantId: this.tenantId },
      { admin: this.#admin },
    );
  }
  /** A connector from its wire names. */
  createFromDict(dict: unknown): Promise<BaseConnector> {
    return this.#registry.createFromDict(this.tenantId, dict, { admin: this.#admin });
  }

  /** @throws ConnectorError `not_found`. */
  get(connectorId: string): Promise<BaseConnector> {
    return this.#registry.get(connectorId, this);
  }
  /** @throws ConnectorError `not_found`. */
  getByName(name: string): Promise<BaseConnector> {
    return this.#registry.getByName(this.tenantId, name);
  }
  list(options: Omit<ListOptions, 'tenantId'> = {}): Promise<readonly BaseConnector[]> {
    return this.#registry.list({ ...options, tenantId: this.tenantId });
  }
  update(connectorId: string, patch: ConnectorPatch): Promise<BaseConnector> {
    return this.#registry.update(connectorId, patch, { tenantId: this.tenantId, admin: this.#admin });
  }
  updateFromDict(connectorId: string, dict: unknown): Promise<BaseConnector> {
    return this.#registry.updateFromDict(connectorId, dict, { tenantId: this.tenantId, admin: this.#admin });
  }
  delete(connectorId: string): Promise<boolean> {
    return this.#registry.delete(connectorId, this);
  }
  test(connectorId: string, options: CallOptions = {}): Promise<HealthReport> {
    return this.#registry.test(connectorId, { tenantId: this.tenantId, signal: options.signal });
  }
  getStatistics(): Promise<ConnectorStats> {
    return this.#registry.getStatistics(this);
  }
  clear(): Promise<number> {
    return this.#registry.clearTenant(this.tenantId);
  }

  /** The connector as one that searches vectors. @throws ConnectorError `not_found`; `unsupported` for another type. */
  async vector(connectorId: string): Promise<VectorConnector> {
    const connector = await this.get(connectorId);
    if (connector instanceof VectorConnector) return connector;
    throw lacks(connector, 'vector');
  }
  /** The connector as one that holds files. @throws ConnectorError `not_found`; `unsupported` for another type. */
  async file(connectorId: string): Promise<FileConnector> {
    const connector = await this.get(connectorId);
    if (connector instanceof FileConnector) return connector;
    throw lacks(connector, 'file');
  }
  /** The connector as one that runs functions. @throws ConnectorError `not_found`; `unsupported` for another type. */
  async serverless(connectorId: string): Promise<ServerlessConnector> {
    const connector = await this.get(connectorId);
    if (connector instanceof ServerlessConnector) return connector;
    throw lacks(connector, 'serverless');
  }
}

function lacks({ connectorId, connectorType, name }: BaseConnector, wanted: string): ConnectorError {
  return new ConnectorError(
    'unsupported',
    `connector "${name}" is of type ${connectorType}; this needs type ${wanted}`,
    {
      connectorId,
      connectorType,
      details: { capability: 'connector_type', missing: [wanted] },
    },
  );
}
