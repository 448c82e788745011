import { z } from 'zod';
import { type ConnectorRecord } from '../connectors/base.ts';
import { ConnectorConfig, connectorConfig, type ConnectorConfigInput } from '../connectors/config.ts';
import { fileSettings } from '../connectors/file/schema.ts';
import type { ConnectorCapability } from '../connectors/kinds.ts';
import { serverlessSettings } from '../connectors/serverless/schema.ts';
import type { DistanceMetric } from '../connectors/vector/driver.ts';
import { vectorSettings } from '../connectors/vector/schema.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import type { DriverKind } from './catalog.ts';

/** The customer that owns connectors. */
export const tenantId = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,128}$/, 'is 1 to 128 characters of letters, digits, `.`, `_`, `-`, `:`')
  .describe('The tenant that owns the connector.');

const name = z
  .string()
  .regex(
    /^[^\p{C}\s](?:[^\p{C}]{0,126}[^\p{C}\s])?$/u,
    'is 1 to 128 printable characters, without spaces at its ends',
  )
  .describe('A name of your choice, unique within the tenant.');

const METADATA_BYTES = 65_536;
const metadata = z
  .record(z.string().max(256), z.json())
  .refine(
    (value) => JSON.stringify(value).length <= METADATA_BYTES,
    `is at most ${METADATA_BYTES} bytes of JSON`,
  )
  .describe('Anything of yours that should be kept with the connector, as JSON.');

const common = { name, config: connectorConfig.prefault({}), metadata: metadata.default({}) };

/** What each kind of connector adds to the common fields, in wire names, and what it can do. */
export const KINDS = {
  vector: {
    settings: vectorSettings,
    defaultProvider: 'embedded',
    capabilities: ['read', 'write', 'batch', 'search', 'vector_search'],
    folder: 'vectors',
  },
  file: {
    settings: fileSettings,
    defaultProvider: 'local',
    capabilities: ['read', 'write', 'stream'],
    folder: 'files',
  },
  serverless: {
    settings: serverlessSettings,
    defaultProvider: 'local',
    capabilities: ['query'],
    folder: 'functions',
  },
} as const satisfies Record<
  DriverKind,
  {
    settings: z.ZodObject;
    defaultProvider: string;
    capabilities: readonly ConnectorCapability[];
    folder: string;
  }
>;

/** True where the registry itself opens connectors of this type, through a driver. */
export function isDriverKind(type: string): type is DriverKind {
  return Object.hasOwn(KINDS, type);
}

const provider = (kind: DriverKind) =>
  z.string().min(1).max(64).default(KINDS[kind].defaultProvider).describe('Which backend within the type.');

/** A connector to be made, in wire names, without its tenant. */
export const newConnector = z.discriminatedUnion('connector_type', [
  z.strictObject({
    connector_type: z.literal('vector'),
    provider: provider('vector'),
    ...common,
    ...vectorSettings.shape,
  }),
  z.strictObject({
    connector_type: z.literal('file'),
    provider: provider('file'),
    ...common,
    ...fileSettings.shape,
  }),
  z.strictObject({
    connector_type: z.literal('serverless'),
    provider: provider('serverless'),
    ...common,
    ...serverlessSettings.shape,
  }),
]);

// Not `connectorConfig.partial()`: an optional field with a default is filled in, and a patch must not reset what it does not name.
const configPatch = z.strictObject(
  Object.fromEntries(
    Object.entries(connectorConfig.shape).map(([key, field]) => [
      key,
      (field instanceof z.ZodDefault ? field.unwrap() : field).optional().describe(field.description ?? ''),
    ]),
  ),
);

/** A change of a connector, in wire names. What is absent stays; what is given replaces the old value as a whole. */
export const connectorPatch = z.strictObject({
  name: name.optional(),
  config: configPatch
    .optional()
    .describe('Fields that are given replace the old ones; *** keeps a credential.'),
  metadata: metadata.optional(),
  status: z.enum(['deprecated', 'disconnected']).optional().describe('Take out of use, or back into it.'),
  version: z.int().min(1).optional().describe('Refuse the change unless this is the stored version.'),
});
export type ConnectorPatchDict = z.input<typeof connectorPatch>;

type Common = {
  readonly tenantId: string;
  readonly name: string;
  readonly provider?: string;
  readonly config?: ConnectorConfigInput | ConnectorConfig;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** An id of your own instead of a random one. */
  readonly connectorId?: string;
};
/** A vector connector to be made. */
export type VectorConnectorSpec = Common & {
  /** Numbers in each vector; 1536 by default. */
  readonly vectorDimension?: number;
  /** `cosine` by default. */
  readonly distanceMetric?: DistanceMetric;
};
/** A file connector to be made. */
export type FileConnectorSpec = Common & {
  /** A folder inside the connector's root that all paths are relative to. */
  readonly basePath?: string;
};
/** A functions connector to be made. */
export type ServerlessConnectorSpec = Common & {
  readonly region?: string;
  /** Asynchronous invocations that run at once, at most; 10 by default. */
  readonly maxConcurrency?: number;
  /** Functions that may run more than once for one request id without a second effect; `*` for all. */
  readonly idempotentFunctions?: readonly string[];
  /** How long results are known after they ended, in seconds; a day by default. */
  readonly resultTtlSeconds?: number;
};
/** A connector to be made, in the names of the TypeScript API. */
export type ConnectorSpec =
  | ({ readonly connectorType: 'vector' } & VectorConnectorSpec)
  | ({ readonly connectorType: 'file' } & FileConnectorSpec)
  | ({ readonly connectorType: 'serverless' } & ServerlessConnectorSpec);
/** A change of a connector, in the names of the TypeScript API. What is absent stays. */
export type ConnectorPatch = {
  readonly name?: string;
  readonly config?: ConnectorConfigInput;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly status?: 'deprecated' | 'disconnected';
  /** Refuse the change with `conflict` unless this is the stored version. */
  readonly version?: number;
};

/** The same object with its own keys in wire names: `vectorDimension` is `vector_dimension`. Values are left alone. */
export function wireKeys(value: object): Record<string, unknown> {
  const renamed = Object.entries(value).filter(([, v]) => v !== undefined);
  return Object.fromEntries(renamed.map(([k, v]) => [k.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`), v]));
}

/** A spec without its tenant and id, as the wire schema reads it. */
export function specDict(spec: ConnectorSpec): Record<string, unknown> {
  const { tenantId: _tenant, connectorId: _id, config, ...rest } = spec;
  return { ...wireKeys(rest), ...(config && { config: configDict(config) }) };
}

/** A patch as the wire schema reads it. */
export function patchDict(patch: ConnectorPatch): Record<string, unknown> {
  return { ...wireKeys(patch), ...(patch.config && { config: wireKeys(patch.config) }) };
}

/** Which part of a parsed spec is the kind's own. */
export function settingsOf(
  kind: DriverKind,
  parsed: Readonly<Record<string, unknown>>,
): ConnectorRecord['settings'] {
  return Object.fromEntries(
    Object.keys(KINDS[kind].settings.shape)
      .map((key) => [key, parsed[key]])
      .filter(([, v]) => v !== undefined),
  );
}

/** Deeper than any configuration, and far from where walking it would exhaust the stack. */
const MAX_DEPTH = 32;

/**
 * Refuses `__proto__` as a key anywhere in what a caller sent, and nesting that no configuration needs.
 *
 * The schemas would drop the key without a word, and what a caller sends is kept or refused, never lost.
 *
 * @throws ConnectorError `invalid_argument` with the key's path.
 */
export function checkKeys(value: unknown, path: readonly string[] = []): void {
  if (typeof value !== 'object' || value === null) return;
  if (path.length > MAX_DEPTH)
    throw invalidField(path.slice(0, 3).join('.'), `is nested more than ${MAX_DEPTH} deep`);
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, key];
    if (key === '__proto__') throw invalidField(at.join('.'), 'is not a name that may be used');
    checkKeys(child, at);
  }
}

/** @throws ConnectorError `invalid_argument`. */
export function checkConnectorId(id: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(id)) return id;
  throw invalidField('connector_id', 'is 1 to 64 letters, digits, `_` or `-`');
}

function configDict(config: ConnectorConfigInput | ConnectorConfig): Record<string, unknown> {
  return config instanceof ConnectorConfig ? config.toDict({ includeSecrets: true }) : wireKeys(config);
}

/** @throws ConnectorError `conflict` where a change is for another version than the stored one. */
export function checkVersion(patch: ConnectorPatchDict, stored: number): void {
  if (patch.version === undefined || patch.version === stored) return;
  const message = `version is ${stored} by now, not ${patch.version}; read the connector again`;
  throw new ConnectorError('conflict', message, { details: { version: stored } });
}
