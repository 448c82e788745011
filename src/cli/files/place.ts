import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConnectorError, isConnectorError } from '../../errors/error.ts';
import type { CommandSession } from '../command-session.ts';
import { fileConnector, type Remote, splitRemote } from './remote.ts';

/** One end of a copy: stdin or stdout, a path of this machine, or one of a connector. */
export type Place =
  | { readonly kind: 'stream' }
  | { readonly kind: 'local'; readonly path: string }
  | ({ readonly kind: 'remote' } & Remote);

/** What `-`, `connector:path` or anything else names; a local file with a colon in its name is `./a:b`. */
export async function placeOf(session: CommandSession, text: string): Promise<Place> {
  if (text === '-') return { kind: 'stream' };
  if (text === '') throw new ConnectorError('invalid_argument', 'an empty word names no file');
  const both = splitRemote(text);
  if (!both) return { kind: 'local', path: text };
  try {
    return { kind: 'remote', connector: await fileConnector(session, both.reference), path: both.path };
  } catch (error) {
    throw await namingLocal(error, text);
  }
}

/** The failure to find a connector with the way to write what is a local file. */
async function namingLocal(failure: unknown, text: string): Promise<unknown> {
  if (!isConnectorError(failure) || failure.code !== 'not_found') return failure;
  if (!(await stat(text).catch(() => undefined))) return failure;
  return new ConnectorError(failure.code, `${failure.message}; the local file of that name is ./${text}`, {
    cause: failure,
  });
}

/** A place as people write it. */
export function shownPlace(place: Place): string {
  if (place.kind === 'stream') return '-';
  return place.kind === 'local' ? place.path : `${place.connector.name}:${place.path}`;
}

/** Whether a place stands for a folder that files go into under their own names. */
export async function isFolder(place: Place): Promise<boolean> {
  if (place.kind === 'stream') return false;
  if (place.path === '' || place.path.endsWith('/')) return true;
  if (place.kind === 'remote') return false;
  return (await stat(place.path).catch(() => undefined))?.isDirectory() ?? false;
}

/** @throws ConnectorError `invalid_argument` where a file from stdin would have no name. */
export function inFolder(folder: Place, source: Place): Place {
  if (source.kind === 'stream')
    throw new ConnectorError('invalid_argument', 'content from stdin needs the path of a file to go to');
  if (folder.kind === 'stream') return folder;
  const name = basename(source.path);
  if (folder.kind === 'local') return { kind: 'local', path: join(folder.path, name) };
  const prefix = folder.path === '' || folder.path.endsWith('/') ? folder.path : `${folder.path}/`;
  return { ...folder, path: prefix + name };
}
