import {
  nameOf,
  inKeyOrder,
  treePage,
  type ClientListOptions,
  type EntryKey,
  type FilePage,
} from '../../../driver.ts';
import { children, infoOf, type Entry, type Server } from './resources.ts';

import { isTemporary } from './temporary.ts';

/** Entries of one folder that are kept while it is read: what one page can need, however many there are. */
const KEPT_ENTRIES = 1_024;

/** One page of a folder, or of all that lies below it, in order of the UTF-8 bytes of the full paths. */
export async function listPage(
  server: Server,
  path: string,
  options: ClientListOptions,
  signal: AbortSignal,
): Promise<FilePage> {
  const page = await treePage((folder, after) => entriesAfter(server, folder, after, signal), path, options);
  return {
    ...(page.nextCursor !== undefined && { nextCursor: page.nextCursor }),
    files: page.entries.map(([, entry]) => infoOf(entry)),
  };
}

type Keyed = readonly [key: EntryKey, entry: Entry];

/** A server tells a folder as a whole, in no order: it is asked again where more is wanted than was kept. */
async function* entriesAfter(
  server: Server,
  folder: string,
  after: EntryKey,
  signal: AbortSignal,
): AsyncGenerator<Keyed> {
  for (let from = after; ;) {
    let kept: Keyed[] = [];
    let isWhole = true;
    const cut = () => {
      const ordered = inKeyOrder(kept, from);
      isWhole &&= ordered.length <= KEPT_ENTRIES;
      kept = ordered.slice(0, KEPT_ENTRIES);
    };
    for await (const entry of children(server, folder, signal)) {
      const name = nameOf(entry.path);
      if (isTemporary(name)) continue;
      kept.push([entry.isCollection ? `${name}/` : name, entry]);
      if (kept.length >= 4 * KEPT_ENTRIES) cut();
    }
    cut();
    yield* kept;
    const last = kept.at(-1);
    if (isWhole || last === undefined) return;
    [from] = last;
  }
}
