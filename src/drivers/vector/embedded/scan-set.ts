import type { DistanceMetric } from '../../../driver.ts';
import { type Arena, BLOCK_BYTES } from './arena.ts';
import { norm, rawScore } from './kernel.ts';

/** A record that may be among the nearest, by the number of its row. */
export type Candidate = { readonly slot: number; readonly rawScore: number };

/** Which slots may be answered: 1 at the index of each, and how many there are. */
export type Mask = { readonly slots: Uint8Array; readonly count: number };

/** Lengths between which sums of float32 squares and products can neither overflow nor vanish. */
const SHORTEST = 1e-12;
const LONGEST = 1e15;

/** The vectors of one collection that are searched exactly, in the memory of the kernel. */
export class ScanSet {
  readonly #arena: Arena;
  readonly #metric: DistanceMetric;
  readonly #dimension: number;
  readonly #rowBytes: number;
  readonly #rowsPerBlock: number;
  readonly #blocks: number[] = [];
  // By position: rows lie without gaps, so that the kernel runs over whole blocks.
  readonly #slots: number[] = [];
  readonly #norms: number[] = [];
  readonly #positions = new Map<number, number>();
  #longest = 0;
  /** Vectors whose length float32 sums cannot take; while there are any, all is scored in float64. */
  #extreme = 0;
  #scores = new Float64Array(0);

  constructor(arena: Arena, dimension: number, metric: DistanceMetric) {
    this.#arena = arena;
    this.#metric = metric;
    this.#dimension = dimension;
    this.#rowBytes = Math.ceil(dimension / 16) * 64;
    this.#rowsPerBlock = Math.floor(BLOCK_BYTES / this.#rowBytes);
  }

  get size(): number {
    return this.#slots.length;
  }

  get bytes(): number {
    return this.#blocks.length * BLOCK_BYTES;
  }

  get slots(): readonly number[] {
    return this.#slots;
  }

  has(slot: number): boolean {
    return this.#positions.has(slot);
  }

  /** False when there is no memory left; then nothing changed. */
  put(slot: number, values: Float32Array): boolean {
    let position = this.#positions.get(slot);
    if (position === undefined) {
      position = this.#slots.length;
      if (position === this.#blocks.length * this.#rowsPerBlock) {
        const block = this.#arena.allocate();
        if (block === undefined) return false;
        this.#blocks.push(block);
      }
      this.#slots.push(slot);
      this.#norms.push(1);
      this.#positions.set(slot, position);
    } else if (isExtreme(this.#norms[position] ?? 0)) this.#extreme -= 1;
    const start = this.#start(position);
    this.#arena.floats.set(values, start);
    // A block may have held longer rows of another collection.
    this.#arena.floats.fill(0, start + this.#dimension, start + this.#rowBytes / 4);
    const length = norm(values);
    this.#norms[position] = length;
    this.#longest = Math.max(this.#longest, length);
    if (isExtreme(length)) this.#extreme += 1;
    return true;
  }

  delete(slot: number): void {
    const position = this.#positions.get(slot);
    if (position === undefined) return;
    if (isExtreme(this.#norms[position] ?? 0)) this.#extreme -= 1;
    const last = this.#slots.length - 1;
    const moved = this.#slots.pop() ?? slot;
    const movedNorm = this.#norms.pop() ?? 0;
    if (position !== last) {
      const from = this.#start(last);
      this.#arena.floats.copyWithin(this.#start(position), from, from + this.#rowBytes / 4);
      this.#slots[position] = moved;
      this.#norms[position] = movedNorm;
      this.#positions.set(moved, position);
    }
    this.#positions.delete(slot);
    if (last % this.#rowsPerBlock === 0) this.#arena.release(this.#blocks.splice(-1));
  }

  clear(): void {
    this.#arena.release(this.#blocks.splice(0));
    this.#slots.length = 0;
    this.#norms.length = 0;
    this.#positions.clear();
    this.#longest = 0;
    this.#extreme = 0;
  }

  /**
   * The `count` nearest in no particular order, and whoever is exactly as near as the last of them.
   *
   * The kernel's float32 sums only choose candidates, by a bound on their error; the answer is scored in float64.
   */
  nearest(query: Float32Array, count: number, mask?: Mask): readonly Candidate[] {
    const length = norm(query);
    const few = mask !== undefined && mask.count * 16 < this.size;
    if (few || this.#extreme > 0 || isExtreme(length)) return this.#exactly(query, count, mask);
    const scores = this.#approximate(query);
    const allowed = (position: number): boolean =>
      mask === undefined || mask.slots[this.#slots[position] ?? 0] === 1;
    const best = new Lowest(count);
    for (let i = 0; i < this.size; i++) {
      if ((scores[i] ?? 0) < best.bound && allowed(i)) best.add(scores[i] ?? 0);
    }
    const bound = best.bound + this.#slack(best.bound, length);
    const found: Candidate[] = [];
    for (let i = 0; i < this.size; i++) {
      if ((scores[i] ?? 0) <= bound && allowed(i)) found.push(this.#scored(query, i));
    }
    return nearestOf(found, count, this.#metric);
  }

  #exactly(query: Float32Array, count: number, mask: Mask | undefined): readonly Candidate[] {
    const found: Candidate[] = [];
    if (mask !== undefined && mask.count * 16 < this.size) {
      for (let slot = mask.slots.indexOf(1); slot !== -1; slot = mask.slots.indexOf(1, slot + 1)) {
        const position = this.#positions.get(slot);
        if (position !== undefined) found.push(this.#scored(query, position));
      }
    } else {
      for (let i = 0; i < this.size; i++) {
        if (mask === undefined || mask.slots[this.#slots[i] ?? 0] === 1) found.push(this.#scored(query, i));
      }
    }
    return nearestOf(found, count, this.#metric);
  }

  #scored(query: Float32Array, position: number): Candidate {
    const score = rawScore(this.#metric, query, this.#arena.floats, this.#start(position));
    return { slot: this.#slots[position] ?? 0, rawScore: score };
  }

  /** Lower is nearer: the squared distance, the negated dot product, or the latter over the row's length. */
  #approximate(query: Float32Array): Float64Array {
    if (this.#scores.length < this.size) this.#scores = new Float64Array(Math.ceil(this.size * 1.25));
    const scores = this.#scores;
    this.#arena.setQuery(query, this.#rowBytes);
    const operation = this.#metric === 'euclidean' ? 'square' : 'dot';
    let position = 0;
    for (const block of this.#blocks) {
      const rows = Math.min(this.#rowsPerBlock, this.size - position);
      const out = this.#arena.scan(operation, block, rows, this.#rowBytes);
      if (this.#metric === 'euclidean') scores.set(out, position);
      else if (this.#metric === 'dot') {
        for (let i = 0; i < rows; i++) scores[position + i] = -(out[i] ?? 0);
      } else {
        for (let i = 0; i < rows; i++) {
          const length = this.#norms[position + i] ?? 0;
          // A row of zeros has no direction: as near as one at a right angle, not a NaN that no bound lets through.
          scores[position + i] = length === 0 ? 0 : -(out[i] ?? 0) / length;
        }
      }
      position += rows;
    }
    return scores;
  }

  /** Twice the largest error of a float32 sum: 16 lanes, so a sixteenth of the terms one after another, then 8 more. */
  #slack(bound: number, queryLength: number): number {
    if (bound === Infinity) return 0;
    const relative = 2 * (this.#rowBytes / 64 + 8) * 2 ** -23;
    if (this.#metric === 'euclidean') return relative * bound;
    return relative * queryLength * (this.#metric === 'dot' ? this.#longest : 1);
  }

  #start(position: number): number {
    const block = this.#blocks[Math.floor(position / this.#rowsPerBlock)] ?? 0;
    return (block * BLOCK_BYTES + (position % this.#rowsPerBlock) * this.#rowBytes) / 4;
  }
}

function isExtreme(length: number): boolean {
  return length !== 0 && (length < SHORTEST || length > LONGEST);
}

/** The `count` nearest, and whoever is exactly as near as the last of them: the caller breaks the tie. */
export function nearestOf(
  found: readonly Candidate[],
  count: number,
  metric: DistanceMetric,
): readonly Candidate[] {
  const sign = metric === 'euclidean' ? 1 : -1;
  const sorted = found.toSorted((a, b) => sign * (a.rawScore - b.rawScore));
  const last = sorted[count - 1];
  return last === undefined
    ? sorted
    : sorted.filter((candidate) => sign * (candidate.rawScore - last.rawScore) <= 0);
}

/** Keeps the lowest numbers it was given: a heap with the largest of them on top. */
class Lowest {
  readonly #heap: Float64Array;
  #size = 0;
  /** The largest of those kept, `Infinity` until there are as many as wanted. */
  bound = Infinity;

  constructor(count: number) {
    this.#heap = new Float64Array(count);
  }

  add(value: number): void {
    const heap = this.#heap;
    let at: number;
    if (this.#size < heap.length) {
      at = this.#size++;
      for (let up = (at - 1) >> 1; at > 0 && (heap[up] ?? 0) < value; up = (at - 1) >> 1) {
        heap[at] = heap[up] ?? 0;
        at = up;
      }
    } else {
      at = 0;
      for (;;) {
        let down = 2 * at + 1;
        if (down >= heap.length) break;
        if (down + 1 < heap.length && (heap[down + 1] ?? 0) > (heap[down] ?? 0)) down += 1;
        if ((heap[down] ?? 0) <= value) break;
        heap[at] = heap[down] ?? 0;
        at = down;
      }
    }
    heap[at] = value;
    if (this.#size === heap.length) this.bound = heap[0] ?? Infinity;
  }
}
