import { invalidField, type ConnectorError } from '../../errors/error.ts';
import type { ClientListOptions } from './driver.ts';
import { byteOrder } from './order.ts';
import { pathProblem } from './path.ts';

/** A name in a folder, with a trailing `/` where it is a folder: sorted by it, a tree is in order of its full paths. */
export type EntryKey = string;

/**
 * The entries of one folder whose keys are after `after`, in order of the UTF-8 bytes of the keys. A folder that does
 * not exist, or that goes away meanwhile, holds nothing more.
 */
export type FolderReader<Entry> = (
  folder: string,
  after: EntryKey,
) => AsyncIterable<readonly [key: EntryKey, entry: Entry]>;

/** One page of a tree: its keys are relative to the folder that was listed. */
export type TreePage<Entry> = {
  readonly entries: readonly (readonly [key: EntryKey, entry: Entry])[];
  readonly nextCursor?: string;
};

/** Whatever lies deeper has a path that no caller can name. */
const MAX_DEPTH = 1024;

/**
 * One page of a folder, or of all files below it, for backends that list one folder at a time: in order of the UTF-8
 * bytes of the full paths, as object stores page. No folder is opened that no path can name: what a cursor holds is its
 * sender's, and what lies below such a folder is never shown.
 *
 * @throws ConnectorError `invalid_argument` for a cursor that no page answered.
 */
export async function treePage<Entry>(
  read: FolderReader<Entry>,
  path: string,
  { recursive, limit, cursor }: ClientListOptions,
): Promise<TreePage<Entry>> {
  const after = cursor === undefined ? '' : keyInCursor(cursor);
  const entries: (readonly [EntryKey, Entry])[] = [];
  for await (const entry of recursive ? filesBelow(read, path, after, 0) : read(path, after)) {
    const last = entries.at(-1);
    if (entries.length === limit && last !== undefined) return { entries, nextCursor: cursorAfter(last[0]) };
    entries.push(entry);
  }
  return { entries };
}

async function* filesBelow<Entry>(
  read: FolderReader<Entry>,
  path: string,
  after: string,
  depth: number,
): AsyncGenerator<readonly [EntryKey, Entry]> {
  if (depth > MAX_DEPTH) return;
  const below = async function* (folder: string, rest: string): AsyncGenerator<readonly [EntryKey, Entry]> {
    if (pathProblem(folder) !== undefined) return;
    for await (const [key, entry] of filesBelow(read, joinedPath(path, folder), rest, depth + 1))
      yield [`${folder}/${key}`, entry];
  };
  const cut = after.indexOf('/');
  if (cut >= 0 && cut < after.length - 1) yield* below(after.slice(0, cut), after.slice(cut + 1));
  const from = cut >= 0 ? after.slice(0, cut + 1) : after;
  for await (const [key, entry] of read(path, from)) {
    if (key.endsWith('/')) yield* below(key.slice(0, -1), '');
    else yield [key, entry];
  }
}

/** A {@link FolderReader}'s answer for a folder that is read as a whole. */
export function inKeyOrder<Entry>(
  entries: readonly (readonly [key: EntryKey, entry: Entry])[],
  after: EntryKey,
): readonly (readonly [key: EntryKey, entry: Entry])[] {
  return entries.filter(([key]) => byteOrder(key, after) > 0).sort(([a], [b]) => byteOrder(a, b));
}

/** `folder/name`; the root is empty. */
export function joinedPath(folder: string, name: string): string {
  return folder === '' || name === '' ? folder + name : `${folder}/${name}`;
}

/** The last segment of a path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** A cursor that says after which path the next page begins. */
export function cursorAfter(path: string): string {
  return Buffer.from(path).toString('base64url');
}

/**
 * The path that {@link cursorAfter} put into a cursor.
 *
 * @throws ConnectorError `invalid_argument` for what it did not make.
 */
export function pathInCursor(cursor: string): string {
  const path = Buffer.from(cursor, 'base64url').toString();
  if (path === '' || cursorAfter(path) !== cursor) throw notACursor();
  return path;
}

/** The last key of the page before: the names in it may be any that a server has, but no way to elsewhere. */
function keyInCursor(cursor: string): string {
  const key = pathInCursor(cursor);
  const names = key.replace(/\/$/, '').split('/');
  if (names.some((name) => ['', '.', '..'].includes(name) || name.includes('\0'))) throw notACursor();
  return key;
}

function notACursor(): ConnectorError {
  return invalidField('cursor', 'is the nextCursor of an earlier page');
}
