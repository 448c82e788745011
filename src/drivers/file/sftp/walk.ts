import { fileInTheWay, isMissing, linkRefused, statusOf } from './errors.ts';
import type { Attributes, Exchange } from './exchange.ts';
import type { Session } from './session.ts';

/** What lies on the way to a path: no part of it is a link. */
export type Walked = {
  /** The folders of the path, from the root's own children on, that are not there; they would have to be made. */
  readonly missing: readonly string[];
  /** True where a file has the name of a folder, so that nothing can lie there. */
  readonly isBlocked: boolean;
  /** What lies at the path itself, which may be a link; undefined where nothing does. */
  readonly last: Attributes | undefined;
};

/**
 * Looks at every part of a path below the root at once, without following any of them.
 *
 * @throws ConnectorError `invalid_argument` where a folder of the path is a link.
 */
export async function walk(exchange: Exchange, session: Session, path: string): Promise<Walked> {
  const parts = prefixesOf(path);
  const paths = parts.map((part) => session.at(part));
  const looks = await Promise.allSettled(paths.map((each) => exchange.lstat(each)));
  for (const [i, look] of looks.entries()) {
    const isLast = i === parts.length - 1;
    if (look.status === 'rejected') {
      if (!isMissing(look.reason)) throw look.reason;
      return { missing: parts.slice(i, -1), isBlocked: false, last: undefined };
    }
    if (isLast) return { missing: [], isBlocked: false, last: look.value };
    if (look.value.isSymbolicLink()) throw linkRefused();
    // What the server says of paths below a file differs; what it says of the file does not.
    if (!look.value.isDirectory()) return { missing: [], isBlocked: true, last: undefined };
  }
  return { missing: [], isBlocked: false, last: undefined };
}

/** The attributes of a folder that is no link and lies behind none; undefined where there is no such folder. */
export async function walkToFolder(
  exchange: Exchange,
  session: Session,
  path: string,
): Promise<Attributes | undefined> {
  if (path === '') return exchange.lstat(session.root);
  const { last } = await walk(exchange, session, path);
  if (last?.isSymbolicLink()) throw linkRefused();
  return last?.isDirectory() ? last : undefined;
}

/** Makes the folders that a walk found missing, durable in their parents where the server can do that. */
export async function makeFolders(
  exchange: Exchange,
  session: Session,
  { missing, isBlocked }: Walked,
): Promise<void> {
  if (isBlocked) throw fileInTheWay();
  for (const folder of missing) {
    try {
      await exchange.mkdir(session.at(folder));
    } catch (error) {
      if (statusOf(error) === undefined) throw error;
      // Somebody else made it meanwhile, or what has its name is no folder.
      const there = await exchange.lstat(session.at(folder)).catch(() => undefined);
      if (there === undefined) throw error;
      if (there.isSymbolicLink()) throw linkRefused();
      if (!there.isDirectory()) throw fileInTheWay();
    }
  }
  await Promise.all(missing.map((folder) => syncFolder(exchange, session, parentOf(folder))));
}

/** Makes the names in a folder durable, where the server can do that. */
export async function syncFolder(exchange: Exchange, session: Session, folder: string): Promise<void> {
  if (!session.features.folderSync) return;
  const handle = await exchange.open(session.at(folder), 'r');
  try {
    await exchange.fsync(handle);
  } finally {
    exchange.release(handle);
  }
}

export function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}

function prefixesOf(path: string): readonly string[] {
  const segments = path.split('/');
  return segments.map((_, i) => segments.slice(0, i + 1).join('/'));
}
