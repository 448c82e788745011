import { drivers } from '../drivers.generated.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import { type BytesAnswer, runOperation } from '../operations/operation.ts';
import type { Log } from '../contract/driver.ts';
import type { RegistryOptions } from '../registry/opening.ts';
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
 * @throws ConnectorError `invalid_state` that names the command to use instead, when a server has the directory.
 */
export function openRegistry(target: Target, terminal: Terminal): Promise<ConnectorRegistry> {
  return open(target, terminal, { resumeInvocations: false });
}

/** The same for a server, which takes up the invocations that wait. */
export function openServedRegistry(target: Target, terminal: Terminal, log: Log): Promise<ConnectorRegistry> {
  return open(target, terminal, { log });
}

async function open(
  target: Target,
  terminal: Terminal,
  options: Pick<RegistryOptions, 'log' | 'resumeInvocations'>,
): Promise<ConnectorRegistry> {
  try {
    return await ConnectorRegistry.open({ dataDir: target.dataDir, drivers, env: terminal.env, ...options });
  } catch (error) {
    throw withWayOut(error, target, terminal);
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
      const { size, body } = answer as BytesAnswer;
      return { size, body: body ?? [] };
    },
    close: () => registry.close(),
  };
}

/** The error of a directory in use, with the command that reaches the server instead. */
function withWayOut(error: unknown, { apiKey }: Target, { command }: Terminal): unknown {
  if (!isConnectorError(error) || error.code !== 'invalid_state') return error;
  const { url } = error.details;
  if (typeof url !== 'string') return error;
  const key = apiKey === undefined ? 'CONNECTORS_API_KEY=<your key> ' : '';
  const message = `${error.message}; ask that server instead: ${key}${command} --url ${shellWord(url)} …`;
  return new ConnectorError('invalid_state', message, { cause: error, details: error.details });
}
