import type { Index } from '@pinecone-database/pinecone';
import { z } from 'zod';
import { type Clock, type ConnectorError, isConnectorError, networkFailure, sleep } from '../../../driver.ts';
import type { PineconeFilter } from './filter.ts';
import type { PineconeVector } from './record.ts';
import type { Transport } from './transport.ts';

// https://docs.pinecone.io/reference/api/database-limits/operation-limits and db_data_2026-07.oas.yaml in
// github.com/pinecone-io/pinecone-api, read 2026-11-25: 2 MB in an upsert, 1,000 ids in a delete, 100 in a page of ids,
// 10,000 records in a page of records by metadata.
const MAX_UPSERT_BYTES = 2_000_000;
const MAX_DELETE_IDS = 1_000;
const MAX_LIST_IDS = 100;
// A fetch is a GET, and its ids are in the URL: many a proxy takes no more than 8 KB of it.
const MAX_FETCH_IDS = 200;
const MAX_FETCH_BYTES = 6_000;
const FETCHES_AT_ONCE = 4;
const PAGE_BYTES = 2_000_000;
/** Bytes of one number of a vector in JSON, at most. */
export const NUMBER_BYTES = 24;

const FIRST_POLL_MS = 25;
const MAX_POLL_MS = 500;
/**
 * Queries in a row that must have seen a write. Several readers serve a namespace, each as far as it has come; one of
 * them says little of what a client on another machine will see.
 */
const SEEN_IN_A_ROW = 2;
/**
 * Longest time for which answers older than our own writes are not taken. Each write was seen by a query before it was
 * acknowledged, so what stays older is no slow reader, but a namespace that somebody emptied and whose log began anew.
 */
const MAX_STALE_MS = 10_000;

/** What every answer to a read has. */
const NAMESPACE = 'namespace';

const metadata = z.record(z.string(), z.unknown()).optional();
const matches = z.array(
  z.object({ id: z.string(), score: z.number(), values: z.array(z.number()).optional(), metadata }),
);
const vectors = z.record(z.string(), z.object({ id: z.string(), values: z.array(z.number()), metadata }));
const idPage = z.object({
  vectors: z.array(z.object({ id: z.string() })).optional(),
  pagination: z.object({ next: z.string() }).optional(),
});
const stats = z.object({
  namespaces: z.record(z.string(), z.object({ recordCount: z.int().nonnegative() })),
  dimension: z.int(),
});

export type Match = z.output<typeof matches>[number];
export type Fetched = z.output<typeof vectors>[string];
export type Query = {
  readonly vector: number[];
  readonly topK: number;
  readonly filter?: PineconeFilter | undefined;
  readonly includeValues?: boolean;
  readonly includeMetadata?: boolean;
};

/** What a namespace is reached by. */
export type NamespaceAccess = {
  readonly index: Index;
  readonly name: string;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly dimension: number;
  /** The error to throw instead, when the index is there no more. */
  readonly gone: (signal: AbortSignal) => Promise<ConnectorError | undefined>;
};

/**
 * One namespace of an index, by the requests that Pinecone has, cut to their limits.
 *
 * Pinecone numbers the writes of a namespace and says in each answer up to which one a reader has come. A write here
 * resolves once a query has seen it, and answers of readers that are behind our own writes are asked for again:
 * https://docs.pinecone.io/guides/data/check-data-freshness (read 2026-11-25).
 */
export class Namespace {
  readonly #access: NamespaceAccess;
  /** The last of our writes, to be seen by every read. */
  #watermark = 0;
  /** Whether that was an upsert, so that a reader which knows of no such namespace is behind. */
  #isFilled = false;

  constructor(access: NamespaceAccess) {
    this.#access = access;
  }

  async query(query: Query, signal: AbortSignal): Promise<readonly Match[]> {
    const { filter, ...rest } = query;
    return this.#read(
      signal,
      async () => {
        const answer = await this.#access.index.query({ ...rest, ...(filter && { filter }) });
        return matches.parse(answer.matches);
      },
      (found) => this.#isFilled && found.length === 0,
    );
  }

  /** The records that exist, by Pinecone's ids. */
  async fetch(ids: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, Fetched>> {
    const found = new Map<string, Fetched>();
    const batches = inBatches(ids, MAX_FETCH_IDS, MAX_FETCH_BYTES, (id) => encodeURIComponent(id).length + 5);
    let next = 0;
    const work = async (): Promise<void> => {
      for (let batch = batches[next++]; batch; batch = batches[next++]) {
        const part = batch;
        const records = await this.#read(signal, async () =>
          vectors.parse((await this.#access.index.fetch({ ids: part })).records),
        );
        for (const [id, record] of Object.entries(records)) found.set(id, record);
      }
    };
    await Promise.all(Array.from({ length: FETCHES_AT_ONCE }, work));
    return found;
  }

  /** How many records match, which Pinecone tells by handing them out. */
  async countMatching(filter: PineconeFilter, signal: AbortSignal): Promise<number> {
    const limit = Math.max(
      10,
      Math.min(1_000, Math.floor(PAGE_BYTES / (this.#access.dimension * NUMBER_BYTES))),
    );
    let count = 0;
    let paginationToken: string | undefined;
    do {
      const page = await this.#read(signal, async () => {
        const answer = await this.#access.index.fetchByMetadata({
          filter,
          limit,
          ...(paginationToken !== undefined && { paginationToken }),
        });
        return { count: Object.keys(answer.records).length, next: answer.pagination?.next };
      });
      count += page.count;
      paginationToken = page.next;
    } while (paginationToken);
    return count;
  }

  /** One page of ids, at most 100, and the token of the next one. */
  async list(
    { limit, token }: { readonly limit: number; readonly token?: string | undefined },
    signal: AbortSignal,
  ): Promise<{ readonly ids: readonly string[]; readonly next?: string | undefined }> {
    const page = await this.#read(signal, async () =>
      idPage.parse(
        await this.#access.index.listPaginated({
          limit: Math.min(limit, MAX_LIST_IDS),
          ...(token !== undefined && { paginationToken: token }),
        }),
      ),
    );
    return { ids: page.vectors?.map(({ id }) => id) ?? [], next: page.pagination?.next || undefined };
  }

  /** The number of records by the index's statistics, which lag behind. */
  async statistics(signal: AbortSignal): Promise<number> {
    const { value } = await this.#call(signal, async () =>
      stats.parse(await this.#access.index.describeIndexStats()),
    );
    const { namespaces } = value;
    return Object.hasOwn(namespaces, this.#access.name)
      ? (namespaces[this.#access.name]?.recordCount ?? 0)
      : 0;
  }

  async upsert(records: readonly PineconeVector[], signal: AbortSignal): Promise<void> {
    const batches = inBatches(
      records,
      records.length,
      MAX_UPSERT_BYTES - this.#access.name.length - 64,
      (record) => Buffer.byteLength(JSON.stringify(record)) + 1,
    );
    for (const batch of batches) {
      const upsert = () => this.#access.index.upsert({ records: batch });
      const { seen } = await this.#call(signal, upsert, 'upsertedCount');
      await this.#seen(seen.written, false, signal);
    }
  }

  async delete(ids: readonly string[], signal: AbortSignal): Promise<void> {
    for (let from = 0; from < ids.length; from += MAX_DELETE_IDS) {
      await this.#delete(signal, () =>
        this.#access.index.deleteMany({ ids: ids.slice(from, from + MAX_DELETE_IDS) }),
      );
    }
  }

  async deleteMatching(filter: PineconeFilter, signal: AbortSignal): Promise<void> {
    await this.#delete(signal, () => this.#access.index.deleteMany({ filter }));
  }

  async deleteAll(signal: AbortSignal): Promise<void> {
    await this.#delete(signal, () => this.#access.index.deleteAll());
  }

  async #delete(signal: AbortSignal, task: () => Promise<void>): Promise<void> {
    try {
      const { seen } = await this.#call(signal, task);
      await this.#seen(seen.written, true, signal);
    } catch (error) {
      // The index is there, so it is the namespace that is not: it comes with its first record and goes with the last.
      if (!isConnectorError(error) || error.code !== 'not_found' || error.details['index'] !== undefined)
        throw error;
    }
  }

  /** Resolves once queries have seen the write; at once where Pinecone did not number it, as in indexes on pods. */
  async #seen(written: number | undefined, isDelete: boolean, signal: AbortSignal): Promise<void> {
    if (written === undefined) return;
    const vector = Array.from({ length: this.#access.dimension }, (_, i) => (i === 0 ? 1 : 0));
    const poll = pauses();
    for (let inARow = 0; inARow < SEEN_IN_A_ROW;) {
      const { value, seen } = await this.#call(
        signal,
        () => this.#access.index.query({ vector, topK: 1 }),
        NAMESPACE,
      );
      // A namespace that does not exist has no log: what was deleted is gone from it, what was written is not there yet.
      const isGone = isDelete && value.matches.length === 0;
      const isSeen = seen.indexed === undefined ? isGone : seen.indexed >= written;
      inARow = isSeen ? inARow + 1 : 0;
      if (!isSeen) await this.#pause(poll(), signal);
    }
    if (written >= this.#watermark) this.#isFilled = !isDelete;
    this.#watermark = Math.max(this.#watermark, written);
  }

  /**
   * The answer of a reader that is not behind our own writes.
   *
   * @param isSuspect whether it is behind where it says nothing of the log. Only queries are known to always do.
   */
  async #read<T>(
    signal: AbortSignal,
    task: () => Promise<T>,
    isSuspect: (value: T) => boolean = () => false,
  ): Promise<T> {
    const { clock } = this.#access;
    const startedMs = clock.monotonicMs();
    const poll = pauses();
    for (;;) {
      const wanted = this.#watermark;
      const { value, seen } = await this.#call(signal, task, NAMESPACE);
      if (seen.indexed === undefined ? !isSuspect(value) : seen.indexed >= wanted) return value;
      if (clock.monotonicMs() - startedMs >= MAX_STALE_MS) {
        this.#watermark = seen.indexed ?? 0;
        this.#isFilled = false;
        return value;
      }
      await this.#pause(poll(), signal);
    }
  }

  async #call<T>(signal: AbortSignal, task: () => Promise<T>, member?: string) {
    try {
      return await this.#access.transport.call(signal, task, member);
    } catch (error) {
      throw (isPerhapsGone(error) && (await this.#access.gone(signal))) || error;
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await sleep(this.#access.clock, ms, signal);
    } catch (error) {
      throw networkFailure(error, signal);
    }
  }
}

/** An index that was removed answers 404, or has no address any more. */
function isPerhapsGone(error: unknown): boolean {
  if (!isConnectorError(error)) return false;
  return error.code === 'not_found' || (error.code === 'unavailable' && !('backend_status' in error.details));
}

/** Milliseconds to wait before each further attempt. */
function pauses(): () => number {
  let ms = FIRST_POLL_MS / 2;
  return () => (ms = Math.min(MAX_POLL_MS, ms * 2));
}

/** The items in their order, cut by number and by size; one that is larger than the size is alone. */
function inBatches<T>(
  items: readonly T[],
  maxItems: number,
  maxBytes: number,
  sizeOf: (item: T) => number,
): T[][] {
  const batches: T[][] = [];
  let batch: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (batch.length > 0 && (batch.length >= maxItems || bytes + size > maxBytes)) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}
