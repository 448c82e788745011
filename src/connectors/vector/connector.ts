import { ConnectorError, invalidField, isConnectorError } from '../../errors/error.ts';
import { parseWith } from '../../contract/validate.ts';
import type { CallOptions, ConnectorActivity, ConnectorRecord } from '../base.ts';
import { type ClientSession, DriverConnector } from '../session.ts';
import type {
  DeleteSelector,
  DistanceMetric,
  Filter,
  Metadata,
  StoredVector,
  UpsertError,
  VectorCapabilities,
  VectorClient,
  VectorPage,
  VectorRecord,
} from './driver.ts';
import { checkOperators, parseFilter } from './filter.ts';
import { checkId, checkRecords, MAX_RECORDS, packValues, refusal } from './records.ts';
import { vectorSettings } from './schema.ts';
import { nearer, score } from './score.ts';

export type UpsertResult = {
  readonly upserted: number;
  readonly failed: number;
  /** By index in the records given. */
  readonly errors: readonly UpsertError[];
};

export type SearchOptions = CallOptions & {
  /** Matches at most; 10 unless told. */
  readonly topK?: number;
  readonly filter?: Filter | undefined;
  readonly includeValues?: boolean;
  /** Whether matches carry metadata and text; true unless told. */
  readonly includeMetadata?: boolean;
  /** From 0 to 1: matches below it are left out. */
  readonly minScore?: number | undefined;
};

export type Match = {
  readonly id: string;
  /** 0 to 1, larger is nearer, whatever the metric and the backend. */
  readonly score: number;
  /** The cosine, the euclidean distance or the dot product itself. */
  readonly rawScore: number;
  readonly metadata?: Metadata;
  readonly text?: string;
  readonly values?: readonly number[];
};

const BATCHES_AT_ONCE = 4;
const MAX_PAGE = 1_000;
const MAX_CURSOR_LENGTH = 4_096;

/** Vectors of one tenant in one backend: stored by id, found by nearness and by their metadata. */
export class VectorConnector extends DriverConnector<VectorClient> {
  /** What the driver declares that its backend can do. */
  readonly driverCapabilities: VectorCapabilities;

  constructor({
    record,
    session,
    capabilities,
    activity,
  }: {
    readonly record: ConnectorRecord;
    readonly activity?: ConnectorActivity;
    readonly session: ClientSession<VectorClient>;
    readonly capabilities: VectorCapabilities;
  }) {
    super(record, session, activity);
    this.driverCapabilities = capabilities;
  }

  /** The length of every vector. */
  get vectorDimension(): number {
    return parseWith(vectorSettings, this.settings, 'settings').vector_dimension;
  }

  get distanceMetric(): DistanceMetric {
    return parseWith(vectorSettings, this.settings, 'settings').distance_metric;
  }

  /**
   * Writes records durably, replacing those with the same ids; of equal ids in one call the last wins.
   *
   * At most 10,000 records. All are checked before any is sent. They are cut to the backend's batches; where some
   * batches fail and others do not, the answer names each record that was not written.
   *
   * @throws ConnectorError `invalid_argument` with issues such as `records[3].values`; whatever failed, when every
   *   batch did.
   */
  async upsertVectors(records: readonly VectorRecord[], { signal }: CallOptions = {}): Promise<UpsertResult> {
    const shape = this.#shape();
    if (!Array.isArray(records)) throw invalidField('records', 'is an array');
    if (records.length > MAX_RECORDS)
      throw invalidField('records', `holds at most ${MAX_RECORDS} records, not ${records.length}`);
    const checked = await checkRecords(records, shape);
    const batches = inBatches(checked, this.driverCapabilities.limits.upsertBatch);
    const results: { readonly errors: readonly UpsertError[]; readonly thrown?: unknown }[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let batch = batches[next++]; batch; batch = batches[next++]) {
        results.push(await this.#upsertBatch(batch, signal));
      }
    };
    await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, work));
    const failures = results.filter((result) => 'thrown' in result);
    const [failure] = failures;
    if (failure && (failures.length === batches.length || signal?.aborted)) throw failure.thrown;
    const refused = new Map(results.flatMap((result) => result.errors).map((error) => [error.id, error]));
    // By id: where the last of equal ids was not written, none of those before it was.
    const errors = checked.flatMap(({ id }, index) => {
      const error = refused.get(id);
      return error ? [{ ...error, index }] : [];
    });
    return { upserted: records.length - errors.length, failed: errors.length, errors };
  }

  async #upsertBatch(batch: readonly VectorRecord[], signal: AbortSignal | undefined) {
    try {
      const refused = await this.session.run(
        { operation: 'vector.upsert', idempotent: true, signal },
        (client, call) => client.upsert(batch, call.signal),
      );
      return { errors: refused.map((error) => ({ ...error, id: batch[error.index]?.id ?? error.id })) };
    } catch (thrown) {
      if (!isConnectorError(thrown)) throw thrown;
      const { code, message } = thrown;
      const errors = batch.map(({ id }, index) => ({ index, id, code, message }));
      return { errors, thrown };
    }
  }

  /**
   * The `topK` records nearest to `vector`, best first, ties by id.
   *
   * Scores are (1+cos)/2, 1/(1+d) for a euclidean distance d, 1/(1+e^-p) for a dot product p. Fewer than `topK`
   * matches means that the collection, after the filter and `minScore`, holds no more.
   *
   * @throws ConnectorError `invalid_argument`; `unsupported` before any I/O, when the filter needs an operator that
   *   the backend lacks; the policies' `timeout`, `rate_limited`, `circuit_open`, `cancelled`.
   */
  async search(
    vector: readonly number[] | Float32Array,
    {
      topK = 10,
      filter,
      includeValues = false,
      includeMetadata = true,
      minScore,
      signal,
    }: SearchOptions = {},
  ): Promise<readonly Match[]> {
    const { dimension, metric } = this.#shape();
    const packed = new Float32Array(dimension);
    const problem = packValues(vector, packed, metric);
    if (problem) throw invalidField('vector', problem);
    const { limits } = this.driverCapabilities;
    if (!Number.isInteger(topK) || topK < 1 || topK > limits.topK)
      throw invalidField('topK', `is an integer from 1 to ${limits.topK}`);
    if (minScore !== undefined && !(minScore >= 0 && minScore <= 1))
      throw invalidField('minScore', 'is a number from 0 to 1');
    const query = { topK, filter: this.#filter(filter), includeValues, includeMetadata };
    const found = await this.session.run(
      { operation: 'vector.search', idempotent: true, signal },
      (client, call) => client.search(packed, query, call.signal),
    );
    return found
      .map(({ text, ...match }) => ({
        ...match,
        ...(includeMetadata && text !== undefined && { text }),
        score: score(metric, match.rawScore),
      }))
      .filter((match) => minScore === undefined || match.score >= minScore)
      .sort(nearer(metric))
      .slice(0, topK);
  }

  /**
   * Removes the records with these ids, or those that match the filter, or all; answers how many there were.
   *
   * @throws ConnectorError `invalid_argument`, or `unsupported` before any I/O.
   */
  async deleteVectors(
    selector: DeleteSelector,
    { signal }: CallOptions = {},
  ): Promise<{ readonly deleted: number }> {
    this.#shape();
    const checked = this.#selector(selector);
    if ('ids' in checked && checked.ids.length === 0) return { deleted: 0 };
    const deleted = await this.session.run(
      { operation: 'vector.delete', idempotent: true, signal },
      (client, call) => client.delete(checked, call.signal),
    );
    return { deleted };
  }

  /** The records with these ids, in their order; one that does not exist is left out. At most 10,000 ids. */
  async fetchVectors(ids: readonly string[], { signal }: CallOptions = {}): Promise<readonly StoredVector[]> {
    this.#shape();
    const checked = checkIds(ids);
    if (checked.length === 0) return [];
    return this.session.run({ operation: 'vector.fetch', idempotent: true, signal }, (client, call) =>
      client.fetch(checked, call.signal),
    );
  }

  /** How many records there are, or how many match the filter. */
  async countVectors({
    filter,
    signal,
  }: CallOptions & { readonly filter?: Filter | undefined } = {}): Promise<number> {
    this.#shape();
    const checked = this.#filter(filter);
    if (checked && !this.driverCapabilities.countByFilter)
      throw unsupported('countByFilter', 'filter', 'counting by a filter is not supported by this backend');
    return this.session.run({ operation: 'vector.count', idempotent: true, signal }, (client, call) =>
      client.count(checked, call.signal),
    );
  }

  /**
   * One page of all records, in an order of the backend's own: what an export or a copy reads.
   *
   * A record that nobody changes meanwhile comes exactly once. At most 1,000 in a page.
   */
  async listVectors({
    limit = 1_000,
    cursor,
    includeValues = true,
    signal,
  }: CallOptions & {
    readonly limit?: number;
    /** From the page before. */
    readonly cursor?: string | undefined;
    /** True unless told. */
    readonly includeValues?: boolean;
  } = {}): Promise<VectorPage> {
    this.#shape();
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE)
      throw invalidField('limit', `is an integer from 1 to ${MAX_PAGE}`);
    if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > MAX_CURSOR_LENGTH))
      throw invalidField('cursor', 'is what the page before answered');
    return this.session.run({ operation: 'vector.list', idempotent: true, signal }, (client, call) =>
      client.list({ limit, cursor, includeValues }, call.signal),
    );
  }

  /** The dimension and the metric, once it is sure that the backend can do them. */
  #shape(): { readonly dimension: number; readonly metric: DistanceMetric } {
    return checkVectorSettings(this.settings, this.driverCapabilities);
  }

  /** The filter when it says something: `{}` is none. */
  #filter(filter: Filter | undefined): Filter | undefined {
    if (filter === undefined) return undefined;
    const node = parseFilter(filter);
    if (Object.keys(filter).length === 0) return undefined;
    checkOperators(node, this.driverCapabilities);
    return filter;
  }

  #selector(selector: DeleteSelector): DeleteSelector {
    const keys = typeof selector === 'object' && selector !== null ? Object.keys(selector) : [];
    if (keys.length !== 1) throw invalidField('selector', 'has exactly one of ids, filter and all');
    if ('ids' in selector) return { ids: checkIds(selector.ids) };
    if ('all' in selector) {
      if (selector.all !== true) throw invalidField('all', 'is true');
      return selector;
    }
    if (!('filter' in selector)) throw invalidField('selector', 'has exactly one of ids, filter and all');
    const node = parseFilter(selector.filter);
    // An empty filter matches everything; nobody should empty a collection by leaving a filter out.
    if (Object.keys(selector.filter).length === 0)
      throw invalidField('filter', 'holds at least one condition; all: true removes everything');
    if (!this.driverCapabilities.deleteByFilter)
      throw unsupported('deleteByFilter', 'filter', 'deleting by a filter is not supported by this backend');
    checkOperators(node, this.driverCapabilities);
    return selector;
  }
}

/**
 * The dimension and the metric of a connector's settings, once it is sure that the backend can do them.
 *
 * @throws ConnectorError `invalid_argument` for a dimension over the limit, `unsupported` for another metric.
 */
export function checkVectorSettings(
  settings: Readonly<Record<string, unknown>>,
  { limits, metrics }: VectorCapabilities,
): { readonly dimension: number; readonly metric: DistanceMetric } {
  const { vector_dimension: dimension, distance_metric: metric } = parseWith(
    vectorSettings,
    settings,
    'settings',
  );
  if (dimension > limits.dimension) throw invalidField('vector_dimension', `is at most ${limits.dimension}`);
  if (!metrics.includes(metric)) {
    throw new ConnectorError('unsupported', `distance_metric ${metric} is not one of ${metrics.join(', ')}`, {
      details: { capability: 'metrics', missing: [metric] },
      issues: [{ path: 'distance_metric', message: `is one of ${metrics.join(', ')}` }],
    });
  }
  return { dimension, metric };
}

/** The records cut into batches; only the last of equal ids, since batches run side by side. */
function inBatches(records: readonly VectorRecord[], size: number): readonly (readonly VectorRecord[])[] {
  const last = new Map(records.map(({ id }, index) => [id, index]));
  const kept = records.filter(({ id }, index) => last.get(id) === index);
  return Array.from({ length: Math.ceil(kept.length / size) }, (_, i) =>
    kept.slice(i * size, (i + 1) * size),
  );
}

function checkIds(ids: unknown): readonly string[] {
  if (!Array.isArray(ids)) throw invalidField('ids', 'is an array');
  if (ids.length > MAX_RECORDS) throw invalidField('ids', `holds at most ${MAX_RECORDS} ids`);
  const issues = ids.flatMap((id: unknown, index) => {
    const message = checkId(id);
    return message ? [{ path: `ids[${index}]`, message }] : [];
  });
  if (issues.length > 0) throw refusal(issues.slice(0, 100));
  return [...ids];
}

function unsupported(capability: string, path: string, message: string): ConnectorError {
  return new ConnectorError('unsupported', message, {
    details: { capability, missing: [capability] },
    issues: [{ path, message: 'is not supported by this backend' }],
  });
}
