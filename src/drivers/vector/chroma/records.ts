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

/** About how many bytes a record takes in a request, never fewer: at most 25 for a number, 6 for a character. */
export function sizeOf({ id, values, metadata, text }: VectorRecord): number {
  const characters = id.length + (text?.length ?? 0) + 3 * (metadata ? JSON.stringify(metadata).length : 0);
  return 25 * values.length + 6 * characters + 1_000;
}

/** Chroma merges metadata into what is there; so whatever is to go is named, with null. */
export function replacing(metadata: Flat | null, before: ChromaMetadata | null | undefined): Flat | null {
  if (!before) return metadata;
  const replaced = metadata ?? (Object.create(null) as Flat);
  for (const key of Object.keys(before)) replaced[key] ??= null;
  return replaced;
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
