import type { BigIntStats } from 'node:fs';
import { nameOf, type FileInfo, invalidField } from '../../../driver.ts';
import { isTemporary } from './temporary.ts';

/**
 * The folder and the name that a path ends in.
 *
 * @throws ConnectorError `invalid_argument` for a name that is kept for unfinished writes.
 */
export function folderAndName(path: string): readonly [folder: string, name: string] {
  const cut = path.lastIndexOf('/');
  const name = path.slice(cut + 1);
  if (isTemporary(name)) throw invalidField('path', 'has no name that is kept for unfinished writes');
  return [path.slice(0, Math.max(cut, 0)), name];
}

export function fileInfo(path: string, stats: BigIntStats): FileInfo {
  return {
    name: nameOf(path),
    path,
    size: Number(stats.size),
    lastModified: stats.mtime,
    etag: etagOf(stats),
    isDirectory: false,
  };
}

export function folderInfo(path: string, stats: BigIntStats): FileInfo {
  return {
    name: nameOf(path),
    path,
    size: 0,
    lastModified: stats.mtime,
    isDirectory: true,
  };
}

/**
 * Differs between any two contents of a file: the clock of most file systems moves in steps of some milliseconds, and
 * the inode tells apart two writes within one step, because each write makes a new file.
 */
export function etagOf({ size, mtimeNs, ino }: BigIntStats): string {
  return `${size.toString(36)}-${mtimeNs.toString(36)}-${ino.toString(36)}`;
}
