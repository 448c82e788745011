import { lstat } from 'node:fs/promises';
import {
  joinedPath,
  treePage,
  type ClientListOptions,
  type EntryKey,
  type FileInfo,
  type FilePage,
} from '../../../driver.ts';
import type { Entries } from './entries.ts';
import { fileInfo, folderInfo } from './entry.ts';
import { fileError, isMissing } from './errors.ts';
import type { Root } from './root.ts';

/** Names of one folder that are looked up one after another, and such batches at a time: enough for the thread pool. */
const BATCH_KEYS = 64;
const BATCHES_AT_ONCE = 8;

/** One page of a folder, or of all that lies below it, in order of the UTF-8 bytes of the full paths. */
export async function listPage(
  { root, entries }: { readonly root: Root; readonly entries: Entries },
  path: string,
  options: ClientListOptions,
  signal: AbortSignal,
): Promise<FilePage> {
  const read = async function* (folder: string, after: EntryKey): AsyncGenerator<readonly [EntryKey, null]> {
    try {
      for await (const key of entries.after(folder, after, signal)) yield [key, null];
    } catch (error) {
      if (!isMissing(error)) throw fileError(error);
    }
  };
  const page = await treePage(read, path, options);
  const files = await factsOf(
    root,
    path,
    page.entries.map(([key]) => key),
  );
  return { ...(page.nextCursor !== undefined && { nextCursor: page.nextCursor }), files };
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
    const parent = joinedPath(path, key.slice(0, Math.max(cut, 0)));
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
        if (isFolder && stats?.isDirectory()) found.push(folderInfo(joinedPath(parent, name), stats));
        if (!isFolder && stats?.isFile()) found.push(fileInfo(joinedPath(parent, name), stats));
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
