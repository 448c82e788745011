import type { Metadata as ChromaMetadata } from 'chromadb';
import type { DistanceMetric, Metadata, StoredVector, UpsertError, VectorRecord } from '../../../driver.ts';
import { lengthOf, packExact, unpackExact } from './exact-values.ts';
import { flatten, isOurs, RECORD, type Flat, type StoredRecord } from './layout.ts';

/** A record that was read, as the arrays of Chroma's answers hold it. */
export type Row = {
  readonly id: string;
  readonly metadata: ChromaMetadata | null | undefined;
  readonly document: string | null | undefined;
  readonly embedding?: readonly number[] | undefined;
};

/** What to send for one record. */
export type Sent = {
  readonly id: string;
  readonly values: readonly number[];
  readonly metadata: Flat | null;
  readonly text: string | undefined;
};

// Chroma squares in float32, whose range ends at 3.4e38; vectors shorter than this it takes to have no direction.
const SHORTEST = 1e-15;
const LONGEST = 1e19;

/**
 * A longer request is refused with status 413, by `max_payload_size_bytes` in the server's own configuration; some of
 * it is for what a request has besides its records.
 * https://github.com/chroma-core/chroma/blob/main/rust/frontend/sample_configs/single_node_full.yaml (read 2026-11-27)
 */
const MOST_BYTES = 40 * 2 ** 20 - 4_096;

/**
 * Chroma 1.0.0 writes the keys of a record in one statement of SQLite, which has room for 5,461 of them, the document
 * among them. Of a record with more, every later call to the collection fails with status 500, deletes as well.
 */
const MOST_KEYS = 5_000;

/** Why a vector cannot be stored, or `undefined`. */
export function refusalOf(
  { id, values }: VectorRecord,
  index: number,
  metric: DistanceMetric,
): UpsertError | undefined {
  if (metric !== 'cosine') return undefined;
  const length = lengthOf(values);
  if (length >= SHORTEST && length <= LONGEST) return undefined;
  const message = `values have a length from ${SHORTEST} to ${LONGEST}: Chroma finds no direction in others`;
  return { index, id, code: 'invalid_argument', message };
}

export function sentOf({ id, values, metadata, text }: VectorRecord, metric: DistanceMetric): Sent {
  const exact = metric === 'cosine' ? packExact(Float32Array.from(values)) : undefined;
  const record: StoredRecord = {
    ...(metadata !== undefined && { metadata }),
    ...(text !== undefined && { text: true }),
    ...(exact !== undefined && { exact }),
  };
  const flat = flatten(metadata);
  if (Object.keys(record).length > 0) flat[RECORD] = JSON.stringify(record);
  // Chroma's client refuses metadata without a key.
  return { id, values: Array.from(values), metadata: Object.keys(flat).length > 0 ? flat : null, text };
}

/** How many bytes a record takes in a request at most: no number takes more than 24, and a comma. */
export function sizeOf({ id, values, metadata, text }: Sent): number {
  return 25 * values.length + Buffer.byteLength(JSON.stringify([id, metadata, text ?? '']));
}

/** Why Chroma cannot take a record, however few are sent with it, or `undefined`. */
export function excessOf({ metadata }: Sent, bytes: number): string | undefined {
  if (bytes > MOST_BYTES)
    return 'takes more than the 40 MiB of a request, in which each key of the metadata has its whole path';
  const keys = Object.values(metadata ?? {}).filter((value) => value !== null).length;
  return keys > MOST_KEYS
    ? `takes ${keys} keys in Chroma, and not at most ${MOST_KEYS}; each different item of a list is one`
    : undefined;
}

/** Chroma merges metadata into what is there; so whatever is to go is named, with null. */
export function replacing(sent: Sent, before: ChromaMetadata | null | undefined): Sent {
  if (!before) return sent;
  const metadata = sent.metadata ?? (Object.create(null) as Flat);
  for (const key of Object.keys(before)) metadata[key] ??= null;
  return { ...sent, metadata };
}

/** Whether a record may have a document that its successor has to blank. */
export function hasDocument(before: ChromaMetadata | null | undefined): boolean {
  const record = recordIn(before);
  return record === undefined || record.text === true;
}

/** The record that a row holds; of one that another tool wrote, its own metadata and document. */
export function storedOf(row: Row): Omit<StoredVector, 'values'> & Partial<Pick<StoredVector, 'values'>> {
  const record = recordIn(row.metadata);
  const metadata = record ? record.metadata : foreignMetadata(row.metadata);
  const hasText = record ? record.text === true : Boolean(row.document);
  return {
    id: row.id,
    ...(row.embedding && { values: unpackExact(row.embedding, record?.exact) }),
    ...(metadata !== undefined && { metadata }),
    ...(hasText && { text: row.document ?? '' }),
  };
}

function recordIn(metadata: ChromaMetadata | null | undefined): StoredRecord | undefined {
  const json = metadata?.[RECORD];
  if (typeof json !== 'string') return undefined;
  try {
    const record: unknown = JSON.parse(json);
    return isStored(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** False for what another tool wrote under our key. */
function isStored(record: unknown): record is StoredRecord {
  if (typeof record !== 'object' || record === null || Array.isArray(record)) return false;
  const { metadata, exact } = record as { readonly metadata?: unknown; readonly exact?: unknown };
  const isMetadata = metadata === undefined || (typeof metadata === 'object' && metadata !== null);
  return isMetadata && (exact === undefined || typeof exact === 'string');
}

function foreignMetadata(metadata: ChromaMetadata | null | undefined): Metadata | undefined {
  const entries = Object.entries(metadata ?? {}).filter(
    ([key, value]) => !isOurs(key) && value !== undefined,
  );
  return entries.length > 0 ? (Object.fromEntries(entries) as Metadata) : undefined;
}
