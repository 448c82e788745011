import {
  nameOf,
  byteOrder,
  cursorAfter,
  pathInCursor,
  type ClientListOptions,
  type FileInfo,
  type FilePage,
} from '../../../driver.ts';
import type { Contents, StoredFile } from './contents.ts';

export function fileInfo(path: string, file: StoredFile): FileInfo {
  const { size, lastModified, etag, contentType, metadata } = file;
  return {
    name: nameOf(path),
    path,
    size,
    lastModified,
    etag,
    ...(contentType !== undefined && { contentType }),
    ...(metadata !== undefined && { metadata }),
    isDirectory: false,
  };
}

/** One page, found by halving: nothing before it is looked at. */
export function listPage(
  contents: Contents,
  folder: string,
  { recursive, limit, cursor }: ClientListOptions,
): FilePage {
  const { paths } = contents;
  const prefix = folder === '' ? '' : `${folder}/`;
  const files: FileInfo[] = [];
  let last = cursor === undefined ? undefined : pathInCursor(cursor);
  const next = () => {
    if (last === undefined || byteOrder(last, prefix) < 0) return paths.after(prefix);
    return last.endsWith('/') ? paths.afterAll(last) : paths.after(last);
  };
  for (let path = next(); path?.startsWith(prefix); path = next()) {
    if (files.length === limit && last !== undefined) return { files, nextCursor: cursorAfter(last) };
    const slash = recursive ? -1 : path.indexOf('/', prefix.length);
    last = slash < 0 ? path : path.slice(0, slash + 1);
    const file = contents.find(path);
    if (slash >= 0) files.push(folderInfo(path.slice(0, slash), contents.startedAt));
    else if (file !== undefined) files.push(fileInfo(path, file));
  }
  return { files };
}

/** There are folders as far as files lie in them. */
function folderInfo(path: string, lastModified: Date): FileInfo {
  return { name: nameOf(path), path, size: 0, lastModified, isDirectory: true };
}
