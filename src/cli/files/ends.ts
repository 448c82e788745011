import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { filePath } from '../../connectors/file/path.ts';
import { ConnectorError } from '../../errors/error.ts';
import type { CommandSession } from '../command-session.ts';
import { localError, replaceWhole } from '../local-file.ts';
import { openLocal } from './opened.ts';
import { type Place, shownPlace } from './place.ts';
import { checkOneTenant } from './remote.ts';
import { RemoteFolder } from './remote-folder.ts';
import type { Side } from './side.ts';

/** One file of a copy: where it is opened or written, under which path. */
export type End = { readonly side: Pick<Side, 'open' | 'write'>; readonly path: string };

/** The file that a place names, open to copies in both directions. */
export function endOf(session: CommandSession, place: Place): End {
  const { stdin, stdout, signal } = session.terminal;
  if (place.kind === 'remote')
    return { side: new RemoteFolder(session, { ...place, path: '' }), path: place.path };
  if (place.kind === 'local')
    return {
      path: place.path,
      side: {
        open: (path) => openLocal(path, { followLinks: true }),
        // Not before the source is open: what does not exist leaves no folder behind.
        async write(path, content, options) {
          await makeFolder(dirname(path));
          await replaceWhole(path, content, signal, options);
        },
      },
    };
  return {
    path: '-',
    side: {
      open: async () => ({ body: stdin }),
      write: (_path, content) => pipeline(content, stdout, { end: false, signal }),
    },
  };
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new ConnectorError('already_exists', `${folder}: a file stands where a folder is needed`, {
        ...{ cause: error, details: { errno: 'EEXIST' } },
      });
    throw localError(error, folder);
  }
}

/**
 * Refuses what a copy of files cannot mean, before anything is written.
 *
 * @throws ConnectorError `invalid_argument` that names the way out.
 */
export async function checkCopy(from: Place, to: Place, command: string): Promise<void> {
  const refuse = (message: string): never => {
    throw new ConnectorError('invalid_argument', message);
  };
  if (from.kind !== 'remote' && to.kind !== 'remote')
    refuse(`one of ${shownPlace(from)} and ${shownPlace(to)} has to be of a connector, as CONNECTOR:PATH is`);
  if (from.kind === 'remote' && (from.path === '' || from.path.endsWith('/')))
    refuse(`${shownPlace(from)} is a folder; \`${command} files sync\` copies folders`);
  if (from.kind === 'local') {
    const found = await stat(from.path).catch(() => undefined);
    if (found?.isDirectory()) refuse(`${from.path} is a folder; \`${command} files sync\` copies folders`);
    if (!found?.isFile())
      refuse(`${from.path} is not a file that can be read; a file of a connector is CONNECTOR:PATH`);
  }
  if (from.kind === 'remote' && to.kind === 'remote') checkOneTenant(from.connector, to.connector);
  if (identity(from) === identity(to)) refuse(`${shownPlace(from)} cannot be copied onto itself`);
}

function identity(place: Place): string {
  if (place.kind === 'remote') return JSON.stringify([place.connector.connector_id, filePath(place.path)]);
  return place.kind === 'local' ? resolve(place.path) : '-';
}
