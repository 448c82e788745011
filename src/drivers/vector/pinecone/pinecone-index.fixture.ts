import { createHash } from 'node:crypto';
import { InvalidArgument, pineconeFilter, type DoubleMetadata } from './pinecone-filter.fixture.ts';

/** A record in the double. */
export type DoubleVector = {
  readonly id: string;
  readonly values: readonly number[];
  readonly metadata: DoubleMetadata;
};
export type DoubleMetric = 'cosine' | 'euclidean' | 'dotproduct';
export type QueryBody = {
  readonly vector: readonly number[];
  readonly topK: number;
  readonly filter?: unknown;
  readonly includeValues?: boolean;
  readonly includeMetadata?: boolean;
};

// https://docs.pinecone.io/reference/api/database-limits/operation-limits (read 2026-11-25)
const MAX_ANSWER_BYTES = 4_000_000;
const MAX_METADATA_BYTES = 40_960;
/** How far a score may be off: 1.0011 was seen of a real index for equal directions. */
const SCORE_ERROR = 1e-3;

type Write = (records: Map<string, DoubleVector>) => void;
type Reader = {
  readonly records: Map<string, DoubleVector>;
  readonly pending: { readonly lsn: number; readonly write: Write; queries: number }[];
  readonly lag: number;
  /** The last write that it has seen; none while the namespace does not exist for it. */
  indexed?: number | undefined;
};

/**
 * One namespace, eventually consistent: queries go to its readers in turn, each of which sees a write some queries
 * later, and says up to which write it has come. What else reads sees what the first of them does.
 */
export function doubleNamespace(dimension: number, metric: DoubleMetric, lags: readonly number[]) {
  const readers = lags.map((lag): Reader => ({ records: new Map(), pending: [], lag }));
  let lsn = 0;
  let turn = 0;
  let exists = false;

  const write = (change: Write): number => {
    lsn += 1;
    for (const reader of readers) reader.pending.push({ lsn, write: change, queries: reader.lag });
    return lsn;
  };
  const advance = (reader: Reader): void => {
    for (const one of reader.pending) one.queries -= 1;
    while (reader.pending[0] && reader.pending[0].queries <= 0) {
      const [next] = reader.pending.splice(0, 1);
      if (!next) break;
      next.write(reader.records);
      // The namespace goes with its last record.
      reader.indexed = reader.records.size === 0 ? undefined : next.lsn;
    }
  };
  const seen = (): ReadonlyMap<string, DoubleVector> =>
    readers[0]?.records ?? new Map<string, DoubleVector>();

  return {
    exists: () => exists,
    upsert(vectors: readonly DoubleVector[]): number {
      for (const vector of vectors) checkVector(vector, dimension);
      exists = true;
      return write((records) => vectors.forEach((vector) => records.set(vector.id, vector)));
    },
    deleteIds: (ids: readonly string[]): number =>
      write((records) => ids.forEach((id) => records.delete(id))),
    deleteMatching(filter: unknown): number {
      const test = pineconeFilter(filter);
      return write((records) => {
        for (const { id, metadata } of records.values()) if (test(metadata)) records.delete(id);
      });
    },
    deleteAll(): number {
      exists = false;
      return write((records) => records.clear());
    },
    count: () => seen().size,
    ids: () => [...seen().keys()].sort(),
    fetch: (ids: readonly string[]) =>
      ids.flatMap((id) => [seen().get(id)].filter((found) => found !== undefined)),
    matching: (filter: unknown) => {
      const test = pineconeFilter(filter);
      return [...seen().values()].filter(({ metadata }) => test(metadata));
    },
    query(body: QueryBody): { readonly matches: readonly object[]; readonly indexed: number | undefined } {
      if (body.vector.length !== dimension)
        throw new InvalidArgument(
          `Vector dimension ${body.vector.length} does not match the dimension of the index ${dimension}`,
        );
      if (!Number.isInteger(body.topK) || body.topK < 1 || body.topK > 10_000)
        throw new InvalidArgument('topK is from 1 to 10000');
      const test = body.filter === undefined ? () => true : pineconeFilter(body.filter);
      const reader = readers[turn++ % readers.length] ?? readers[0];
      if (!reader) throw new Error('there is a reader');
      advance(reader);
      const found = [...reader.records.values()].filter(({ metadata }) => test(metadata));
      const matches = found
        .map((vector) => ({
          vector,
          score: scoreOf(metric, body.vector, vector.values),
          order: digest(vector.id),
        }))
        // Equal ones in no order that could be relied upon.
        .sort(
          (a, b) =>
            (metric === 'euclidean' ? a.score - b.score : b.score - a.score) || (a.order < b.order ? -1 : 1),
        )
        .slice(0, body.topK)
        .map(({ vector, score }) => ({
          id: vector.id,
          score,
          values: body.includeValues ? vector.values.map(decimal) : [],
          ...(body.includeMetadata && { metadata: vector.metadata }),
        }));
      if (Buffer.byteLength(JSON.stringify(matches)) > MAX_ANSWER_BYTES)
        throw new InvalidArgument('the result is larger than 4MB');
      return { matches, indexed: reader.indexed };
    },
  };
}
export type DoubleNamespace = ReturnType<typeof doubleNamespace>;

function checkVector({ id, values, metadata }: DoubleVector, dimension: number): void {
  checkId(id);
  if (values.length !== dimension)
    throw new InvalidArgument(
      `Vector dimension ${values.length} does not match the dimension of the index ${dimension}`,
    );
  if (values.every((value) => Math.abs(value) < 1e-8))
    throw new InvalidArgument('Dense vectors must contain at least one non-zero value.');
  for (const [key, value] of Object.entries(metadata)) {
    if (key.startsWith('$')) throw new InvalidArgument(`${key} is no name of a field`);
    const isStrings = Array.isArray(value) && value.every((item) => typeof item === 'string');
    if (!isStrings && !['string', 'number', 'boolean'].includes(typeof value))
      throw new InvalidArgument('Metadata value must be a string, number, boolean or list of strings');
  }
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  if (bytes > MAX_METADATA_BYTES)
    throw new InvalidArgument(
      `Metadata size is ${bytes} bytes, which exceeds the limit of 40960 bytes per vector`,
    );
}

/** @throws InvalidArgument by the pattern that the OpenAPI document has for ids. */
export function checkId(id: string): void {
  // The document's own pattern has the control characters.
  // oxlint-disable-next-line no-control-regex
  if (!/^[\x01-\x7F]{1,512}$/.test(id)) throw new InvalidArgument('Vector ID must be ASCII');
}

/** Pinecone's score: the square of the distance for `euclidean`, and for all metrics a little off. */
function scoreOf(metric: DoubleMetric, a: readonly number[], b: readonly number[]): number {
  const sum = (term: (x: number, y: number) => number) =>
    a.reduce((total, x, i) => total + term(x, b[i] ?? 0), 0);
  const off = 1 + SCORE_ERROR * ((Number.parseInt(digest(b.join()).slice(0, 8), 16) / 2 ** 32) * 2 - 1);
  if (metric === 'euclidean') return Math.fround(off * sum((x, y) => (x - y) ** 2));
  const dot = sum((x, y) => x * y);
  if (metric === 'dotproduct') return Math.fround(off * dot);
  return Math.fround((off * dot) / Math.sqrt(sum((x) => x * x) * b.reduce((total, y) => total + y * y, 0)));
}

/** A float32 in as few digits as say which one it is, which is another float64. */
function decimal(value: number): number {
  const float = Math.fround(value);
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(float.toPrecision(digits));
    if (Math.fround(short) === float) return short;
  }
  return Number(float.toPrecision(9));
}

export function decimals(vector: DoubleVector): DoubleVector {
  return { ...vector, values: vector.values.map(decimal) };
}

function digest(text: string): string {
  return createHash('md5').update(text).digest('hex');
}
