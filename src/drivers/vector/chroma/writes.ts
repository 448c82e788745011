import type { Collection, Metadata as ChromaMetadata } from 'chromadb';
import type { DistanceMetric, VectorRecord } from '../../../driver.ts';
import { misshapen } from './api.ts';
import { hasDocument, replacing, sentOf } from './records.ts';

/**
 * Upserts that replace a record as a whole.
 *
 * Chroma's own merges: keys that the new metadata lacks stay, and so does the document. So what is there is read first,
 * and each key that is to go is sent as null. Between the two, nobody else may write the same record: upserts of this
 * client that share an id wait for each other. Those of another process do not.
 */
export class Writes {
  readonly #collection: Collection;
  readonly #metric: DistanceMetric;
  readonly #running = new Set<{ readonly ids: ReadonlySet<string>; readonly done: Promise<unknown> }>();

  constructor(collection: Collection, metric: DistanceMetric) {
    this.#collection = collection;
    this.#metric = metric;
  }

  /** Ids are distinct, and the batch fits into a request. */
  async upsert(records: readonly VectorRecord[], signal: AbortSignal): Promise<void> {
    const ids = new Set(records.map(({ id }) => id));
    const before = [...this.#running].filter((other) => sharesOne(other.ids, ids)).map(({ done }) => done);
    // Taken at once, so that whoever comes later waits for this one.
    const own = { ids, done: Promise.allSettled(before).then(() => this.#send(records, signal)) };
    this.#running.add(own);
    try {
      await own.done;
    } finally {
      this.#running.delete(own);
    }
  }

  async #send(records: readonly VectorRecord[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const sent = records.map((record) => sentOf(record, this.#metric));
    const ids = sent.map(({ id }) => id);
    const found = await this.#collection.get({ ids, include: ['metadatas'] });
    if (!Array.isArray(found.ids)) throw misshapen('ids');
    const before = new Map(found.ids.map((id, i) => [id, found.metadatas[i] ?? null]));
    const isBlanked = [...before.values()].some(hasDocument);
    await this.#collection.upsert({
      ids,
      // Chroma's client checks and sends these, and changes none of them.
      embeddings: sent.map(({ values }) => values as number[]),
      metadatas: sent.map(({ id, metadata }) => replacing(metadata, before.get(id)) as ChromaMetadata),
      ...((isBlanked || sent.some(({ text }) => text !== undefined)) && {
        documents: sent.map(({ text }) => text ?? ''),
      }),
    });
  }
}

function sharesOne(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const id of b) if (a.has(id)) return true;
  return false;
}
