import { byteOrder, type EntryKey } from '../../../driver.ts';

/** What the server answers for one request: entries in an order of its own, and the word for the next ones. */
export type Segment<Entry> = {
  readonly entries: readonly (readonly [key: EntryKey, entry: Entry])[];
  readonly next?: string | undefined;
};

/** Asks for entries from a key on (it included), or after a segment. */
export type SegmentReader<Entry> = (from: EntryKey, next: string | undefined) => Promise<Segment<Entry>>;

type Keyed<Entry> = readonly [key: EntryKey, entry: Entry];

// The last character before those on which the two orders differ: they put what begins with a surrogate (beyond
// U+FFFF) and U+E000 to U+FFFF the other way round.
const BEFORE_BOTH = '\ud7ff';

/**
 * Up to `limit` + 1 entries after a key, in order of UTF-8 bytes, from a server that sorts by these or by UTF-16 code
 * units: Azure's documentation says "alphabetical", and Azurite does the latter.
 *
 * The page is the smallest of what has been seen, as soon as nothing that is still to come could be smaller; no more of
 * it is kept than the page has room for.
 */
export async function entriesAfter<Entry>(
  read: SegmentReader<Entry>,
  after: EntryKey,
  limit: number,
): Promise<readonly Keyed<Entry>[]> {
  const from = startOf(after);
  let page: readonly Keyed<Entry>[] = [];
  let reached = '';
  let next: string | undefined;
  do {
    const segment = await read(from, next);
    for (const [key] of segment.entries) if (key > reached) reached = key;
    const fresh = segment.entries.filter(([key]) => byteOrder(key, after) > 0);
    page = [...page, ...fresh].toSorted(([a], [b]) => byteOrder(a, b)).slice(0, limit + 1);
    next = segment.next;
  } while (
    next !== undefined &&
    !(page.length > limit && page.every(([key]) => isSettled(key, reached, after)))
  );
  return page;
}

/**
 * A key from which either order has all entries that UTF-8 puts after `after`. Behind a name with U+E000 to U+FFFF come
 * those with a surrogate in its place, which a server that sorts by UTF-16 puts before it.
 */
function startOf(after: EntryKey): EntryKey {
  const at = after.search(/[\ue000-\uffff]/);
  if (at >= 0) return after.slice(0, at) + BEFORE_BOTH;
  // Past all that a folder holds: the next character after the slash.
  return after.endsWith('/') ? `${after.slice(0, -1)}0` : after;
}

/**
 * Whether a server that sorts by UTF-16 and has come to `reached` has nothing more that UTF-8 puts before `key`: that
 * would be a name with U+E000 to U+FFFF in the place of a surrogate, behind a beginning that all three have. Where
 * `after` has a surrogate in that place as well, such names are before it.
 */
function isSettled(key: EntryKey, reached: EntryKey, after: EntryKey): boolean {
  const shared = sharedLength(key, reached);
  const past = sharedLength(key, after);
  for (let i = 0; i <= shared && i < key.length; i++)
    if (isSurrogate(key.charCodeAt(i)) && !(i <= past && isSurrogate(after.charCodeAt(i)))) return false;
  return true;
}

function sharedLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.charCodeAt(length) === b.charCodeAt(length)) length += 1;
  return length;
}

/** The first of a pair, which is what the two orders are decided by. */
function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
