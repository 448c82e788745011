import type { DistanceMetric, ErrorCode, FieldIssue, Note, Progress } from '../../../driver.ts';
import type { Selector } from './collection.ts';
import type { IndexedFields } from './native-filter.ts';

/** Records as they cross to the worker: one buffer for all values, metadata as JSON. */
export type PackedRecords = {
  readonly ids: readonly string[];
  readonly values: Float32Array<ArrayBuffer>;
  readonly metadata: readonly (string | null)[];
  readonly texts: readonly (string | null)[];
};

export type PackedMatches = {
  readonly ids: readonly string[];
  readonly rawScores: Float64Array<ArrayBuffer>;
  readonly metadata: readonly (string | null)[];
  readonly texts: readonly (string | null)[];
  readonly values: Float32Array<ArrayBuffer> | null;
};

/** Which rows of a listing, in the order of their slots. */
export type PageRequest = {
  /** The last slot of the page before; -1 before the first. */
  readonly after: number;
  readonly limit: number;
  readonly withValues: boolean;
};

export type PackedPage = Omit<PackedRecords, 'values'> & {
  /** Null where they were not asked for. */
  readonly values: Float32Array<ArrayBuffer> | null;
  /** The last slot, where more rows follow. */
  readonly next: number | null;
};

/** What the worker can do for a collection, by the name of the operation. */
export type Requests = {
  readonly open: {
    readonly folder: string;
    readonly dimension: number;
    readonly metric: DistanceMetric;
    readonly exactBytes: number;
    readonly indexedFields: IndexedFields;
  };
  readonly upsert: PackedRecords;
  readonly search: {
    readonly query: Float32Array<ArrayBuffer>;
    readonly topK: number;
    readonly filter: string | undefined;
    readonly includeValues: boolean;
    readonly includeMetadata: boolean;
  };
  readonly delete: Selector;
  readonly fetch: { readonly ids: readonly string[] };
  readonly count: { readonly filter: string | undefined };
  readonly list: PageRequest;
  readonly check: null;
  readonly close: null;
};
export type Answers = {
  readonly open: null;
  readonly upsert: null;
  readonly search: PackedMatches;
  readonly delete: number;
  readonly fetch: PackedRecords;
  readonly count: number;
  readonly list: PackedPage;
  readonly check: readonly Note[];
  readonly close: null;
};
export type Operation = keyof Requests;

export type ToWorker = {
  [O in Operation]: {
    readonly call: number;
    /** Which collection, by a number that the host gave out. */
    readonly collection: number;
    readonly operation: O;
    readonly request: Requests[O];
  };
}[Operation];

export type SentError = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly issues: readonly FieldIssue[];
};

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type FromWorker =
  | { readonly call: number; readonly answer: Answers[Operation] }
  | { readonly call: number; readonly error: SentError }
  | { readonly collection: number; readonly progress: Progress }
  | {
      readonly collection: number;
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };
