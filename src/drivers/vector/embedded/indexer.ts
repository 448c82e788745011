import { randomUUID } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { asConnectorError, type Log, type Progress } from '../../../driver.ts';
import type { Database } from './database.ts';
import type { ExitGate } from './exit-gate.ts';
import { type Engine, HnswIndex, type HnswShape, indexManifest, type LoadZvec } from './hnsw.ts';

/** Rows put into the index at once: a few milliseconds of this thread. */
const SLICE_ROWS = 100;
/** How long the graph of one step should take to build: closing waits for it, and so does the exit of the process. */
const STEP_MS = 600;
/** Rows of a step at most, and at least: fewer, or fewer numbers, would not be worth the overhead of a step. */
const MOST_STEP_ROWS = 4_000;
const LEAST_STEP_ROWS = 500;
const LEAST_STEP_VALUES = 100_000;
/** The part of the index that a step adds at least: each one writes all of it anew (50 ms at 16,000 × 384). */
const LEAST_STEP_PART = 1 / 100;
/** Rows after which the index is made durable, and serves what it holds. */
const CHECKPOINT_ROWS = 20_000;
/**
 * How long nobody has written before a build begins. Beside an import it would take memory and a processor for rows of
 * which it can do a hundredth: 1,000,000 × 64 then grew a process by 290 MB instead of 140, and took a quarter longer.
 */
const QUIET_MS = 250;
/** Writes that never pause hold it up no longer. */
const MOST_WAIT_MS = 30_000;
const PREFIX = 'index-';

export type IndexerHost = {
  readonly database: Database;
  readonly folder: string;
  readonly shape: HnswShape;
  readonly loadZvec: LoadZvec;
  readonly gate: ExitGate;
  readonly log: Log;
  progress(progress: Progress): void;
  /** The index now serves more rows, or none. */
  changed(): void;
};

/** What is kept about an index whose files are complete; absent while one is being written. */
type Checkpoint = {
  readonly name: string;
  readonly change: number;
  readonly fields: string;
  readonly manifest: string;
};

/** Derives the approximate index from the database, behind the searches' back. */
export class Indexer {
  readonly #host: IndexerHost;
  #serving: { readonly index: HnswIndex; readonly name: string; readonly change: number } | undefined;
  #work: Promise<void> | undefined;
  #stop = false;
  #dropped = false;
  #problem: string | undefined;
  #lastAskedMs = 0;
  #wake = (): void => {};

  constructor(host: IndexerHost) {
    this.#host = host;
  }

  /** The index as far as it may be trusted: it holds every row up to this change, though some have changed since. */
  get serving(): { readonly index: HnswIndex; readonly change: number } | undefined {
    return this.#serving;
  }

  /** Whether it is being brought up to date. */
  get working(): boolean {
    return this.#work !== undefined;
  }

  /** Why there is no index, where there should be one. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Takes up the index that was left, where it is whole; whatever else lies there is removed. */
  async open(): Promise<void> {
    const { database, folder, shape, log } = this.#host;
    const stored = database.fact('index');
    const checkpoint = stored ? (JSON.parse(stored) as Checkpoint) : undefined;
    this.#sweep(checkpoint?.name);
    if (checkpoint === undefined) return;
    try {
      const target = path.join(folder, checkpoint.name);
      const manifest = await indexManifest(target, { sync: false });
      if (manifest !== checkpoint.manifest) throw new Error('its files are not those that were written');
      if (checkpoint.fields !== JSON.stringify(shape.fields))
        throw new Error('other fields are to be indexed');
      const index = HnswIndex.open(await this.#engine(), target, shape.fields);
      this.#serving = { index, name: checkpoint.name, change: checkpoint.change };
    } catch (error) {
      log.warn('the vector index is built anew', { reason: asConnectorError(error).message });
      database.setFact('index', '');
      this.#sweep(undefined);
    }
  }

  /** Starts bringing the index up to date once writes have paused, unless that is under way or impossible. */
  update(): void {
    this.#lastAskedMs = performance.now();
    if (this.#work || this.#stop || this.#problem !== undefined) return;
    this.#work = this.#merge()
      .catch((error: unknown) => this.#failed(error))
      .then(() => {
        this.#work = undefined;
        this.#host.changed();
      })
      .catch((error: unknown) => this.#failed(error));
  }

  /** Gives the index up; the next {@link update} starts from nothing. */
  drop(): void {
    const serving = this.#serving;
    this.#serving = undefined;
    this.#host.database.setFact('index', '');
    if (this.#work) {
      this.#dropped = true;
      this.#wake();
    } else if (serving) this.#discard(serving.index, serving.name);
  }

  /** Ends the work under way at its next step, and keeps what it has built. */
  async close(): Promise<void> {
    this.#stop = true;
    this.#wake();
    await this.#work;
    this.#serving?.index.close();
    this.#serving = undefined;
  }

  async #engine(): Promise<Engine> {
    const { loadZvec, gate } = this.#host;
    return { zvec: await gate.runAsync(loadZvec), gate };
  }

  async #quiet(): Promise<void> {
    const endMs = performance.now() + MOST_WAIT_MS;
    for (;;) {
      const nowMs = performance.now();
      const leftMs = Math.min(this.#lastAskedMs + QUIET_MS, endMs) - nowMs;
      if (leftMs <= 0 || this.#stop || this.#dropped) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, leftMs);
      this.#wake = resolve;
      await promise;
      clearTimeout(timer);
    }
  }

  async #merge(): Promise<void> {
    const { database, folder, shape } = this.#host;
    await this.#quiet();
    if (this.#stop) return;
    const engine = await this.#engine();
    const target = database.summary().change;
    const name = this.#serving?.name ?? `${PREFIX}${randomUUID()}`;
    const from = this.#serving?.change ?? 0;
    const index = this.#serving?.index ?? HnswIndex.create(engine, path.join(folder, name), shape);
    try {
      this.#beginWriting(index, this.#serving !== undefined);
      await this.#bringUpToDate(index, name, from, target);
    } catch (error) {
      this.#serving = undefined;
      this.#discard(index, name);
      throw error;
    }
  }

  async #bringUpToDate(index: HnswIndex, name: string, start: number, target: number): Promise<void> {
    const { database } = this.#host;
    const total = database.countSince(start);
    const indexed = database.countSince(0) - total;
    let from = start;
    for (const slots of slices(database.removed(target), SLICE_ROWS)) {
      index.delete(slots);
      await turn();
    }
    let done = 0;
    let unsaved = 0;
    let stepRows = 2 * this.#leastStep(indexed);
    while (!this.#stop && !this.#dropped) {
      const step = await this.#step(index, { from, target, rows: stepRows });
      from = step.change;
      done += step.rows;
      // Bounded, for a row costs more the larger the graph and the busier the machine.
      const fitting = Math.min((step.rows * STEP_MS) / step.buildMs, 2 * stepRows, MOST_STEP_ROWS);
      stepRows = Math.max(fitting, this.#leastStep(indexed + done));
      unsaved += step.rows;
      this.#host.progress({ task: 'index', done: Math.min(done, total), total: Math.max(done, total) });
      if (step.last) break;
      if (unsaved >= CHECKPOINT_ROWS && !this.#dropped) {
        await this.#checkpoint(index, name, from);
        this.#beginWriting(index, true);
        unsaved = 0;
      }
    }
    if (!this.#dropped) await this.#checkpoint(index, name, from);
    if (!this.#dropped) return;
    this.#dropped = false;
    this.#serving = undefined;
    database.setFact('index', '');
    this.#discard(index, name);
  }

  #leastStep(indexed: number): number {
    const worthwhile = Math.min(LEAST_STEP_ROWS, LEAST_STEP_VALUES / this.#host.shape.dimension);
    return Math.min(Math.max(worthwhile, indexed * LEAST_STEP_PART), MOST_STEP_ROWS);
  }

  /** Puts the next rows into the index and builds their part of the graph. */
  async #step(
    index: HnswIndex,
    { from, target, rows: wanted }: { readonly from: number; readonly target: number; readonly rows: number },
  ) {
    const { database } = this.#host;
    let change = from;
    let rows = 0;
    let last = false;
    while (rows < wanted) {
      const slice = database.changed(change, target, SLICE_ROWS);
      const end = slice.at(-1);
      last = end === undefined;
      if (end === undefined) break;
      index.put(slice, (values) => database.floats(values));
      change = end.change;
      rows += slice.length;
      await turn();
    }
    const start = performance.now();
    await index.build();
    const buildMs = performance.now() - start;
    // What was changed again meanwhile has a later number, so everything up to the target is in the index now.
    return { change: last ? target : change, rows, buildMs, last };
  }

  #beginWriting(index: HnswIndex, opened: boolean): void {
    // Said before the first byte changes: whoever opens the folder after a crash must not trust it.
    this.#host.database.setFact('index', '');
    if (opened) index.reopen({ readOnly: false });
  }

  async #checkpoint(index: HnswIndex, name: string, change: number): Promise<void> {
    const { database, folder, shape } = this.#host;
    index.reopen({ readOnly: true });
    const manifest = await indexManifest(path.join(folder, name), { sync: true });
    if (this.#dropped) return;
    const checkpoint: Checkpoint = { name, change, fields: JSON.stringify(shape.fields), manifest };
    database.transaction(() => {
      database.setFact('index', JSON.stringify(checkpoint));
      database.forgetRemoved(change);
    });
    this.#serving = { index, name, change };
    this.#host.changed();
  }

  #failed(error: unknown): void {
    this.#dropped = false;
    this.#problem = asConnectorError(error).message;
    this.#host.log.warn('every search is exact, for want of an index', { reason: this.#problem });
  }

  #discard(index: HnswIndex, name: string): void {
    try {
      index.close();
    } catch {
      // It was closed already, by a reopening that failed.
    }
    rmSync(path.join(this.#host.folder, name), { recursive: true, force: true });
  }

  #sweep(kept: string | undefined): void {
    for (const name of readdirSync(this.#host.folder)) {
      if (name.startsWith(PREFIX) && name !== kept)
        rmSync(path.join(this.#host.folder, name), { recursive: true, force: true });
    }
  }
}

function slices<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
