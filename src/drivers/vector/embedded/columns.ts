import { evaluate, fieldsOf, type FilterNode, matches, valueAt } from '../../../driver.ts';
import type { MetadataRow } from './database.ts';
import type { Mask } from './scan-set.ts';

/** Beyond this much, filters over the collection read its metadata from disk each time. */
const MAX_BYTES = 32 * 2 ** 20;

type Source = { metadata(): Iterable<MetadataRow> };

/**
 * The fields that filters ask about, by slot: read from disk once, when a filter first names them.
 *
 * The filter is evaluated on them by the reference evaluator itself, so that it cannot mean anything else here.
 * (Compiled to SQL it would have to be proven equal; and parsing 20,000 rows of JSON a query is 30 times as slow.)
 */
export class Columns {
  readonly #source: Source;
  readonly #columns = new Map<string, unknown[]>();
  /** 1 at the slots in use; filled with the first column. */
  #live = new Uint8Array(0);
  #bytes = 0;
  #tooLarge = false;

  constructor(source: Source) {
    this.#source = source;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The slots whose metadata matches, of all in use, or of those given. */
  mask(node: FilterNode, among?: Iterable<number>): Mask {
    const fields = fieldsOf(node);
    if (!this.#load(fields)) return this.#fromDisk(node, among);
    let slot = 0;
    const lookup = (field: string): unknown => this.#columns.get(field)?.[slot];
    const slots = new Uint8Array(this.#live.length);
    let count = 0;
    const test = (): void => {
      if (this.#live[slot] !== 1 || !evaluate(node, lookup)) return;
      slots[slot] = 1;
      count += 1;
    };
    if (among) for (slot of among) test();
    else for (slot = 0; slot < slots.length; slot++) test();
    return { slots, count };
  }

  put(slot: number, metadata: string | null): void {
    if (this.#columns.size === 0) return;
    this.#markLive(slot);
    const parsed = metadata === null ? undefined : JSON.parse(metadata);
    for (const [field, column] of this.#columns) {
      const value = compact(valueAt(parsed, field));
      column[slot] = value;
      this.#bytes += cost(value);
    }
    if (this.#bytes > MAX_BYTES) this.clear();
  }

  delete(slot: number): void {
    this.#live[slot] = 0;
  }

  clear(): void {
    this.#columns.clear();
    this.#live = new Uint8Array(0);
    this.#bytes = 0;
    this.#tooLarge = false;
  }

  /** False when the columns would take too much memory. */
  #load(fields: ReadonlySet<string>): boolean {
    // A filter without a field still has to know which slots are in use.
    const wanted = fields.size === 0 && this.#columns.size === 0 ? [''] : [...fields];
    const missing = wanted.filter((field) => !this.#columns.has(field));
    if (missing.length === 0) return true;
    if (this.#tooLarge) return false;
    const known = new Map<string, string>();
    const loaded = missing.map((field) => ({ field, column: new Array<unknown>() }));
    let bytes = this.#bytes;
    for (const { slot, metadata } of this.#source.metadata()) {
      this.#markLive(slot);
      const parsed = metadata === null ? undefined : JSON.parse(metadata);
      for (const { field, column } of loaded) {
        const value = interned(compact(valueAt(parsed, field)), known);
        while (column.length <= slot) column.push(undefined);
        column[slot] = value;
        bytes += cost(value);
      }
      if (bytes > MAX_BYTES) {
        this.clear();
        this.#tooLarge = true;
        return false;
      }
    }
    for (const { field, column } of loaded) this.#columns.set(field, column);
    this.#bytes = bytes;
    return true;
  }

  #fromDisk(node: FilterNode, among: Iterable<number> | undefined): Mask {
    const wanted = among && new Set(among);
    const found: number[] = [];
    let length = 0;
    for (const { slot, metadata } of this.#source.metadata()) {
      length = Math.max(length, slot + 1);
      if (wanted && !wanted.has(slot)) continue;
      if (matches(node, metadata === null ? undefined : JSON.parse(metadata))) found.push(slot);
    }
    const slots = new Uint8Array(length);
    for (const slot of found) slots[slot] = 1;
    return { slots, count: found.length };
  }

  #markLive(slot: number): void {
    if (slot >= this.#live.length) {
      const grown = new Uint8Array(Math.max(1024, slot + 1, this.#live.length * 2));
      grown.set(this.#live);
      this.#live = grown;
    }
    this.#live[slot] = 1;
  }
}

const OBJECT = Object.freeze({});

/** A nested object is only ever asked whether it is there. */
function compact(value: unknown): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? OBJECT : value;
}

function interned(value: unknown, known: Map<string, string>): unknown {
  if (typeof value !== 'string' || value.length > 64) return value;
  const same = known.get(value);
  if (same === undefined && known.size < 100_000) known.set(value, value);
  return same ?? value;
}

/** Bytes, roughly. */
function cost(value: unknown): number {
  if (typeof value === 'string') return value.length > 64 ? 2 * value.length + 32 : 16;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + 16 + cost(item), 32);
  return 8;
}
