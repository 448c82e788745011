import { ConnectorError, isConnectorError } from '../../errors/error.ts';
import type { CommandSession, ConnectorAnswer } from '../command-session.ts';

/** A file or a folder of a connector; `path` as it was given, empty for the root. */
export type Remote = { readonly connector: ConnectorAnswer; readonly path: string };

/**
 * What a command line names: a connector and a path as two words, or both as one, `connector:path`.
 *
 * @throws ConnectorError as {@link CommandSession.find}; `invalid_argument` for a connector that holds no files.
 */
export async function remoteOf(
  session: CommandSession,
  reference: string,
  path: string | undefined,
): Promise<Remote> {
  const both = path === undefined ? splitRemote(reference) : undefined;
  try {
    return { connector: await fileConnector(session, reference), path: path ?? '' };
  } catch (error) {
    // A name may hold a colon, so the whole is tried first.
    if (!both || !isConnectorError(error) || error.code !== 'not_found') throw error;
  }
  return { connector: await fileConnector(session, both.reference), path: both.path };
}

/** The two halves of `connector:path`; `undefined` for what is no such thing, as `./a:b` and `a/b:c` are not. */
export function splitRemote(text: string): { readonly reference: string; readonly path: string } | undefined {
  const [, reference, path] = /^([^/:]+):(.*)$/s.exec(text) ?? [];
  return reference === undefined || path === undefined ? undefined : { reference, path };
}

/** @throws ConnectorError `invalid_argument` for a connector that holds no files. */
export async function fileConnector(session: CommandSession, reference: string): Promise<ConnectorAnswer> {
  const connector = await session.find(reference);
  if (connector.connector_type === 'file') return connector;
  throw new ConnectorError(
    'invalid_argument',
    `${connector.name} is a ${connector.connector_type} connector; this needs a file one`,
  );
}

/** @throws ConnectorError `invalid_argument` for connectors of two tenants: not even an administrator mixes their files. */
export function checkOneTenant(one: ConnectorAnswer, other: ConnectorAnswer): void {
  if (one.tenant_id === other.tenant_id) return;
  throw new ConnectorError(
    'invalid_argument',
    `${one.name} is of the tenant ${one.tenant_id}, and ${other.name} of ${other.tenant_id}; nothing was copied`,
  );
}

/** @throws ConnectorError `invalid_argument` where a command needs one file and was given none. */
export function namedFile({ connector, path }: Remote): string {
  if (path !== '' && !path.endsWith('/')) return path;
  throw new ConnectorError('invalid_argument', `name a file: ${connector.name}:${path}NAME`);
}
