import {
  type DistanceMetric,
  type FilterNode,
  type Log,
  type Note,
  parseFilter,
  type Progress,
} from '../../../driver.ts';
import type { Arena } from './arena.ts';
import { Columns } from './columns.ts';
import { Database, type NewRow, type Page, type Row } from './database.ts';
import { ExitGate } from './exit-gate.ts';
import { type LoadZvec, loadZvec } from './hnsw.ts';
import { Indexer } from './indexer.ts';
import { rawScore } from './kernel.ts';
import { type IndexedFields, nativeFilter } from './native-filter.ts';
import type { PageRequest } from './protocol.ts';
import { type Candidate, type Mask, nearestOf, ScanSet } from './scan-set.ts';
import { Slots } from './slots.ts';

export type CollectionOptions = {
  readonly folder: string;
  readonly dimension: number;
  readonly metric: DistanceMetric;
  /** Bytes of vectors up to which every search is exact. */
  readonly exactBytes: number;
  readonly indexedFields: IndexedFields;
};

export type CollectionHost = {
  readonly arena: Arena;
  readonly log: Log;
  readonly loadZvec?: LoadZvec;
  readonly gate?: ExitGate;
  progress(progress: Progress): void;
  /** Called after the collection took memory; {@link Collection.evict} of others may follow. */
  grew(collection: Collection): void;
};

/** A row that was found, with how near it is. */
export type Found = { readonly row: Row; readonly rawScore: number };
/** Filters arrive as JSON, the form in which `__proto__` is a key like any other. */
export type Selector =
  { readonly ids: readonly string[] } | { readonly filter: string } | { readonly all: true };

/** Up to this many matches of a filter are scored one by one, rather than looked for among the index's answers. */
const FEW = 2_000;
const MOST_ASKED = 20_000;

/**
 * One collection: the truth in a database, the vectors that no index holds in memory, and the index.
 *
 * Whatever was written after the index's last checkpoint is searched exactly; so a search sees every write at once.
 */
export class Collection {
  readonly #options: CollectionOptions;
  readonly #host: CollectionHost;
  readonly #database: Database;
  readonly #indexer: Indexer;
  readonly #columns: Columns;
  /** Vectors that the index does not hold, or holds in an older version. */
  readonly #tail: ScanSet;
  #tailLoaded = false;
  #slots: Slots;
  #rows: number;
  /** The number of the last change. */
  #change: number;
  /** Rows written and rows removed that the index does not know of, at least. */
  #unindexed = 0;
  #removed = 0;
  #closed = false;

  private constructor(options: CollectionOptions, host: CollectionHost) {
    const { dimension, metric, folder, indexedFields: fields } = options;
    this.#options = options;
    this.#host = host;
    this.#database = new Database(folder, dimension, metric);
    const { count, maxSlot, change } = this.#database.summary();
    this.#rows = count;
    this.#change = change;
    this.#slots = Slots.of(count, maxSlot, () => this.#database.slots());
    this.#columns = new Columns(this.#database);
    this.#tail = new ScanSet(host.arena, dimension, metric);
    this.#indexer = new Indexer({
      database: this.#database,
      folder,
      shape: { dimension, metric, fields },
      loadZvec: host.loadZvec ?? loadZvec,
      gate: host.gate ?? new ExitGate(),
      log: host.log,
      progress: (progress) => host.progress(progress),
      changed: () => this.#indexChanged(),
    });
  }

  /** @throws ConnectorError as {@link Database} does. */
  static async open(options: CollectionOptions, host: CollectionHost): Promise<Collection> {
    const collection = new Collection(options, host);
    try {
      await collection.#indexer.open();
      collection.#indexChanged();
      return collection;
    } catch (error) {
      await collection.close();
      throw error;
    }
  }

  /** Bytes of memory that {@link evict} would free. */
  get bytes(): number {
    return this.#tail.bytes + this.#columns.bytes;
  }

  /** Gives back what can be read from disk again. */
  evict(): void {
    this.#tail.clear();
    this.#columns.clear();
    this.#tailLoaded = false;
  }

  /** Gives back what SQLite has cached of the file. */
  cool(): void {
    this.#database.shrink();
  }

  /** Writes all rows in one transaction, durably; of equal ids the last. */
  upsert(rows: readonly NewRow[]): void {
    const last = [...new Map(rows.map((row) => [row.id, row])).values()];
    const draft = this.#slots.draft();
    let change = this.#change;
    const written = this.#database.transaction(() => {
      const slots = last.map((row) => {
        const slot = this.#database.slotOf(row.id) ?? draft.take();
        this.#database.write(slot, ++change, row);
        return slot;
      });
      this.#database.setState({ change, count: this.#rows + draft.taken });
      return slots;
    });
    draft.commit();
    this.#rows += draft.taken;
    this.#change = change;
    this.#unindexed += written.length;
    last.forEach((row, i) => this.#remember(written[i] ?? 0, row));
    this.#host.grew(this);
    this.#considerIndex();
  }

  /** How many rows there were. */
  delete(selector: Selector): number {
    if ('all' in selector) return this.#deleteAll();
    const slots =
      'ids' in selector
        ? [...new Set(selector.ids)].flatMap((id) => this.#database.slotOf(id) ?? [])
        : slotsOf(this.#columns.mask(parse(selector.filter)));
    if (slots.length === 0) return 0;
    let change = this.#change;
    this.#database.transaction(() => {
      for (const slot of slots) this.#database.remove(slot, ++change);
      this.#database.setState({ change, count: this.#rows - slots.length });
    });
    this.#change = change;
    this.#rows -= slots.length;
    this.#removed += slots.length;
    for (const slot of slots) {
      this.#slots.free(slot);
      this.#tail.delete(slot);
      this.#columns.delete(slot);
    }
    this.#considerIndex();
    return slots.length;
  }

  #deleteAll(): number {
    const deleted = this.#rows;
    this.#database.transaction(() => {
      this.#database.removeAll();
      this.#database.setState({ change: this.#change, count: 0 });
    });
    this.#rows = 0;
    this.#slots = Slots.none();
    this.evict();
    this.#indexer.drop();
    this.#indexChanged();
    return deleted;
  }

  /** The rows that exist, in the order of the ids. */
  fetch(ids: readonly string[]): readonly Row[] {
    return ids.flatMap((id) => {
      const slot = this.#database.slotOf(id);
      return slot === undefined ? [] : (this.#database.row(slot) ?? []);
    });
  }

  count(filter: string | undefined): number {
    const count = filter === undefined ? this.#rows : this.#columns.mask(parse(filter)).count;
    this.#host.grew(this);
    return count;
  }

  /** Rows in the order of their slots; `next` is null after the last. */
  list(page: PageRequest): Page {
    return this.#database.page(page);
  }

  /** The rows nearest to the query, best first, ties by id. */
  search(query: Float32Array, topK: number, filter: string | undefined): readonly Found[] {
    const node = filter === undefined ? undefined : parse(filter);
    const found = this.#ranked(this.#nearest(query, topK, node), topK);
    this.#host.grew(this);
    return found.flatMap(({ slot, rawScore: score }) => {
      const row = this.#database.row(slot);
      return row === undefined ? [] : { row, rawScore: score };
    });
  }

  check(): readonly Note[] {
    this.#database.ping();
    const { problem, working } = this.#indexer;
    if (working)
      return [
        { level: 'info', message: `${this.#unindexed} vectors are not indexed yet, and searched exactly` },
      ];
    if (problem === undefined || !this.#wantsIndex()) return [];
    return [{ level: 'warn', message: `every search is exact, and slower for it: ${problem}` }];
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#indexer.close();
    this.evict();
    this.#database.close();
  }

  #nearest(query: Float32Array, count: number, node: FilterNode | undefined): readonly Candidate[] {
    // No memory left for the vectors: read them as they are needed.
    if (!this.#loadTail()) return this.#fromDisk(query, count, node && this.#columns.mask(node));
    const tail = this.#tail;
    if (this.#indexer.serving === undefined || this.#rows === tail.size)
      return tail.nearest(query, count, node && this.#columns.mask(node));
    const indexed = this.#indexed(query, count, node);
    if (tail.size === 0) return indexed;
    const near = tail.nearest(query, count, node && this.#columns.mask(node, tail.slots));
    return nearestOf([...near, ...indexed], count, this.#options.metric);
  }

  /** The nearest of the rows that the index holds in their present version. */
  #indexed(query: Float32Array, count: number, node: FilterNode | undefined): readonly Candidate[] {
    const native = node && nativeFilter(node, this.#options.indexedFields);
    const mask = node && native === undefined ? this.#columns.mask(node) : undefined;
    if (mask && mask.count <= FEW) return this.#fromDisk(query, count, mask, true);
    const held = this.#rows - this.#tail.size;
    const share = mask ? this.#rows / mask.count : 1;
    // The index ranks in float32: a few more than wanted, so that rounding does not cost the last one.
    for (let ask = Math.ceil((count + 10) * share * 1.2); ask <= MOST_ASKED; ask *= 4) {
      const slots = this.#indexer.serving?.index.search(query, Math.min(ask, held + 10), native) ?? [];
      const found = this.#present(query, slots, mask, count + 10);
      const cut = nearestOf(found, count, this.#options.metric);
      // A tie with the last one known may go on among those not asked for.
      if (found.length > count && cut.length < found.length) return cut;
      if (slots.length < ask) {
        // All that the index could find. Filtered, it is asked whether there are more; then too it may have missed some.
        const exist = node ? this.#countHeld(mask ?? this.#columns.mask(node)) : held;
        if (found.length >= Math.min(count, exist)) return cut;
        break;
      }
    }
    return this.#fromDisk(query, count, mask ?? (node && this.#columns.mask(node)), true);
  }

  #present(
    query: Float32Array,
    slots: readonly number[],
    mask: Mask | undefined,
    enough: number,
  ): readonly Candidate[] {
    const found: Candidate[] = [];
    for (const slot of slots) {
      if (this.#tail.has(slot) || (mask && mask.slots[slot] !== 1)) continue;
      const candidate = this.#score(query, slot);
      if (candidate) found.push(candidate);
      if (found.length === enough) break;
    }
    return found;
  }

  #countHeld({ slots, count }: Mask): number {
    return count - this.#tail.slots.filter((slot) => slots[slot] === 1).length;
  }

  #score(query: Float32Array, slot: number): Candidate | undefined {
    const values = this.#database.vector(slot);
    return values && { slot, rawScore: rawScore(this.#options.metric, query, values) };
  }

  /** Exactly, without memory for the vectors; of the rows that the mask allows, or only those not in the tail. */
  #fromDisk(
    query: Float32Array,
    count: number,
    mask: Mask | undefined,
    withoutTail = false,
  ): readonly Candidate[] {
    const { metric } = this.#options;
    const wanted = (slot: number): boolean =>
      !(withoutTail && this.#tail.has(slot)) && (mask === undefined || mask.slots[slot] === 1);
    if (mask && mask.count <= FEW) {
      const found = slotsOf(mask).flatMap((slot) => (wanted(slot) ? (this.#score(query, slot) ?? []) : []));
      return nearestOf(found, count, metric);
    }
    let found: Candidate[] = [];
    for (const { slot, values } of this.#database.vectorsSince(0)) {
      if (!wanted(slot)) continue;
      found.push({ slot, rawScore: rawScore(metric, query, values) });
      if (found.length > 4 * count + 10_000) found = [...nearestOf(found, count, metric)];
    }
    return nearestOf(found, count, metric);
  }

  /** In order and cut to `count`; ids are read only of those that tie with the last. */
  #ranked(candidates: readonly Candidate[], count: number): readonly Candidate[] {
    const sign = this.#options.metric === 'euclidean' ? 1 : -1;
    const ids = new Map<number, string>();
    const id = ({ slot }: Candidate): string => {
      const known = ids.get(slot) ?? this.#database.idOf(slot) ?? '';
      ids.set(slot, known);
      return known;
    };
    return candidates
      .toSorted((a, b) => sign * (a.rawScore - b.rawScore) || (id(a) < id(b) ? -1 : id(a) > id(b) ? 1 : 0))
      .slice(0, count);
  }

  /** False when the vectors that the index lacks do not fit into memory. */
  #loadTail(): boolean {
    if (this.#tailLoaded) return true;
    for (const { slot, values } of this.#database.vectorsSince(this.#indexer.serving?.change ?? 0)) {
      if (!this.#tail.put(slot, values)) {
        this.#tail.clear();
        return false;
      }
    }
    this.#tailLoaded = true;
    return true;
  }

  #remember(slot: number, { values, metadata }: NewRow): void {
    this.#columns.put(slot, metadata);
    if (this.#tailLoaded && !this.#tail.put(slot, this.#database.floats(values))) {
      this.#tail.clear();
      this.#tailLoaded = false;
    }
  }

  #indexChanged(): void {
    if (this.#closed) return;
    this.#tail.clear();
    this.#tailLoaded = false;
    this.#unindexed = this.#database.countSince(this.#indexer.serving?.change ?? 0);
    this.#removed = this.#database.removed(this.#change).length;
    this.#considerIndex();
  }

  #wantsIndex(): boolean {
    const { dimension, exactBytes } = this.#options;
    return this.#rows * dimension * 4 > exactBytes;
  }

  #considerIndex(): void {
    const { dimension, exactBytes } = this.#options;
    const rowBytes = dimension * 4;
    const { serving } = this.#indexer;
    if (serving === undefined) {
      if (this.#wantsIndex()) this.#indexer.update();
    } else if (this.#rows * rowBytes < exactBytes / 2) {
      this.#indexer.drop();
      this.#indexChanged();
    } else if (this.#unindexed * rowBytes > exactBytes / 8 || this.#removed > 1_000 + this.#rows / 4) {
      this.#indexer.update();
    }
  }
}

function parse(filter: string): FilterNode {
  return parseFilter(JSON.parse(filter));
}

function slotsOf({ slots }: Mask): readonly number[] {
  const found: number[] = [];
  for (let slot = slots.indexOf(1); slot !== -1; slot = slots.indexOf(1, slot + 1)) found.push(slot);
  return found;
}
