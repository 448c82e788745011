import { opendir, unlink } from 'node:fs/promises';
import { errnoOf, isMissing } from './errors.ts';
import type { Root } from './root.ts';
import { isAbandoned } from './temporary.ts';

/** Entries looked at in one sweep; a larger tree is swept as far as this. */
const MAX_ENTRIES = 1_000_000;

/** Removes what writes that were cut off by the end of their process left behind; the answer is how many. */
export async function sweep(root: Root, signal: AbortSignal): Promise<number> {
  const folders = [''];
  let seen = 0;
  let removed = 0;
  for (let path = folders.pop(); path !== undefined && !signal.aborted; path = folders.pop()) {
    const at = path;
    try {
      await root.use(at, {}, async (folder) => {
        for await (const entry of await opendir(folder.at(''), { bufferSize: 256 })) {
          if (signal.aborted || ++seen > MAX_ENTRIES) return;
          // A link is neither: a sweep never leaves the root.
          if (entry.isDirectory()) folders.push(at === '' ? entry.name : `${at}/${entry.name}`);
          else if (entry.isFile() && isAbandoned(entry.name)) {
            await unlink(folder.at(entry.name));
            removed++;
          }
        }
      });
    } catch (error) {
      // Folders come and go while it runs, and one that is closed to us holds nothing that we wrote.
      if (!isMissing(error) && errnoOf(error) !== 'EACCES') throw error;
    }
  }
  return removed;
}
