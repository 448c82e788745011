import {
  type ClientMatch,
  type ClientQuery,
  type DeleteSelector,
  type Filter,
  invalidField,
  type ListPage,
  type Metadata,
  type Note,
  type StoredVector,
  type UpsertError,
  type VectorClient,
  type VectorOpenContext,
  type VectorPage,
  type VectorRecord,
} from '../../../driver.ts';
import type { EmbeddedOptions } from './options.ts';
import type { PackedRecords, Requests } from './protocol.ts';
import { workerHost } from './worker-host.ts';

// About a millisecond of packing or unpacking; the event loop gets a turn after each slice.
const SLICE_VALUES = 250_000;

/** A collection in the worker, as the connector sees it. All that happens on this thread is packing and unpacking. */
export class EmbeddedClient implements VectorClient {
  readonly #settings: Requests['open'];
  readonly #context: VectorOpenContext;
  #collection: number | undefined;
  #opening: Promise<number> | undefined;

  private constructor(options: EmbeddedOptions, context: VectorOpenContext) {
    const { folder, dimension, metric } = context;
    this.#settings = {
      folder,
      dimension,
      metric,
      exactBytes: options.exact_max_mb * 1_000_000,
      indexedFields: options.indexed_fields,
    };
    this.#context = context;
  }

  /** @throws ConnectorError `invalid_state`, `internal` or `unavailable`, as the database says. */
  static async open(options: EmbeddedOptions, context: VectorOpenContext): Promise<EmbeddedClient> {
    const client = new EmbeddedClient(options, context);
    await client.#opened();
    return client;
  }

  async upsert(records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly UpsertError[]> {
    const packed = await pack(records, this.#settings.dimension);
    await workerHost.call(await this.#opened(), 'upsert', packed, {
      signal,
      transfer: [packed.values.buffer],
    });
    return [];
  }

  async search(
    vector: readonly number[] | Float32Array,
    { topK, filter, includeValues, includeMetadata }: ClientQuery,
    signal: AbortSignal,
  ): Promise<readonly ClientMatch[]> {
    const request = {
      query: new Float32Array(vector),
      topK,
      filter: filter && JSON.stringify(filter),
      includeValues,
      includeMetadata,
    };
    const found = await workerHost.call(await this.#opened(), 'search', request, { signal });
    return unpack(found, includeValues ? this.#settings.dimension : 0, (i, values) => ({
      id: found.ids[i] ?? '',
      rawScore: found.rawScores[i] ?? 0,
      ...fieldsOf(found, i),
      ...(includeValues && { values }),
    }));
  }

  async delete(selector: DeleteSelector, signal: AbortSignal): Promise<number> {
    const request = 'filter' in selector ? { filter: JSON.stringify(selector.filter) } : selector;
    return workerHost.call(await this.#opened(), 'delete', request, { signal });
  }

  async fetch(ids: readonly string[], signal: AbortSignal): Promise<readonly StoredVector[]> {
    const found = await workerHost.call(await this.#opened(), 'fetch', { ids }, { signal });
    return unpack(found, this.#settings.dimension, (i, values) => ({
      id: found.ids[i] ?? '',
      values,
      ...fieldsOf(found, i),
    }));
  }

  async count(filter: Filter | undefined, signal: AbortSignal): Promise<number> {
    const request = { filter: filter && JSON.stringify(filter) };
    return workerHost.call(await this.#opened(), 'count', request, { signal });
  }

  async list({ limit, cursor, includeValues }: ListPage, signal: AbortSignal): Promise<VectorPage> {
    const request = { after: slotOf(cursor), limit, withValues: includeValues };
    const found = await workerHost.call(await this.#opened(), 'list', request, { signal });
    const records = await unpack(found, includeValues ? this.#settings.dimension : 0, (i, values) => ({
      id: found.ids[i] ?? '',
      ...(includeValues && { values }),
      ...fieldsOf(found, i),
    }));
    return { records, ...(found.next !== null && { nextCursor: String(found.next) }) };
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    return workerHost.call(await this.#opened(), 'check', null, { signal });
  }

  async close(): Promise<void> {
    const collection = this.#collection;
    this.#collection = undefined;
    if (collection === undefined || !workerHost.knows(collection)) return;
    await workerHost.call(collection, 'close', null);
    await workerHost.unregister(collection);
  }

  /** The collection's number; opened anew where the worker that knew it has ended. */
  async #opened(): Promise<number> {
    if (this.#collection !== undefined && workerHost.knows(this.#collection)) return this.#collection;
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #open(): Promise<number> {
    const collection = workerHost.register(this.#context);
    try {
      await workerHost.call(collection, 'open', this.#settings);
    } catch (error) {
      await workerHost.unregister(collection);
      throw error;
    }
    this.#collection = collection;
    return collection;
  }
}

async function pack(records: readonly VectorRecord[], dimension: number): Promise<PackedRecords> {
  const values = new Float32Array(records.length * dimension);
  const metadata: (string | null)[] = [];
  const texts: (string | null)[] = [];
  const slice = Math.max(1, Math.floor(SLICE_VALUES / (dimension + 200)));
  for (const [i, record] of records.entries()) {
    values.set(record.values, i * dimension);
    metadata.push(record.metadata === undefined ? null : JSON.stringify(record.metadata));
    texts.push(record.text ?? null);
    if (i % slice === slice - 1) await turn();
  }
  return { ids: records.map(({ id }) => id), values, metadata, texts };
}

type Fields = Pick<PackedRecords, 'ids' | 'metadata' | 'texts'> & {
  readonly values: Float32Array | null;
};

async function unpack<T>(
  found: Fields,
  dimension: number,
  make: (index: number, values: readonly number[]) => T,
): Promise<readonly T[]> {
  const made: T[] = [];
  const slice = Math.max(1, Math.floor(SLICE_VALUES / (dimension + 200)));
  for (let i = 0; i < found.ids.length; i++) {
    const values = found.values?.subarray(i * dimension, (i + 1) * dimension) ?? [];
    made.push(make(i, Array.from(values)));
    if (i % slice === slice - 1) await turn();
  }
  return made;
}

/** The slot that a cursor of a listing stands for: that of the last row of the page before. */
function slotOf(cursor: string | undefined): number {
  if (cursor === undefined) return -1;
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  throw invalidField('cursor', 'is what the page before answered');
}

function fieldsOf(
  { metadata, texts }: Fields,
  i: number,
): { readonly metadata?: Metadata; readonly text?: string } {
  const json = metadata[i] ?? null;
  const text = texts[i] ?? null;
  return {
    // Written by pack from metadata that the connector had checked.
    ...(json !== null && { metadata: JSON.parse(json) as Metadata }),
    ...(text !== null && { text }),
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
