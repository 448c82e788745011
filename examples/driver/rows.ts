import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import type { FileInfo } from '../../src/driver.ts';

/** All but the content. */
export const rowSql =
  'SELECT path, version, content_type AS contentType, modified_ms AS modifiedMs, length(body) AS size FROM file';

const fileRow = z.object({
  path: z.string(),
  version: z.int(),
  contentType: z.string().nullable(),
  modifiedMs: z.int(),
  size: z.int(),
});
export type FileRow = z.output<typeof fileRow>;

/** A row as the database gave it, checked: what comes from outside is not trusted to be what was put there. */
export function readRow(row: unknown): FileRow {
  return fileRow.parse(row);
}

export function fileInfo({ path, version, contentType, modifiedMs, size }: FileRow): FileInfo {
  return {
    name: path.slice(path.lastIndexOf('/') + 1),
    path,
    size,
    lastModified: new Date(modifiedMs),
    etag: `"${version}"`,
    ...(contentType !== null && { contentType }),
    isDirectory: false,
  };
}

/** A folder exists while a file lies below it; it is shown with the time of the first of them. */
export function folderInfo(path: string, { modifiedMs }: FileRow): FileInfo {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return { name, path, size: 0, lastModified: new Date(modifiedMs), isDirectory: true };
}

/** Whether a write of `path` is refused: a folder has the name, a file has the name of a folder in it, or the file must not exist. */
export function isTaken(db: DatabaseSync, path: string, ifNoneMatch: '*' | undefined): boolean {
  const folders = path.split('/').slice(0, -1);
  const files = folders.map((_, depth) => folders.slice(0, depth + 1).join('/'));
  if (ifNoneMatch === '*') files.push(path);
  const exists = db.prepare('SELECT 1 FROM file WHERE path = ?');
  return isFolder(db, path) || files.some((file) => exists.get(file) !== undefined);
}

function isFolder(db: DatabaseSync, path: string): boolean {
  return (
    db.prepare('SELECT 1 FROM file WHERE path > ? AND path < ? LIMIT 1').get(`${path}/`, `${path}0`) !==
    undefined
  );
}
