import type { Collection, Where } from 'chromadb';
import {
  ConnectorError,
  parseFilter,
  type ClientMatch,
  type ClientQuery,
  type DeleteSelector,
  type DistanceMetric,
  type Filter,
  type ListPage,
  type Note,
  type StoredVector,
  type UpsertError,
  type VectorClient,
  type VectorPage,
  type VectorRecord,
} from '../../../driver.ts';
import { idsOf, isNotFound, misshapen, type Api } from './api.ts';
import { compile, type Compiled } from './filter.ts';
import { cursorAfter, idInCursor, Listing } from './listing.ts';
import { storedOf, type Row } from './records.ts';
import { Search } from './search.ts';
import { Writes } from './writes.ts';

/** Ids in one request: what Chroma's own limit of 5,461 has room for, and its statements are quick with. */
const IDS_AT_ONCE = 1_000;

type Access = { readonly api: Api; readonly collection: Collection; readonly metric: DistanceMetric };

/** One collection, by the official client. */
export class ChromaVectors implements VectorClient {
  readonly #api: Api;
  readonly #collection: Collection;
  readonly #search: Search;
  readonly #writes: Writes;
  readonly #listing = new Listing();

  constructor({ api, collection, metric }: Access) {
    this.#api = api;
    this.#collection = collection;
    this.#search = new Search(collection, metric, (where) => this.#ids(where));
    this.#writes = new Writes(collection, metric);
  }

  async upsert(records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly UpsertError[]> {
    return this.#call(signal, () => this.#writes.upsert(records, signal));
  }

  async search(
    vector: readonly number[] | Float32Array,
    query: ClientQuery,
    signal: AbortSignal,
  ): Promise<readonly ClientMatch[]> {
    const compiled = compiledOf(query.filter);
    return this.#call(signal, async () => {
      if (compiled === false) return this.#nothing();
      return this.#search.run(vector, query, compiled === true ? undefined : compiled);
    });
  }

  async delete(selector: DeleteSelector, signal: AbortSignal): Promise<number> {
    const compiled = 'filter' in selector ? compiledOf(selector.filter) : true;
    return this.#call(signal, async () => {
      const ids = 'ids' in selector ? await this.#existing(selector.ids) : await this.#matching(compiled);
      for (const part of parts(ids)) await this.#collection.delete({ ids: part });
      return ids.length;
    });
  }

  async fetch(ids: readonly string[], signal: AbortSignal): Promise<readonly StoredVector[]> {
    return this.#call(signal, async () => {
      const found = await this.#read(ids, true);
      // Values were asked for, so every one of them has some.
      return ids.flatMap((id) => (found.get(id) as StoredVector | undefined) ?? []);
    });
  }

  async count(filter: Filter | undefined, signal: AbortSignal): Promise<number> {
    const compiled = compiledOf(filter);
    return this.#call(signal, async () => {
      if (compiled !== true) return (await this.#matching(compiled)).length;
      return this.#size();
    });
  }

  async list({ limit, cursor, includeValues }: ListPage, signal: AbortSignal): Promise<VectorPage> {
    let after = cursor === undefined ? undefined : idInCursor(cursor);
    return this.#call(signal, async () => {
      for (;;) {
        const { ids, isLast } = await this.#listing.page({ after, limit }, () => this.#ids(undefined));
        after = ids.at(-1);
        const found = ids.length > 0 ? await this.#read(ids, includeValues) : new Map<string, never>();
        const records = ids.flatMap((id) => found.get(id) ?? []);
        if (isLast || after === undefined) return { records };
        // All records of a page may have been deleted since the ids were read.
        if (records.length > 0) return { records, nextCursor: cursorAfter(after) };
      }
    });
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const { name } = this.#collection;
    return this.#call(signal, async () => {
      // By its id: one that was made anew under its name is not the one that this client writes to.
      const count = await this.#size();
      const version = await this.#api.chroma.version();
      return [{ level: 'info', message: `Chroma ${version}; ${count} records in the collection ${name}` }];
    });
  }

  async close(): Promise<void> {
    await this.#api.close();
  }

  async #call<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    try {
      return await this.#api.call(signal, task);
    } catch (error) {
      throw isNotFound(error) ? this.#gone(error) : error;
    }
  }

  #gone(cause?: unknown): ConnectorError {
    return new ConnectorError(
      'not_found',
      `the collection ${this.#collection.name} is no longer on the server; restore it, or connect again to begin with an empty one`,
      { ...(cause !== undefined && { cause }) },
    );
  }

  async #size(): Promise<number> {
    const count: unknown = await this.#collection.count();
    if (typeof count !== 'number') throw misshapen('count');
    return count;
  }

  /** The answer to a filter that nothing can match, from a collection that is still there. */
  async #nothing(): Promise<readonly never[]> {
    await this.#size();
    return [];
  }

  async #matching(compiled: Compiled): Promise<readonly string[]> {
    if (compiled === false) return this.#nothing();
    return this.#ids(compiled === true ? undefined : compiled);
  }

  async #ids(where: Where | undefined): Promise<readonly string[]> {
    return idsOf(await this.#collection.get({ ...(where && { where }), include: [] }));
  }

  async #existing(ids: readonly string[]): Promise<readonly string[]> {
    const found: string[] = [];
    for (const part of parts([...new Set(ids)]))
      found.push(...idsOf(await this.#collection.get({ ids: part, include: [] })));
    return found;
  }

  async #read(ids: readonly string[], withValues: boolean) {
    const found = new Map<string, ReturnType<typeof storedOf>>();
    for (const part of parts([...new Set(ids)])) {
      const { metadatas, documents, embeddings, ...rest } = await this.#collection.get({
        ids: part,
        include: ['metadatas', 'documents', ...(withValues ? (['embeddings'] as const) : [])],
      });
      for (const [i, id] of idsOf(rest).entries()) {
        const row: Row = { id, metadata: metadatas[i], document: documents[i], embedding: embeddings[i] };
        if (withValues && !Array.isArray(row.embedding)) throw misshapen('vectors');
        found.set(id, storedOf(row));
      }
    }
    return found;
  }
}

/** @throws ConnectorError `unsupported` */
function compiledOf(filter: Filter | undefined): Compiled {
  return filter === undefined || compile(parseFilter(filter));
}

function parts(ids: readonly string[]): readonly string[][] {
  return Array.from({ length: Math.ceil(ids.length / IDS_AT_ONCE) }, (_, i) =>
    ids.slice(i * IDS_AT_ONCE, (i + 1) * IDS_AT_ONCE),
  );
}
