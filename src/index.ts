/** The registry: every tenant's connectors in one place, durable, sealed, and one typed way to use them. */
export { ConnectorRegistry } from './registry/registry.ts';
export type { Actor, ListOptions, Scope } from './registry/registry.ts';
export type { RegistryGauges, RegistryOptions } from './registry/opening.ts';
export type { RegistryEvents } from './registry/parts.ts';
export { TenantView } from './registry/tenant.ts';
export type {
  ConnectorPatch,
  ConnectorSpec,
  FileConnectorSpec,
  ServerlessConnectorSpec,
  VectorConnectorSpec,
} from './registry/spec.ts';
export type { DriverLoaders, ProviderDescription } from './registry/catalog.ts';
export { ConnectorStats } from './registry/stats.ts';
export { Keyring, type KeyUse, type Rotation, type RotationPosition } from './registry/keyring.ts';
export { ApiKeys, type NewApiKey } from './registry/keys.ts';
export {
  getConnector,
  getConnectorRegistry,
  listConnectors,
  registerConnector,
  resetConnectorRegistry,
} from './registry/process.ts';
export {
  BaseConnector,
  type CallOptions,
  type ConnectorActivity,
  type ConnectorInit,
  type ConnectorRecord,
  type HealthReport,
  type HealthStage,
  type LastError,
} from './connectors/base.ts';
export {
  ConnectorConfig,
  type ConnectorConfigInput,
  type Credentials,
  type SecretReference,
} from './connectors/config.ts';
export { ConnectorCapability, ConnectorStatus, ConnectorType } from './connectors/kinds.ts';
export { VectorConnector } from './connectors/vector/connector.ts';
export { FileConnector } from './connectors/file/connector.ts';
export { ServerlessConnector } from './connectors/serverless/connector.ts';
export { ERROR_CODES, type ErrorCode } from './errors/codes.ts';
export { ConnectorError, isConnectorError, type FieldIssue } from './errors/error.ts';
export { type CorpusStatistics, FeatureHashing, HASHED_DIMENSION } from './tour/feature-hashing.ts';
export { indexedText, type Passage, passagesOf } from './tour/passages.ts';
