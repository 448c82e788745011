import {
  BaseConnector,
  NO_ACTIVITY,
  type ConnectorActivity,
  type ConnectorRecord,
} from '../connectors/base.ts';
import { ConnectorConfig, MASK } from '../connectors/config.ts';
import { newConnectorId } from '../connectors/connector-id.ts';
import { FileConnector } from '../connectors/file/connector.ts';
import { ServerlessConnector } from '../connectors/serverless/connector.ts';
import type { InvocationLog } from '../connectors/serverless/invocations.ts';
import { VectorConnector } from '../connectors/vector/connector.ts';
import { parseWith } from '../contract/validate.ts';
import { ConnectorError, invalidField, isConnectorError } from '../errors/error.ts';
import type { NewConnector, SealedSecret } from '../store/store.ts';
import type { AnyDriver, LoadedDriver } from './catalog.ts';
import { driverOptions, openCredentials, sealCredentials, sortSecrets } from './options.ts';
import type { Parts } from './parts.ts';
import type { Session } from './session.ts';
import { isDriverKind, KINDS, newConnector, settingsOf } from './spec.ts';

export type MakeOptions = {
  readonly tenantId: string;
  readonly connectorId?: string | undefined;
  /** Whether the caller may set references, options that are for administrators, and private addresses. */
  readonly admin: boolean;
};

/**
 * A connector ready to be stored: parsed by the schema of its kind and of its driver, its secrets sealed.
 *
 * @throws ConnectorError `invalid_argument` with the path of each bad field; `permission_denied`; `unsupported` for a
 *   distance metric that the driver lacks.
 */
export async function prepareConnector(
  dict: unknown,
  options: MakeOptions,
  parts: Parts,
): Promise<NewConnector> {
  const spec = parseWith(newConnector, dict);
  const { connector_type: connectorType, provider } = spec;
  const loaded = await parts.catalog.load(connectorType, provider);
  await parts.catalog.checkOffered(loaded.driver);
  checkVectorSettings(spec, loaded);
  const config = sortSecrets(ConnectorConfig.fromParsed(spec.config), loaded, options);
  const now = new Date(parts.clock.now());
  const where = {
    tenantId: options.tenantId,
    connectorId: options.connectorId ?? newConnectorId(now.getTime()),
  };
  const secrets = sealCredentials(config.credentials, where, parts);
  const record: ConnectorRecord = {
    ...where,
    name: spec.name,
    connectorType,
    provider,
    config: masked(config),
    settings: settingsOf(connectorType, spec),
    capabilities: KINDS[connectorType].capabilities,
    metadata: spec.metadata,
    trusted: options.admin,
    version: 1,
    createdAt: now,
    updatedAt: now,
  };
  const ready = await isReady(loaded, config, secrets, record, parts);
  return { record, activity: { ...NO_ACTIVITY, status: ready ? 'ready' : 'registered' }, secrets };
}

/** Checks a changed configuration in the same way, and seals what is new in it. */
export async function prepareConfig(
  record: ConnectorRecord,
  changed: ConnectorConfig,
  { admin }: { readonly admin: boolean },
  parts: Parts,
): Promise<{
  readonly config: ConnectorConfig;
  readonly secrets: readonly SealedSecret[];
  readonly ready: boolean;
  readonly trusted: boolean;
}> {
  const trusted = admin || (record.trusted && staysTrusted(record.config, changed));
  if (record.trusted && !trusted) refuseKept(changed);
  if (!isDriverKind(record.connectorType)) {
    const kept = await parts.store.getSecrets(record.tenantId, record.connectorId);
    return {
      config: masked(changed),
      secrets: sealCredentials(changed.credentials, record, parts, kept),
      ready: true,
      trusted,
    };
  }
  const loaded = await parts.catalog.load(record.connectorType, record.provider);
  const config = sortSecrets(changed, loaded, { admin });
  const kept = await parts.store.getSecrets(record.tenantId, record.connectorId);
  const secrets = sealCredentials(config.credentials, record, parts, kept);
  const ready = await isReady(loaded, config, secrets, record, parts);
  return { config: masked(config), secrets, ready, trusted };
}

/**
 * Whether an administrator's trust outlasts a change that somebody else made: where the connector leads to the same
 * place, as the same one. Without its credentials a driver may take the host's own identity in their place.
 */
function staysTrusted(before: ConnectorConfig, changed: ConnectorConfig): boolean {
  return (
    leadsTo(changed) === leadsTo(before) &&
    Object.keys(before.credentials).every((name) => Object.hasOwn(changed.credentials, name))
  );
}

/** Where a configuration leads, and as what; two that lead to the same place have the same text. */
export function leadsTo({ endpoint, authType, options }: ConnectorConfig): string {
  return JSON.stringify([endpoint ?? null, authType ?? null, options]);
}

/**
 * An administrator's credentials do not go along to where a tenant says: whoever listens there would be told them.
 *
 * @throws ConnectorError `permission_denied`.
 */
function refuseKept({ credentials }: ConnectorConfig): void {
  const kept = Object.keys(credentials).find((name) => credentials[name] === MASK);
  if (kept === undefined) return;
  const path = `config.credentials.${kept}`;
  throw new ConnectorError(
    'permission_denied',
    `${path}: an administrator's credentials stay with the endpoint and the options that they were given for; give your own with the change`,
    { issues: [{ path, message: 'is an administrator’s, and is given anew with this change' }] },
  );
}

/** The configuration as it is stored and shown: every credential's name, no value. */
export function masked(config: ConnectorConfig): ConnectorConfig {
  return Object.keys(config.credentials).length === 0 ? config : ConnectorConfig.fromParsed(config.toDict());
}

/** The driver of a record; none where the application's own class serves it. */
export async function driverOf(
  { connectorType, provider }: ConnectorRecord,
  { catalog }: Parts,
): Promise<AnyDriver | undefined> {
  return isDriverKind(connectorType) ? (await catalog.load(connectorType, provider)).driver : undefined;
}

/** The connector object of a stored record. */
export function makeConnector(
  record: ConnectorRecord,
  activity: ConnectorActivity,
  driver: AnyDriver | undefined,
  session: Session,
  parts: Parts,
): BaseConnector {
  if (!driver) return new AbsentConnector(record, activity);
  // A session of any client serves here: the driver is the one that the session will open.
  const shared = { record, activity, session: session as never };
  switch (driver.kind) {
    case 'vector':
      return new VectorConnector({ ...shared, capabilities: driver.capabilities });
    case 'file':
      return new FileConnector({
        ...shared,
        capabilities: driver.capabilities,
        clock: parts.clock,
        // Of the configuration as it is by then.
        signUrl: (key, options) => parts.addresses.sign(session.connector.record, key, options),
      });
    case 'serverless':
      return new ServerlessConnector({
        ...shared,
        capabilities: driver.capabilities,
        ...(driver.outcomeOf && { outcomeOf: driver.outcomeOf }),
        invocations: logAtHome(record, driver, parts),
        worker: parts.invocations.worker,
        clock: parts.invocations.clock,
        random: parts.random,
        callbackUrl: (requestId) => parts.addresses.callbackUrl(record, requestId),
      });
  }
}

/** The invocations of a connector; where its functions are on another server, none is accepted here. */
function logAtHome(record: ConnectorRecord, driver: AnyDriver, { invocations, homes }: Parts): InvocationLog {
  const log = invocations.logOf(record);
  return {
    ...log,
    async add(invocation) {
      await homes.check(record, driver);
      return log.add(invocation);
    },
  };
}

/** Whether this server can run a connector's functions; what others have at home is theirs to run. */
export async function isAtHome(connector: ServerlessConnector, { catalog, homes }: Parts): Promise<boolean> {
  const { driver } = await catalog.load('serverless', connector.provider);
  return homes.isHere(connector, driver);
}

/** A connector of the application's own class, in a process that has not registered the object. */
class AbsentConnector extends BaseConnector {
  override connect(): Promise<void> {
    return Promise.reject(this.#absent());
  }
  override async disconnect(): Promise<void> {}
  override healthCheck(): Promise<never> {
    return Promise.reject(this.#absent());
  }
  #absent(): ConnectorError {
    const message = `connector "${this.name}" is of the application's own class; register its object in this process first`;
    return new ConnectorError('invalid_state', message, {
      connectorId: this.connectorId,
      connectorType: this.connectorType,
    });
  }
}

/** Whether the configuration passes the driver's schema; false where a reference leads nowhere yet. */
async function isReady(
  loaded: LoadedDriver,
  config: ConnectorConfig,
  secrets: readonly SealedSecret[],
  record: ConnectorRecord,
  parts: Parts,
): Promise<boolean> {
  try {
    const credentials = secrets.length === 0 ? {} : await openCredentials(secrets, record, parts);
    driverOptions(loaded, { config, settings: record.settings }, credentials);
    return true;
  } catch (error) {
    if (isConnectorError(error) && error.code === 'invalid_state') return false;
    throw error;
  }
}

function checkVectorSettings(spec: Readonly<Record<string, unknown>>, { driver }: LoadedDriver): void {
  if (driver.kind !== 'vector') return;
  const { metrics, limits } = driver.capabilities;
  const { vector_dimension: dimension, distance_metric: metric } = spec;
  if (Number(dimension) > limits.dimension)
    throw invalidField('vector_dimension', `is at most ${limits.dimension} for ${driver.id}`);
  if (metrics.some((known) => known === metric)) return;
  throw new ConnectorError('unsupported', `distance_metric: ${driver.id} supports ${metrics.join(', ')}`, {
    details: { capability: 'metrics', missing: [metric] },
    issues: [{ path: 'distance_metric', message: `is one of ${metrics.join(', ')}` }],
  });
}
