import {
  type ClientMatch,
  type ClientQuery,
  type Clock,
  ConnectorError,
  type DeleteSelector,
  type DistanceMetric,
  type Filter,
  invalidField,
  isConnectorError,
  type ListedVector,
  type ListPage,
  nearer,
  type Note,
  type StoredVector,
  type UpsertError,
  type VectorClient,
  type VectorPage,
  type VectorRecord,
} from '../../../driver.ts';
import { exactScore } from './exact-score.ts';
import { compileFilter } from './filter.ts';
import { type Fetched, type Match, type Namespace, NUMBER_BYTES, type Query } from './namespace.ts';
import {
  fromPinecone,
  fromPineconeId,
  isDigest,
  type PineconeVector,
  toPinecone,
  toPineconeId,
} from './record.ts';

/** Matches of a query at most, by db_data_2026-07.oas.yaml in github.com/pinecone-io/pinecone-api, read 2026-11-25. */
export const MAX_TOP_K = 10_000;
// https://docs.pinecone.io/reference/api/database-limits/operation-limits (read 2026-11-25): an answer of 4 MB, 40 KB of
// metadata, which the service's own message has as 40960 bytes.
const MAX_ANSWER_BYTES = 4_000_000;
const MAX_METADATA_BYTES = 40_960;
// "at least one value must have a magnitude of 1e-8 or greater": the schema Vector of the same document.
const MIN_MAGNITUDE = 1e-8;
/**
 * Records that are asked for beyond `topK`, and a tenth of it: Pinecone's scores are approximate, and what is nearest by
 * them need not be the nearest.
 */
const MORE = 30;
/** Time in which Pinecone's statistics may not know of a write. None is published; a minute is our guess. */
const STATISTICS_LAG_MS = 60_000;
/** Ids that are counted one by one while the statistics cannot be trusted. */
const MAX_COUNTED = 10_000;

export type PineconeClientOptions = {
  readonly namespace: Namespace;
  /** In cursors, so that one of another collection is refused. */
  readonly name: string;
  readonly clock: Clock;
  readonly dimension: number;
  readonly metric: DistanceMetric;
  readonly check: (signal: AbortSignal) => Promise<readonly Note[]>;
  readonly close: () => Promise<void>;
};

/** The records of one connector: a namespace of an index. */
export class PineconeClient implements VectorClient {
  readonly #options: PineconeClientOptions;
  readonly #namespace: Namespace;
  /** When this client last wrote; others may have written until it was opened. */
  #writtenMs: number;

  constructor(options: PineconeClientOptions) {
    this.#options = options;
    this.#namespace = options.namespace;
    this.#writtenMs = options.clock.monotonicMs();
  }

  async upsert(records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly UpsertError[]> {
    const errors: UpsertError[] = [];
    const accepted: PineconeVector[] = [];
    for (const [index, record] of records.entries()) {
      const vector = toPinecone(record);
      const refusal = refusalOf(vector);
      if (refusal) errors.push({ index, id: record.id, ...refusal });
      else accepted.push(vector);
    }
    await this.#writing(() => this.#namespace.upsert(accepted, signal));
    return errors;
  }

  async search(
    vector: readonly number[] | Float32Array,
    { topK, filter, includeValues, includeMetadata }: ClientQuery,
    signal: AbortSignal,
  ): Promise<readonly ClientMatch[]> {
    const { metric } = this.#options;
    const query = { vector: Array.from(vector), ...(filter && { filter: compileFilter(filter) }) };
    const wanted = Math.min(MAX_TOP_K, topK + Math.ceil(topK / 10) + MORE);
    const found = await this.#candidates({ ...query, topK: wanted, includeMetadata }, topK, signal);
    return found
      .map(({ id, values, ...fields }) => ({
        id,
        rawScore: exactScore(metric, query.vector, values),
        ...(includeMetadata && fields),
        ...(includeValues && { values }),
      }))
      .sort(nearer(metric))
      .slice(0, topK);
  }

  async delete(selector: DeleteSelector, signal: AbortSignal): Promise<number> {
    if ('ids' in selector) {
      const ids = [...new Set(selector.ids.map(toPineconeId))];
      const existing = [...(await this.#namespace.fetch(ids, signal)).keys()];
      await this.#writing(() => this.#namespace.delete(existing, signal));
      return existing.length;
    }
    if ('filter' in selector) {
      const filter = compileFilter(selector.filter);
      const count = await this.#namespace.countMatching(filter, signal);
      if (count > 0) await this.#writing(() => this.#namespace.deleteMatching(filter, signal));
      return count;
    }
    const count = await this.count(undefined, signal);
    await this.#writing(() => this.#namespace.deleteAll(signal));
    return count;
  }

  async fetch(ids: readonly string[], signal: AbortSignal): Promise<readonly StoredVector[]> {
    const found = await this.#namespace.fetch([...new Set(ids.map(toPineconeId))], signal);
    return ids.flatMap((id) => {
      const record = found.get(toPineconeId(id));
      return record ? [this.#stored(record)] : [];
    });
  }

  async count(filter: Filter | undefined, signal: AbortSignal): Promise<number> {
    if (filter) return this.#namespace.countMatching(compileFilter(filter), signal);
    if (this.#options.clock.monotonicMs() - this.#writtenMs < STATISTICS_LAG_MS) {
      const counted = await this.#countIds(signal);
      if (counted !== undefined) return counted;
    }
    return this.#namespace.statistics(signal);
  }

  async list({ limit, cursor, includeValues }: ListPage, signal: AbortSignal): Promise<VectorPage> {
    let token = cursor === undefined ? undefined : this.#tokenOf(cursor);
    const ids: string[] = [];
    do {
      const page = await this.#page({ limit: limit - ids.length, token }, signal);
      ids.push(...page.ids);
      token = page.next;
    } while (token !== undefined && ids.length < limit);
    const found = await this.#namespace.fetch(ids, signal);
    const records = ids.flatMap((id): ListedVector[] => {
      const record = found.get(id);
      if (!record) return [];
      const { values, ...rest } = this.#stored(record);
      return [includeValues ? { ...rest, values } : rest];
    });
    return { records, ...(token !== undefined && { nextCursor: this.#cursorOf(token) }) };
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    const notes = await this.#options.check(signal);
    const count = await this.#namespace.statistics(signal);
    return [...notes, { level: 'info', message: `${count} records by the index's statistics` }];
  }

  async close(): Promise<void> {
    await this.#options.close();
  }

  /** Notes when the write ended, however it did. */
  async #writing(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } finally {
      this.#writtenMs = this.#options.clock.monotonicMs();
    }
  }

  /** The records that may be among the `topK` nearest, with their values. */
  async #candidates(
    query: Query & { readonly topK: number },
    topK: number,
    signal: AbortSignal,
  ): Promise<readonly StoredVector[]> {
    const { dimension } = this.#options;
    const bytes = dimension * NUMBER_BYTES + (query.includeMetadata ? MAX_METADATA_BYTES : 0);
    const isWhole = query.topK * bytes <= MAX_ANSWER_BYTES;
    const bare = { ...query, includeValues: false, includeMetadata: false };
    let matches = await this.#namespace.query(isWhole ? { ...query, includeValues: true } : bare, signal);
    let asked = query.topK;
    let isBare = !isWhole;
    // Which of equally near records Pinecone leaves out is up to it, so ask until the last one is farther away.
    while (
      asked < MAX_TOP_K &&
      matches.length === asked &&
      matches[topK - 1]?.score === matches.at(-1)?.score
    ) {
      asked = Math.min(MAX_TOP_K, asked * 4);
      matches = await this.#namespace.query({ ...bare, topK: asked }, signal);
      isBare = true;
    }
    const chosen = (await this.#ranked(matches, signal)).slice(0, query.topK);
    if (!isBare) return chosen.map(({ match, id }) => ({ ...this.#stored(withValues(match)), id }));
    const found = await this.#namespace.fetch(
      chosen.map(({ match }) => match.id),
      signal,
    );
    return chosen.flatMap(({ match }) => {
      const record = found.get(match.id);
      return record ? [this.#stored(record)] : [];
    });
  }

  /** The matches in Pinecone's order, those with equal scores by our ids. */
  async #ranked(matches: readonly Match[], signal: AbortSignal) {
    const digests = matches.filter(({ id, metadata }) => isDigest(id) && metadata === undefined);
    const known =
      digests.length === 0
        ? new Map<string, Fetched>()
        : await this.#namespace.fetch(
            digests.map(({ id }) => id),
            signal,
          );
    let rank = 0;
    return matches
      .map((match, i) => {
        if (i > 0 && match.score !== matches[i - 1]?.score) rank = i;
        return { match, rank, id: fromPineconeId(match.id, match.metadata ?? known.get(match.id)?.metadata) };
      })
      .sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1));
  }

  /** The number of records by listing them, `undefined` when there are too many. */
  async #countIds(signal: AbortSignal): Promise<number | undefined> {
    let count = 0;
    let token: string | undefined;
    do {
      const page = await this.#namespace.list({ limit: MAX_COUNTED, token }, signal);
      count += page.ids.length;
      token = page.next;
    } while (token !== undefined && count < MAX_COUNTED);
    return token === undefined ? count : undefined;
  }

  async #page(request: { readonly limit: number; readonly token: string | undefined }, signal: AbortSignal) {
    try {
      return await this.#namespace.list(request, signal);
    } catch (error) {
      // The rest of the request is ours, so it is the token that Pinecone does not know.
      if (request.token !== undefined && isConnectorError(error) && error.details['backend_status'] === 400)
        throw invalidField('cursor', 'is what the page before answered');
      throw error;
    }
  }

  #cursorOf(token: string): string {
    return Buffer.from(JSON.stringify([this.#options.name, token])).toString('base64url');
  }

  #tokenOf(cursor: string): string {
    try {
      const read: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
      if (Array.isArray(read) && read[0] === this.#options.name && typeof read[1] === 'string')
        return read[1];
    } catch {
      // Not JSON, so not one of ours.
    }
    throw invalidField('cursor', 'is what the page before answered');
  }

  #stored(record: Fetched): StoredVector {
    if (record.values.length !== this.#options.dimension)
      throw new ConnectorError(
        'backend_error',
        `Pinecone answered a vector of ${record.values.length} numbers`,
      );
    return fromPinecone(record);
  }
}

function withValues({ id, values = [], metadata }: Match): Fetched {
  return { id, values, metadata };
}

/** Why Pinecone would refuse the record, and with it the whole request. */
function refusalOf({ values, metadata }: PineconeVector): Pick<UpsertError, 'code' | 'message'> | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  if (bytes > MAX_METADATA_BYTES)
    return {
      code: 'payload_too_large',
      message: `metadata and text take ${bytes} bytes as they are stored; Pinecone takes ${MAX_METADATA_BYTES}`,
    };
  if (values.every((value) => Math.abs(value) < MIN_MAGNITUDE))
    return { code: 'invalid_argument', message: 'Pinecone takes no vector whose numbers are all below 1e-8' };
  return undefined;
}
