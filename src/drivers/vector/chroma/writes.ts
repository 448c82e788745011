import type { Collection, Metadata as ChromaMetadata } from 'chromadb';
import type { DistanceMetric, UpsertError, VectorRecord } from '../../../driver.ts';
import { idsOf } from './api.ts';
import { excessOf, hasDocument, refusalOf, replacing, sentOf, sizeOf, type Sent } from './records.ts';

/** What requests are cut to, unless one record has more. */
const REQUEST_BYTES = 24 * 2 ** 20;

type TooLarge = { readonly id: string; readonly message: string };

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

  /** What was refused, by its index; the rest is written, in as many requests as its bytes need. */
  async upsert(records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly UpsertError[]> {
    const refused = records.flatMap((record, i) => refusalOf(record, i, this.#metric) ?? []);
    const isRefused = new Set(refused.map(({ index }) => index));
    const indexes = new Map(records.flatMap(({ id }, i) => (isRefused.has(i) ? [] : [[id, i] as const])));
    if (indexes.size === 0) return refused;
    const accepted = records.filter(({ id }, i) => indexes.get(id) === i);
    const before = [...this.#running]
      .filter((other) => sharesOne(other.ids, indexes))
      .map(({ done }) => done);
    // Taken at once, so that whoever comes later waits for this one.
    const done = Promise.allSettled(before).then(() => this.#write(accepted, signal));
    const own = { ids: new Set(indexes.keys()), done };
    this.#running.add(own);
    try {
      const large = await done;
      return [
        ...refused,
        ...large.map(({ id, message }): UpsertError => {
          return { index: indexes.get(id) ?? 0, id, code: 'payload_too_large', message };
        }),
      ];
    } finally {
      this.#running.delete(own);
    }
  }

  /** Writes what Chroma can take, and answers what it cannot. */
  async #write(records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly TooLarge[]> {
    signal.throwIfAborted();
    const found = await this.#collection.get({ ids: records.map(({ id }) => id), include: ['metadatas'] });
    const before = new Map(idsOf(found).map((id, i) => [id, found.metadatas[i] ?? null]));
    const isBlanked = [...before.values()].some(hasDocument);
    const large: TooLarge[] = [];
    let part: Sent[] = [];
    let bytes = 0;
    for (const record of records) {
      const sent = replacing(sentOf(record, this.#metric), before.get(record.id));
      const size = sizeOf(sent);
      const message = excessOf(sent, size);
      if (message !== undefined) {
        large.push({ id: record.id, message });
        continue;
      }
      if (part.length > 0 && bytes + size > REQUEST_BYTES) {
        await this.#send(part, isBlanked);
        [part, bytes] = [[], 0];
      }
      part.push(sent);
      bytes += size;
    }
    if (part.length > 0) await this.#send(part, isBlanked);
    return large;
  }

  async #send(records: readonly Sent[], isBlanked: boolean): Promise<void> {
    await this.#collection.upsert({
      ids: records.map(({ id }) => id),
      // Chroma's client checks and sends these, and changes none of them.
      embeddings: records.map(({ values }) => values as number[]),
      metadatas: records.map(({ metadata }) => metadata as ChromaMetadata),
      ...((isBlanked || records.some(({ text }) => text !== undefined)) && {
        documents: records.map(({ text }) => text ?? ''),
      }),
    });
  }
}

function sharesOne(a: ReadonlySet<string>, b: ReadonlyMap<string, unknown>): boolean {
  for (const id of b.keys()) if (a.has(id)) return true;
  return false;
}
