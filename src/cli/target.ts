import { drivers } from '../drivers.generated.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { type BytesAnswer, runOperation } from '../operations/operation.ts';
import type { Log } from '../contract/driver.ts';
import type { EgressOptions, RegistryOptions } from '../registry/opening.ts';
import { ConnectorRegistry } from '../registry/registry.ts';
import { httpTransport } from './http-transport.ts';
import type { Settings } from './settings.ts';
import { shellWord, type Terminal } from './terminal.ts';
import type { Transport } from './transport.ts';

/** Where a command's operations run. */
export type Target = {
  readonly url?: string | undefined;
  readonly apiKey?: string | undefined;
  readonly dataDir: string;
  readonly databaseUrl: string | undefined;
  readonly databasePool: number;
  readonly redisUrl: string | undefined;
  readonly embedded: boolean;
  readonly egress: EgressOptions;
  readonly publicUrl: string | undefined;
  readonly maxInvocations: number;
  readonly resultsConnector: string | undefined;
  readonly probeSeconds: number;
};

/** The target that options name, and the environment where they name none. `--data-dir` wins over CONNECTORS_URL. */
export function targetOf(
  options: { readonly url?: string; readonly apiKey?: string; readonly dataDir?: string },
  settings: Settings,
): Target {
  const url = options.url ?? (options.dataDir === undefined ? settings.CONNECTORS_URL : undefined);
  return {
    url,
    apiKey: options.apiKey ?? settings.CONNECTORS_API_KEY,
    dataDir: options.dataDir ?? settings.CONNECTORS_DATA_DIR,
    databaseUrl: settings.CONNECTORS_DATABASE_URL,
    databasePool: settings.CONNECTORS_DATABASE_POOL,
    redisUrl: settings.CONNECTORS_REDIS_URL,
    embedded: settings.CONNECTORS_EMBEDDED,
    egress: {
      allowPrivate: settings.CONNECTORS_EGRESS_ALLOW_PRIVATE,
      allowCidrs: settings.CONNECTORS_EGRESS_ALLOW,
    },
    publicUrl: settings.CONNECTORS_PUBLIC_URL,
    maxInvocations: settings.CONNECTORS_MAX_INVOCATIONS,
    resultsConnector: settings.CONNECTORS_RESULTS_CONNECTOR,
    probeSeconds: settings.CONNECTORS_PROBE_SECONDS,
  };
}

/** @throws ConnectorError `unauthenticated` for a URL without a key; as {@link openRegistry}. */
export async function openTransport(target: Target, terminal: Terminal): Promise<Transport> {
  const { url, apiKey } = target;
  if (url === undefined) return localTransport(await openRegistry(target, terminal), terminal.signal);
  if (apiKey === undefined)
    throw new ConnectorError('unauthenticated', `the server at ${url} wants an API key`);
  return httpTransport({ url, apiKey, signal: terminal.signal });
}

/**
 * The registry of the data directory, for a command that ends soon: invocations that wait there are left to a server.
 *
 * @param needsDirectory whether the command cannot be sent to a server instead.
 * @throws ConnectorError `invalid_state` that says what to do instead, when another process has the directory.
 */
export function openRegistry(
  target: Target,
  terminal: Terminal,
  { needsDirectory = false }: { readonly needsDirectory?: boolean } = {},
): Promise<ConnectorRegistry> {
  return open(target, terminal, { resumeInvocations: false, needsDirectory });
}

/** The same for a server, which takes up the invocations that wait. */
export function openServedRegistry(
  target: Target,
  terminal: Terminal,
  options: { readonly log: Log; readonly graceMs: number },
): Promise<ConnectorRegistry> {
  const { resultsConnector, probeSeconds } = target;
  return open(target, terminal, { ...options, needsDirectory: true, resultsConnector, probeSeconds });
}

type OpenOptions = Pick<
  RegistryOptions,
  'log' | 'resumeInvocations' | 'resultsConnector' | 'probeSeconds' | 'graceMs'
> & {
  readonly needsDirectory: boolean;
};

async function open(
  target: Target,
  terminal: Terminal,
  { needsDirectory, ...options }: OpenOptions,
): Promise<ConnectorRegistry> {
  try {
    const { dataDir, databaseUrl, databasePool, redisUrl, embedded, egress, publicUrl, maxInvocations } =
      target;
    return await ConnectorRegistry.open({
      dataDir,
      databaseUrl,
      databasePool,
      redisUrl,
      drivers,
      env: terminal.env,
      embedded,
      egress,
      publicUrl,
      maxInvocations,
      ...options,
    });
  } catch (error) {
    if (!isConnectorError(error) || typeof error.details['pid'] !== 'number') throw error;
    const { pid, url } = error.details;
    const wayOut =
      needsDirectory || typeof url !== 'string'
        ? `stop that process first (kill ${pid})`
        : `ask the server instead: ${throughServer(url, target.apiKey, terminal)}`;
    throw new ConnectorError(error.code, `${error.message}; ${wayOut}`, {
      cause: error,
      details: error.details,
    });
  }
}

function localTransport(registry: ConnectorRegistry, signal: AbortSignal): Transport {
  // Whoever may read the data directory may do everything.
  const context = { registry, caller: { tenantId: null, role: 'admin' as const }, signal };
  return {
    registry,
    run: (operation, { input, content }) =>
      runOperation(operation, { ...context, ...(content && { content }) }, input),
    async read(operation, { input }) {
      const answer = await runOperation(operation, context, input);
      if (operation.output !== 'bytes') throw new TypeError(`${operation.id} answers no bytes`);
      // The list's common type does not tell operations that answer bytes from the others; the line above does.
      const { size, contentType, metadata, body } = answer as BytesAnswer;
      return { size, contentType, metadata, body: body ?? [] };
    },
    close: () => registry.close(),
  };
}

/** The command as it was given, sent to a server. A key is named, never repeated. */
function throughServer(url: string, apiKey: string | undefined, { command, args, env }: Terminal): string {
  const key =
    apiKey !== undefined && env['CONNECTORS_API_KEY'] === apiKey ? '' : 'CONNECTORS_API_KEY=<your key> ';
  const flags = args.filter((_, at) => !isKeyFlag(args, at)).map(shellWord);
  return [`${key}${command} --url ${shellWord(url)}`, ...flags].join(' ');
}

function isKeyFlag(args: readonly string[], at: number): boolean {
  return /^--api-key(?:=|$)/.test(args[at] ?? '') || args[at - 1] === '--api-key';
}
