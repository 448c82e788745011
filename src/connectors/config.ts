import { z } from 'zod';
import { parseWith } from '../contract/validate.ts';

/** A credential that is kept elsewhere: an environment variable or a file of the host. Only an administrator may set one. */
export const secretReference = z.union([
  z.strictObject({ from_env: z.string().min(1) }),
  z.strictObject({ from_file: z.string().min(1) }),
]);
/** Where a credential is read from at opening, instead of being stored: an environment variable or a file. */
export type SecretReference = z.output<typeof secretReference>;

/** Credential values by dotted field name; strings, or references to where one is kept. */
export const credentials = z.record(
  z.string().min(1).max(256),
  z.union([z.string().min(1).max(65_536), secretReference]),
);
/** Credentials by field name: a secret in clear, or where to read it. */
export type Credentials = z.output<typeof credentials>;

/** The configuration of a connector, in wire names: this schema is what the REST interface, the CLI and the store share. */
export const connectorConfig = z.strictObject({
  endpoint: z.string().max(2048).optional().describe('Where the backend is, for providers that need it.'),
  timeout_seconds: z
    .number()
    .positive()
    .max(900)
    .default(30)
    .describe('Limit of each attempt of a call, in seconds.'),
  max_retries: z
    .int()
    .min(0)
    .max(20)
    .default(3)
    .describe('Repetitions after a first attempt that failed temporarily.'),
  retry_delay_seconds: z
    .number()
    .min(0)
    .max(30)
    .default(1)
    .describe('First delay between attempts, in seconds; it doubles, with full jitter, to at most 30.'),
  auth_type: z
    .enum(['none', 'api_key', 'oauth', 'iam'])
    .optional()
    .describe('How the backend authenticates us.'),
  credentials: credentials.default({}).describe('Secret values; sealed at rest and shown as *** everywhere.'),
  rate_limit_enabled: z.boolean().default(false).describe('Whether calls are limited.'),
  rate_limit_requests: z.int().min(1).default(100).describe('Attempts allowed in each window.'),
  rate_limit_window_seconds: z
    .number()
    .positive()
    .max(86_400)
    .default(60)
    .describe('Length of a window, in seconds.'),
  options: z.record(z.string(), z.unknown()).default({}).describe("The provider's own options."),
});
export type WireConfig = z.output<typeof connectorConfig>;

/** What stands in for a credential in every output; sent back in an update, it keeps the stored one. */
export const MASK = '***';

/** A configuration as an application writes it; what is absent has its default. */
export type ConnectorConfigInput = {
  readonly endpoint?: string;
  readonly timeoutSeconds?: number;
  readonly maxRetries?: number;
  readonly retryDelaySeconds?: number;
  readonly authType?: 'none' | 'api_key' | 'oauth' | 'iam';
  readonly credentials?: Credentials;
  readonly rateLimitEnabled?: boolean;
  readonly rateLimitRequests?: number;
  readonly rateLimitWindowSeconds?: number;
  readonly options?: Readonly<Record<string, unknown>>;
};

/** A configuration that the schema has parsed before. Not exported: only `fromParsed` may vouch for one. */
class Parsed implements ConnectorConfigInput {
  readonly endpoint?: string;
  readonly wire: WireConfig;
  constructor(wire: WireConfig) {
    this.wire = wire;
  }
}

/** How a connector is reached. Immutable; masked wherever it is printed. */
export class ConnectorConfig {
  readonly endpoint: string | undefined;
  readonly timeoutSeconds: number;
  readonly maxRetries: number;
  readonly retryDelaySeconds: number;
  readonly authType: 'none' | 'api_key' | 'oauth' | 'iam' | undefined;
  readonly rateLimitEnabled: boolean;
  readonly rateLimitRequests: number;
  readonly rateLimitWindowSeconds: number;
  readonly options: Readonly<Record<string, unknown>>;
  // Private, so that neither console.log nor JSON.stringify nor a spread can show it.
  readonly #credentials: Credentials;

  /** @throws ConnectorError `invalid_argument` with the path of each bad field. */
  constructor(input: ConnectorConfigInput = {}) {
    const wire =
      input instanceof Parsed
        ? input.wire
        : parseWith(connectorConfig, withoutAbsent(toWire(input)), 'config');
    this.endpoint = wire.endpoint;
    this.timeoutSeconds = wire.timeout_seconds;
    this.maxRetries = wire.max_retries;
    this.retryDelaySeconds = wire.retry_delay_seconds;
    this.authType = wire.auth_type;
    this.rateLimitEnabled = wire.rate_limit_enabled;
    this.rateLimitRequests = wire.rate_limit_requests;
    this.rateLimitWindowSeconds = wire.rate_limit_window_seconds;
    this.options = wire.options;
    this.#credentials = wire.credentials;
  }

  /** The configuration that `toDict` or the wire holds. */
  static fromDict(dict: unknown): ConnectorConfig {
    return ConnectorConfig.fromParsed(parseWith(connectorConfig, dict, 'config'));
  }

  /**
   * The configuration that the schema has parsed before: as part of a connector's specification, or before the store
   * kept it, which knows by a check value that the text is what was written. Reading and importing connectors would
   * spend a large part of their time on parsing it again.
   */
  static fromParsed(wire: WireConfig): ConnectorConfig {
    return new ConnectorConfig(new Parsed(wire));
  }

  /**
   * The credentials that this object was made with, by field name. A configuration that came from the registry holds
   * the mask in place of each value: the registry unseals credentials only to open a client.
   */
  get credentials(): Credentials {
    return this.#credentials;
  }

  /** The configuration in wire names; each credential value is `***` unless `includeSecrets`. */
  toDict({ includeSecrets = false }: { readonly includeSecrets?: boolean } = {}): WireConfig {
    const { endpoint, authType } = this;
    return {
      ...(endpoint !== undefined && { endpoint }),
      timeout_seconds: this.timeoutSeconds,
      max_retries: this.maxRetries,
      retry_delay_seconds: this.retryDelaySeconds,
      ...(authType !== undefined && { auth_type: authType }),
      credentials: includeSecrets ? this.#credentials : maskedCredentials(this.#credentials),
      rate_limit_enabled: this.rateLimitEnabled,
      rate_limit_requests: this.rateLimitRequests,
      rate_limit_window_seconds: this.rateLimitWindowSeconds,
      options: { ...this.options },
    };
  }

  toJSON(): WireConfig {
    return this.toDict();
  }

  /** This configuration with some fields replaced. */
  with(patch: ConnectorConfigInput): ConnectorConfig {
    return new ConnectorConfig({ ...fromWire(this.toDict({ includeSecrets: true })), ...patch });
  }
}

function maskedCredentials(credentials: Credentials): Credentials {
  return Object.fromEntries(Object.keys(credentials).map((name) => [name, MASK]));
}

function toWire(config: ConnectorConfigInput) {
  const { endpoint, timeoutSeconds, maxRetries, retryDelaySeconds, authType, ...rest } = config;
  const { rateLimitEnabled, rateLimitRequests, rateLimitWindowSeconds, options, ...unknown } = rest;
  return {
    ...unknown,
    endpoint,
    timeout_seconds: timeoutSeconds,
    max_retries: maxRetries,
    retry_delay_seconds: retryDelaySeconds,
    auth_type: authType,
    credentials: config.credentials,
    rate_limit_enabled: rateLimitEnabled,
    rate_limit_requests: rateLimitRequests,
    rate_limit_window_seconds: rateLimitWindowSeconds,
    options,
  };
}

function fromWire(wire: Partial<WireConfig>): ConnectorConfigInput {
  return withoutAbsent({
    endpoint: wire.endpoint,
    timeoutSeconds: wire.timeout_seconds,
    maxRetries: wire.max_retries,
    retryDelaySeconds: wire.retry_delay_seconds,
    authType: wire.auth_type,
    credentials: wire.credentials,
    rateLimitEnabled: wire.rate_limit_enabled,
    rateLimitRequests: wire.rate_limit_requests,
    rateLimitWindowSeconds: wire.rate_limit_window_seconds,
    options: wire.options,
  });
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** A loop, because every import writes each connector's configuration: entries and filters took twice the time. */
function withoutAbsent<T extends object>(value: T): Present<T> {
  const present: Present<T> = {};
  for (const key of Object.keys(value) as (keyof T)[]) {
    const field = value[key];
    if (field !== undefined) present[key] = field as Exclude<T[keyof T], undefined>;
  }
  return present;
}
