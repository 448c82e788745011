import { joinedPath } from '../../../driver.ts';
import { namesIn, type Reading } from './entries.ts';
import { statusOf } from './errors.ts';
import { isAbandoned, isTemporary } from './temporary.ts';

/** Entries looked at in one sweep: a larger tree is swept as far as this, and where its folders are listed. */
const MAX_ENTRIES = 20_000;

/** Looks for what writes that were cut off by the end of their process left behind, folder by folder. */
export async function sweep({ exchange, session, onAbandoned }: Reading): Promise<void> {
  const folders = [''];
  let seen = 0;
  for (let path = folders.shift(); path !== undefined; path = folders.shift()) {
    try {
      for await (const { filename, attrs } of namesIn(exchange, session.at(path))) {
        if (++seen > MAX_ENTRIES) return;
        const below = joinedPath(path, filename);
        // A link is neither: a sweep never leaves the root.
        if (attrs.isDirectory()) folders.push(below);
        else if (attrs.isFile() && isTemporary(filename) && isAbandoned(filename, attrs.mtime))
          onAbandoned(below);
      }
    } catch (error) {
      // Folders come and go while it runs, and one that is closed to us holds nothing that we wrote.
      if (statusOf(error) === undefined) throw error;
    }
  }
}
