import type { DatabaseSync } from 'node:sqlite';
import { type ClientListOptions, type FileInfo, type FilePage, invalidField } from '../../src/driver.ts';
import { fileInfo, folderInfo, readRow, rowSql } from './rows.ts';

/** One page in order of the paths' UTF-8 bytes, which is how SQLite compares text. */
export function listPage(
  db: DatabaseSync,
  path: string,
  { recursive, limit, cursor }: ClientListOptions,
): FilePage {
  const prefix = path === '' ? '' : `${path}/`;
  // `0` is the character after `/`: all that lies below a folder is between the two. No path begins with U+10FFFF.
  const end = path === '' ? '\u{10ffff}' : `${path}0`;
  const next = db.prepare(`${rowSql} WHERE path > ? AND path < ? ORDER BY path LIMIT 1`);
  const files: FileInfo[] = [];
  let after = cursor === undefined ? prefix : decodeCursor(cursor, prefix);
  for (;;) {
    const found = next.get(after, end);
    if (found === undefined) return { files };
    if (files.length === limit) return { files, nextCursor: Buffer.from(after).toString('base64url') };
    const row = readRow(found);
    const slash = row.path.indexOf('/', prefix.length);
    if (recursive || slash < 0) {
      files.push(fileInfo(row));
      after = row.path;
    } else {
      const folder = row.path.slice(0, slash);
      files.push(folderInfo(folder, row));
      // The last that can lie below the folder: the next row is the one after all of its files.
      after = `${folder}/\u{10ffff}`;
    }
  }
}

function decodeCursor(cursor: string, prefix: string): string {
  const after = Buffer.from(cursor, 'base64url').toString();
  if (Buffer.from(after).toString('base64url') !== cursor || !after.startsWith(prefix) || after === '') {
    throw invalidField('cursor', 'is the nextCursor of an earlier page');
  }
  return after;
}
