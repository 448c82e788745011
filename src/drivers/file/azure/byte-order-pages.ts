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
 * In both orders the names with one beginning lie together, and names without a surrogate lie in the right order. So
 * only names with one are held back, until the last of the names that share what is before it has been seen; no more
 * of them are kept than the page has room for.
 */
export async function entriesAfter<Entry>(
  read: SegmentReader<Entry>,
  after: EntryKey,
  limit: number,
): Promise<readonly Keyed<Entry>[]> {
  const page: Keyed<Entry>[] = [];
  const held: { readonly beginning: string; entries: Keyed<Entry>[] }[] = [];
  const release = (key?: EntryKey): void => {
    for (let last = held.at(-1); last !== undefined; last = held.at(-1)) {
      if (key?.startsWith(last.beginning)) return;
      page.push(...sorted(last.entries));
      held.pop();
    }
  };
  const from = startOf(after);
  let next: string | undefined;
  do {
    const segment = await read(from, next);
    for (const entry of sorted(segment.entries)) {
      const [key] = entry;
      if (byteOrder(key, after) <= 0) continue;
      release(key);
      if (page.length > limit) return page.slice(0, limit + 1);
      const beginning = beforeSurrogate(key, after);
      if (beginning === undefined) page.push(entry);
      else {
        const last = held.at(-1);
        if (last?.beginning !== beginning) held.push({ beginning, entries: [entry] });
        else {
          last.entries.push(entry);
          if (last.entries.length > 2 * limit + 2) last.entries = sorted(last.entries).slice(0, limit + 1);
        }
      }
    }
    next = segment.next;
  } while (next !== undefined && page.length <= limit);
  if (page.length <= limit) release();
  return page.slice(0, limit + 1);
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

/** What is before the first surrogate of a key; those that `after` has in the same place hold nothing back any more. */
function beforeSurrogate(key: EntryKey, after: EntryKey): string | undefined {
  let shared = 0;
  while (shared < after.length && key.charCodeAt(shared) === after.charCodeAt(shared)) shared += 1;
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    if (unit < 0xd800 || unit > 0xdbff) continue;
    if (i > shared || !isSurrogate(after.charCodeAt(i))) return key.slice(0, i);
  }
  return undefined;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function sorted<Entry>(entries: readonly Keyed<Entry>[]): Keyed<Entry>[] {
  return entries.toSorted(([a], [b]) => byteOrder(a, b));
}
