import { invalidField } from '../../../driver.ts';

/**
 * The ids of a collection in order, for pages that each begin after an id.
 *
 * Chroma pages by offset alone, which skips records when others are deleted meanwhile. So a listing reads all ids at
 * its first page, and keeps them while it goes on; another client that is handed its cursor reads them anew. As every
 * page begins after an id, it does not matter which of the two a page is cut from.
 */
export class Listing {
  #ids: readonly string[] | undefined;

  /** Up to `limit` ids after the given one, and whether there are more. */
  async page(
    { after, limit }: { readonly after: string | undefined; readonly limit: number },
    readAll: () => Promise<readonly string[]>,
  ): Promise<{ readonly ids: readonly string[]; readonly isLast: boolean }> {
    if (after === undefined || this.#ids === undefined) this.#ids = (await readAll()).toSorted(byCodeUnit);
    const all = this.#ids;
    const from = after === undefined ? 0 : firstAfter(all, after);
    const isLast = from + limit >= all.length;
    // A listing that is read to its end leaves nothing behind.
    if (isLast) this.#ids = undefined;
    return { ids: all.slice(from, from + limit), isLast };
  }
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function firstAfter(ids: readonly string[], id: string): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ids[middle] ?? '') <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}

const PREFIX = 'after.';

export function cursorAfter(id: string): string {
  return PREFIX + Buffer.from(id).toString('base64url');
}

/** @throws ConnectorError `invalid_argument` for a cursor that {@link cursorAfter} did not make. */
export function idInCursor(cursor: string): string {
  const id = Buffer.from(cursor.slice(PREFIX.length), 'base64url').toString();
  if (id === '' || cursorAfter(id) !== cursor)
    throw invalidField('cursor', 'is what the page before answered');
  return id;
}
