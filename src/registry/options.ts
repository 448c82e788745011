import type { ConnectorRecord } from '../connectors/base.ts';
import { type ConnectorConfig, type Credentials, MASK } from '../connectors/config.ts';
import { parseWith } from '../contract/validate.ts';
import { ConnectorError, type FieldIssue, invalidField } from '../errors/error.ts';
import { sealedKeyId } from '../secrets/cipher.ts';
import { resolveReference } from '../secrets/references.ts';
import type { SealedSecret } from '../store/store.ts';
import type { LoadedDriver } from './catalog.ts';
import type { Parts } from './parts.ts';

type Plain = Readonly<Record<string, string>>;
type Where = Pick<ConnectorRecord, 'tenantId' | 'connectorId'>;

/** A reference is sealed as this prefix and its JSON, so that a stored value is never mistaken for one. */
const REFERENCE = 'ref:';
const VALUE = 'val:';

/**
 * The configuration with every secret among its credentials, wherever the caller put it.
 *
 * @throws ConnectorError `invalid_argument` for a credential that the driver does not know; `permission_denied` for a
 *   reference or an option that only an administrator may set.
 */
export function sortSecrets(
  config: ConnectorConfig,
  loaded: LoadedDriver,
  { admin }: { readonly admin: boolean },
): ConnectorConfig {
  const credentials: Record<string, Credentials[string]> = { ...config.credentials };
  let { options } = config;
  for (const path of loaded.secretPaths) {
    const record = recordOf(path);
    const keys = (record ?? path).split('.');
    const found = valueAt(options, keys);
    if (found === undefined) continue;
    const values = record === undefined ? { [path]: found } : valuesOf(found, record);
    for (const [name, value] of Object.entries(values)) {
      if (typeof value !== 'string') throw invalidField(`config.options.${name}`, 'is a string');
      credentials[name] = value;
    }
    options = without(options, keys);
  }
  const issues: FieldIssue[] = Object.keys(credentials)
    .filter((name) => !loaded.secretPaths.includes(name) && !recordOfName(name, loaded))
    .map((name) => ({ path: `config.credentials.${name}`, message: knownCredentials(loaded) }));
  if (issues[0])
    throw new ConnectorError('invalid_argument', `${issues[0].path} ${issues[0].message}`, { issues });
  if (!admin) refuseAdminOnly(credentials, options, loaded);
  return options === config.options ? config : config.with({ credentials, options });
}

/**
 * The driver's options as its schema reads them, credentials and endpoint among them, and the connector's region where it
 * has such an option and none was given there.
 *
 * @throws ConnectorError `invalid_argument` with the path of each bad field.
 */
export function driverOptions(
  loaded: LoadedDriver,
  { config, settings: { region } }: Pick<ConnectorRecord, 'config' | 'settings'>,
  credentials: Plain,
): never {
  let merged: Readonly<Record<string, unknown>> = config.options;
  if (region !== undefined && Object.hasOwn(loaded.driver.options.shape, 'region'))
    merged = { region, ...merged };
  for (const [name, value] of Object.entries(credentials)) {
    merged = withValue(merged, keysOf(name, loaded), value);
  }
  if (config.endpoint !== undefined) merged = { ...merged, endpoint: config.endpoint };
  // The value has the type of this driver's schema, which nobody but the driver's own `open` knows.
  return parseWith(loaded.driver.options, merged, 'config.options') as never;
}

/**
 * Every credential sealed for its connector. A masked value keeps what `kept` holds for the field, under the current key:
 * where credentials are sealed anew meanwhile, an old key must not come back.
 */
export function sealCredentials(
  credentials: Credentials,
  where: Where,
  { cipher }: Pick<Parts, 'cipher'>,
  kept: readonly SealedSecret[] = [],
): readonly SealedSecret[] {
  return Object.entries(credentials).map(([field, value]) => {
    const place = { tenantId: where.tenantId, connectorId: where.connectorId, field };
    if (value === MASK) {
      const stored = kept.find((secret) => secret.field === field);
      if (stored) return sealedSecret(field, cipher.reseal(stored.sealed, place));
      throw invalidField(`config.credentials.${field}`, 'is *** but no value is stored for it');
    }
    const text = typeof value === 'string' ? VALUE + value : REFERENCE + JSON.stringify(value);
    return sealedSecret(field, cipher.seal(text, place));
  });
}

/** A sealed value as it is stored. */
export function sealedSecret(field: string, sealed: string): SealedSecret {
  return { field, keyId: sealedKeyId(sealed) ?? '', sealed };
}

/**
 * The credentials in clear; references are read from where they point.
 *
 * @throws ConnectorError `internal` when a value was altered or its master key is missing, `invalid_state` when a
 *   reference cannot be resolved.
 */
export async function openCredentials(
  sealed: readonly SealedSecret[],
  where: Where,
  { cipher, env }: Pick<Parts, 'cipher' | 'env'>,
): Promise<Plain> {
  const opened = await Promise.all(
    sealed.map(async ({ field, sealed: text }) => {
      const plain = cipher.open(text, { tenantId: where.tenantId, connectorId: where.connectorId, field });
      if (plain.startsWith(VALUE)) return [field, plain.slice(VALUE.length)] as const;
      return [field, await resolveReference(JSON.parse(plain.slice(REFERENCE.length)), { env })] as const;
    }),
  );
  return Object.fromEntries(opened);
}

function refuseAdminOnly(
  credentials: Credentials,
  options: Readonly<Record<string, unknown>>,
  loaded: LoadedDriver,
): void {
  const reference = Object.entries(credentials).find(([, value]) => typeof value !== 'string');
  const option = loaded.adminPaths.find((path) => valueAt(options, path.split('.')) !== undefined);
  // One that is a secret is among the credentials by now. What is kept, an administrator has set.
  const hidden = loaded.adminPaths.find((path) => (credentials[path] ?? MASK) !== MASK);
  const credential = reference?.[0] ?? hidden;
  const path = credential ? `config.credentials.${credential}` : option && `config.options.${option}`;
  if (!path) return;
  const what = reference ? 'a reference to where a credential is kept' : 'this option';
  throw new ConnectorError('permission_denied', `${path}: only an administrator may set ${what}`, {
    issues: [{ path, message: 'is for administrators alone' }],
  });
}

/** The record that a path such as `env.*` is about. */
function recordOf(path: string): string | undefined {
  return path.endsWith('.*') ? path.slice(0, -2) : undefined;
}

/** The record of secrets that a credential such as `env.API_KEY` is of. */
function recordOfName(name: string, { secretPaths }: LoadedDriver): string | undefined {
  const isOf = (record: string) => name.startsWith(`${record}.`) && name.length > record.length + 1;
  return secretPaths.map(recordOf).find((record) => record !== undefined && isOf(record));
}

/** Where a credential stands among the options. What follows a record is one key, dots and all. */
function keysOf(name: string, loaded: LoadedDriver): readonly string[] {
  const record = recordOfName(name, loaded);
  if (record === undefined) return name.split('.');
  return [...record.split('.'), name.slice(record.length + 1)];
}

/** A record of secrets as credentials. */
function valuesOf(found: unknown, record: string): Readonly<Record<string, unknown>> {
  if (typeof found !== 'object' || found === null || Array.isArray(found)) {
    throw invalidField(`config.options.${record}`, 'is an object');
  }
  return Object.fromEntries(Object.entries(found).map(([key, value]) => [`${record}.${key}`, value]));
}

function knownCredentials({ secretPaths, driver }: LoadedDriver): string {
  const known = secretPaths.length > 0 ? `it knows ${secretPaths.join(', ')}` : 'it takes none';
  return `is not a credential of ${driver.kind}/${driver.id}; ${known}`;
}

function valueAt(options: unknown, [key, ...rest]: readonly string[]): unknown {
  if (key === undefined) return options;
  if (typeof options !== 'object' || options === null || !Object.hasOwn(options, key)) return undefined;
  return valueAt((options as Readonly<Record<string, unknown>>)[key], rest);
}

function withValue(
  options: unknown,
  [key, ...rest]: readonly string[],
  value: string,
): Readonly<Record<string, unknown>> {
  const base = (typeof options === 'object' ? options : {}) as Readonly<Record<string, unknown>>;
  if (key === undefined) return base;
  return { ...base, [key]: rest.length === 0 ? value : withValue(base[key] ?? {}, rest, value) };
}

function without(
  options: Readonly<Record<string, unknown>>,
  [key, ...rest]: readonly string[],
): Readonly<Record<string, unknown>> {
  if (key === undefined) return options;
  const { [key]: child, ...others } = options;
  if (rest.length === 0) return others;
  // Only a path that `valueAt` found is taken out, so the child is an object.
  return { ...others, [key]: without(child as Readonly<Record<string, unknown>>, rest) };
}
