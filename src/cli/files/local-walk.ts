import type { Dirent, Stats } from 'node:fs';
import { lstat, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { byteOrder } from '../../connectors/file/order.ts';
import { pathProblem } from '../../connectors/file/path.ts';
import { joinedPath } from '../../connectors/file/tree.ts';
import { asConnectorError, ConnectorError } from '../../errors/error.ts';
import { isPartial, localError } from '../local-file.ts';
import type { Found } from './side.ts';

type Kind = 'file' | 'folder' | 'link' | 'special';

/** Files whose facts are asked for at once. */
const BATCH = 64;
/** What an interrupted write has left; a write that goes on touches its file all the time. */
const LITTER_MS = 3_600_000;

/**
 * All files below a local folder in order of the UTF-8 bytes of their paths, as connectors list theirs. Links are not
 * followed; a folder that cannot be read, and a name that no connector can have, are told as failures.
 *
 * One folder's names are held at a time, and those of the folders that it lies in. Nothing is told where there is no root;
 * what has gone meanwhile is passed over.
 *
 * @throws ConnectorError `not_found` where the root itself has gone meanwhile: what it held is not.
 */
export async function* localWalk(root: string): AsyncGenerator<Found> {
  const walked = await stat(root).catch(() => undefined);
  const checkRoot = async (): Promise<void> => {
    const now = await stat(root).catch(() => undefined);
    if (walked && (walked.ino !== now?.ino || walked.dev !== now.dev))
      throw new ConnectorError('not_found', `${root} has gone, or is another folder by now`, {
        details: { errno: 'ENOENT' },
      });
  };
  yield* walkFrom(root, '', checkRoot);
}

async function* walkFrom(
  root: string,
  folder: string,
  checkRoot: () => Promise<void>,
): AsyncGenerator<Found> {
  const failed = (path: string, key: string, error: unknown): Found => ({
    ...{ kind: 'failed', key, path },
    error: asConnectorError(localError(error, join(root, path))),
  });
  let entries: readonly (readonly [key: string, kind: Kind])[];
  try {
    entries = await sortedEntries(join(root, folder));
  } catch (error) {
    if (isMissing(error)) await checkRoot();
    if (isMissing(error) && isText(folder)) return;
    // Of a root that cannot be read nothing is known: it may not look like one that holds nothing.
    if (folder === '') throw localError(error, root);
    yield failed(folder, `${folder}/`, isMissing(error) ? notText() : error);
    return;
  }
  for (let at = 0; at < entries.length; at += BATCH) {
    const batch = entries.slice(at, at + BATCH);
    const facts = await Promise.all(batch.map(([name, kind]) => factsOf(join(root, folder, name), kind)));
    if (batch.some(([, kind], i) => kind === 'file' && facts[i] === undefined)) await checkRoot();
    for (const [i, [name, kind]] of batch.entries()) {
      const key = joinedPath(folder, name);
      const path = kind === 'folder' ? key.slice(0, -1) : key;
      const problem = pathProblem(path);
      const stats = facts[i];
      if (kind === 'link' || kind === 'special') yield { kind, key, path };
      else if (problem !== undefined) yield failed(path, key, unnameable(problem));
      else if (kind === 'folder') yield* walkFrom(root, path, checkRoot);
      else if (stats instanceof Error) yield failed(path, key, stats);
      else if (stats) {
        // Rounded: a time in milliseconds that was set comes back a fraction less.
        yield { kind, key, path, size: stats.size, modifiedMs: Math.round(stats.mtimeMs) };
      } else if (!isText(name)) yield failed(path, key, notText());
    }
  }
}

/** Names with their kinds, a folder's with a trailing `/`: sorted by it, the whole tree is in order of its paths. */
async function sortedEntries(folder: string): Promise<readonly (readonly [string, Kind])[]> {
  const entries: (readonly [string, Kind])[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (isPartial(entry.name)) {
      await removeLitter(join(folder, entry.name));
      continue;
    }
    const kind = kindOf(entry) ?? kindOf(await lstat(join(folder, entry.name)));
    entries.push([kind === 'folder' ? `${entry.name}/` : entry.name, kind ?? 'special']);
  }
  return entries.sort(([a], [b]) => byteOrder(a, b));
}

/** `undefined` for an entry of a file system that does not tell kinds in its listings. */
function kindOf(entry: Dirent | Stats): Kind | undefined {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'folder';
  if (entry.isSymbolicLink()) return 'link';
  const isSpecial = entry.isFIFO() || entry.isSocket() || entry.isBlockDevice() || entry.isCharacterDevice();
  return isSpecial ? 'special' : undefined;
}

/** `undefined` for a file that has gone meanwhile. */
async function factsOf(file: string, kind: Kind): Promise<Stats | Error | undefined> {
  if (kind !== 'file') return undefined;
  try {
    return await lstat(file);
  } catch (error) {
    return isMissing(error) ? undefined : (error as Error);
  }
}

async function removeLitter(file: string): Promise<void> {
  const stats = await lstat(file).catch(() => undefined);
  if (stats && Date.now() - stats.mtimeMs > LITTER_MS) await rm(file, { force: true }).catch(() => {});
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Node shows each byte of a name that is no UTF-8 as this character, and then finds no such file. */
function isText(name: string): boolean {
  return !name.includes('\uFFFD');
}

function notText(): ConnectorError {
  return new ConnectorError('unsupported', 'its name is not UTF-8; rename it');
}

function unnameable(problem: string): ConnectorError {
  return new ConnectorError('unsupported', `no file of a connector can have this name: a path ${problem}`);
}
