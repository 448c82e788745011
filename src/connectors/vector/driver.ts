import type { z } from 'zod';
import type { Client, Driver, OpenContext } from '../../contract/driver.ts';
import type { ErrorCode } from '../../errors/codes.ts';

/** How near two vectors are: by angle, by distance, or by dot product. */
export type DistanceMetric = 'cosine' | 'euclidean' | 'dot';

/** JSON as metadata may hold it: nested objects, and arrays of strings or numbers. */
export type MetadataValue = string | number | boolean | null | readonly (string | number)[] | Metadata;
/** Metadata of a record: JSON values by name. */
export type Metadata = { readonly [key: string]: MetadataValue };

/** One vector with its id, and what is known about it. */
export type VectorRecord = {
  /** 1 to 512 characters. */
  readonly id: string;
  /** Exactly `vectorDimension` finite numbers. */
  readonly values: readonly number[] | Float32Array;
  readonly metadata?: Metadata;
  readonly text?: string;
};

/** The portable filter language of SPEC 6, as parsed by `filter.ts`. */
export type Filter = { readonly [key: string]: unknown };

/** The operators by bare name, as capabilities declare them. */
export type FilterOperator =
  | 'eq'
  | 'ne'
  | 'gt'
  | 'gte'
  | 'lt'
  | 'lte'
  | 'in'
  | 'nin'
  | 'exists'
  | 'contains'
  | 'containsAny'
  | 'containsAll'
  | 'and'
  | 'or'
  | 'not';

/** What a vector backend can do. The connector refuses everything else before any I/O. */
export type VectorCapabilities = {
  readonly metrics: readonly DistanceMetric[];
  readonly filter: readonly FilterOperator[];
  /** Whether `gt gte lt lte` compare strings, too, and not numbers alone. */
  readonly orderedStrings: boolean;
  readonly deleteByFilter: boolean;
  readonly countByFilter: boolean;
  /** Longest time until an acknowledged write is seen by a search, in milliseconds; 0 means at once. */
  readonly visibleAfterMs: number;
  readonly limits: {
    readonly dimension: number;
    /** Records in one upsert that the client is given; the connector cuts larger ones. */
    readonly upsertBatch: number;
    readonly topK: number;
  };
};

/** What the host gives to a vector driver: the shape of its vectors on top of the rest. */
export type VectorOpenContext = OpenContext & { readonly dimension: number; readonly metric: DistanceMetric };

/** One record that the backend refused, by its place in the batch. */
export type UpsertError = {
  readonly index: number;
  readonly id: string;
  readonly code: ErrorCode;
  readonly message: string;
};

/** One record that a search found, with the figure as the metric has it. */
export type ClientMatch = {
  readonly id: string;
  /** The cosine, the true euclidean distance or the dot product, whatever the backend calls it. */
  readonly rawScore: number;
  readonly metadata?: Metadata;
  readonly text?: string;
  readonly values?: readonly number[];
};

/** A search as the client gets it: every default filled in, the filter parsed and supported. */
export type ClientQuery = {
  readonly topK: number;
  readonly filter?: Filter | undefined;
  readonly includeValues: boolean;
  readonly includeMetadata: boolean;
};

/** What to delete: these ids, what a filter matches, or everything. */
export type DeleteSelector =
  { readonly ids: readonly string[] } | { readonly filter: Filter } | { readonly all: true };

/** A record as the backend keeps it. */
export type StoredVector = {
  readonly id: string;
  readonly values: readonly number[];
  readonly metadata?: Metadata;
  readonly text?: string;
};

/** Which page of a listing. */
export type ListPage = {
  /** Records at most. */
  readonly limit: number;
  /** From the page before; absent for the first. */
  readonly cursor?: string | undefined;
  readonly includeValues: boolean;
};

/** A record of a listing; without `values` where they were not asked for. */
export type ListedVector = Omit<StoredVector, 'values'> & Partial<Pick<StoredVector, 'values'>>;
/** One page of a listing, in order of ids. */
export type VectorPage = {
  readonly records: readonly ListedVector[];
  /** Absent after the last page. */
  readonly nextCursor?: string;
};

/** One method per operation. The connector has validated every argument and checked it against the capabilities. */
export interface VectorClient extends Client {
  /** Writes one batch durably; the answer names the records that were refused. The last of equal ids wins. */
  upsert(records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly UpsertError[]>;
  /** The nearest records, best first. */
  search(
    vector: readonly number[] | Float32Array,
    query: ClientQuery,
    signal: AbortSignal,
  ): Promise<readonly ClientMatch[]>;
  /** The number of records removed. */
  delete(selector: DeleteSelector, signal: AbortSignal): Promise<number>;
  /** The records that exist, in the order of `ids`. */
  fetch(ids: readonly string[], signal: AbortSignal): Promise<readonly StoredVector[]>;
  count(filter: Filter | undefined, signal: AbortSignal): Promise<number>;
  /** One page of all records, in an order of the backend's own; a record that nobody changes meanwhile comes once. */
  list(page: ListPage, signal: AbortSignal): Promise<VectorPage>;
}

/** A driver of a vector backend. */
export type VectorDriver<Options extends z.ZodObject = z.ZodObject> = Driver<
  'vector',
  VectorCapabilities,
  Options,
  VectorClient,
  VectorOpenContext
>;

/** A vector driver, with the type of its options carried into `open`. */
export function defineVectorDriver<Options extends z.ZodObject>(
  driver: VectorDriver<Options>,
): VectorDriver<Options> {
  return Object.freeze(driver);
}
