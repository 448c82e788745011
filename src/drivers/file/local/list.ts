import { lstat } from 'node:fs/promises';
import { type ClientListOptions, type FileInfo, type FilePage, invalidField } from '../../../driver.ts';
import type { Entries, EntryKey } from './entries.ts';
import { fileInfo, folderInfo } from './entry.ts';
import { fileError, isMissing } from './errors.ts';
import type { Root } from './root.ts';

/** Names of one folder that are looked up one after another, and such batches at a time: enough for the thread pool. */
const BATCH_KEYS = 64;
const BATCHES_AT_ONCE = 8;

/** Whatever lies deeper has a path that no caller can name. */
const MAX_DEPTH = 1024;

/** One page of a folder, or of all that lies below it, in order of the UTF-8 bytes of the full paths. */
export async function listPage(
  { root, entries }: { readonly root: Root; readonly entries: Entries },
  path: string,
  { recursive, limit, cursor }: ClientListOptions,
  signal: AbortSignal,
): Promise<FilePage> {
  const after = cursor === undefined ? '' : decodeCursor(cursor);
  const keys: EntryKey[] = [];
  let hasMore = false;
  try {
    const all = recursive ? filesBelow(entries, path, after, 0, signal) : entries.after(path, after, signal);
    for await (const key of all) {
      hasMore = keys.length === limit;
      if (hasMore) break;
      keys.push(key);
    }
  } catch (error) {
    if (!isMissing(error)) throw fileError(error);
  }
  const last = keys.at(-1);
  const files = await factsOf(root, path, keys);
  return hasMore && last !== undefined ? { files, nextCursor: encodeCursor(last) } : { files };
}

/** The files of a tree after `after`, relative to `path`. A folder that goes away meanwhile holds nothing more. */
async function* filesBelow(
  entries: Entries,
  path: string,
  after: string,
  depth: number,
  signal: AbortSignal,
): AsyncGenerator<string> {
  if (depth > MAX_DEPTH) return;
  const below = async function* (folder: string, rest: string): AsyncGenerator<string> {
    try {
      for await (const file of filesBelow(entries, joined(path, folder), rest, depth + 1, signal)) {
        yield `${folder}/${file}`;
      }
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  };
  const cut = after.indexOf('/');
  if (cut >= 0 && cut < after.length - 1) yield* below(after.slice(0, cut), after.slice(cut + 1));
  const from = cut >= 0 ? after.slice(0, cut + 1) : after;
  for await (const key of entries.after(path, from, signal)) {
    if (key.endsWith('/')) yield* below(key.slice(0, -1), '');
    else yield key;
  }
}

/** What is known of each; one that is gone, or no longer what it was, is left out. */
async function factsOf(root: Root, path: string, keys: readonly EntryKey[]): Promise<readonly FileInfo[]> {
  const batches = batchesOf(path, keys);
  const found: (readonly FileInfo[])[] = [];
  let next = 0;
  const work = async () => {
    for (let i = next++; i < batches.length; i = next++) {
      const batch = batches[i];
      if (batch !== undefined) found[i] = await factsOfBatch(root, batch);
    }
  };
  await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, work));
  return found.flat();
}

type Batch = { readonly parent: string; readonly keys: EntryKey[] };

function batchesOf(path: string, keys: readonly EntryKey[]): readonly Batch[] {
  const batches: Batch[] = [];
  for (const key of keys) {
    const cut = key.lastIndexOf('/', key.length - 2);
    const parent = joined(path, key.slice(0, Math.max(cut, 0)));
    const batch = batches.at(-1);
    const name = key.slice(cut + 1);
    if (batch?.parent === parent && batch.keys.length < BATCH_KEYS) batch.keys.push(name);
    else batches.push({ parent, keys: [name] });
  }
  return batches;
}

async function factsOfBatch(root: Root, { parent, keys }: Batch): Promise<readonly FileInfo[]> {
  const found: FileInfo[] = [];
  try {
    await root.use(parent, {}, async (folder) => {
      for (const key of keys) {
        const isFolder = key.endsWith('/');
        const name = isFolder ? key.slice(0, -1) : key;
        const stats = await lstat(folder.at(name), { bigint: true }).catch(undefinedIfMissing);
        if (isFolder && stats?.isDirectory()) found.push(folderInfo(joined(parent, name), stats));
        if (!isFolder && stats?.isFile()) found.push(fileInfo(joined(parent, name), stats));
      }
    });
  } catch (error) {
    if (!isMissing(error)) throw fileError(error);
  }
  return found;
}

function undefinedIfMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

function joined(path: string, name: string): string {
  return path === '' || name === '' ? path + name : `${path}/${name}`;
}

function encodeCursor(key: EntryKey): string {
  return Buffer.from(key).toString('base64url');
}

/** @throws ConnectorError `invalid_argument`. What it holds is compared with names and never opened. */
function decodeCursor(cursor: string): EntryKey {
  const key = Buffer.from(cursor, 'base64url').toString();
  if (key === '' || encodeCursor(key) !== cursor) {
    throw invalidField('cursor', 'is the nextCursor of an earlier page');
  }
  return key;
}
