import { numbersOf, termsOf, type Metadata, type UpsertError, type VectorRecord } from '../../../driver.ts';
import { nonsense } from './errors.ts';
import { numberKey, numberTerm, sortable } from './filter.ts';

/** Bytes of a VARCHAR, https://milvus.io/docs/string.md (read 2026-11-25). */
export const TEXT_BYTES = 65_535;
/** 512 UTF-16 code units are at most 1,536 bytes of UTF-8. */
export const ID_BYTES = 2_048;
export const TERM_BYTES = 256;
/** Elements of an ARRAY, https://milvus.io/docs/array_data_type.md (read 2026-11-25). */
export const MAX_TERMS = 4_096;
/** Bytes of a JSON field, https://milvus.io/docs/use-json-fields.md (read 2026-11-25). */
const JSON_BYTES = 65_536;
// A request and an answer are at most 64 MB, https://milvus.io/docs/limitations.md (read 2026-11-25).
const REQUEST_BYTES = 32_000_000;
const ANSWER_BYTES = 60_000_000;
const MAX_ROWS = 1_000;

/** A row as the collection holds it; `undefined` is null. */
export type Row = {
  readonly id: string;
  readonly vector: readonly number[];
  readonly terms: readonly string[];
  readonly numbers: { readonly [key: string]: string };
  readonly metadata: string | undefined;
  readonly text: string | undefined;
};

/** The rows of a batch, cut so that each part fits into one request, and the records that fit into no row. */
export function rowsOf(records: readonly VectorRecord[]): {
  readonly parts: readonly (readonly Row[])[];
  readonly refused: readonly UpsertError[];
} {
  const parts: Row[][] = [];
  const refused: UpsertError[] = [];
  let room = 0;
  for (const [index, record] of records.entries()) {
    const row = rowOf(record);
    const sizes = sizesOf(row);
    const problem = problemOf(row, sizes);
    if (problem) {
      refused.push({ index, id: record.id, code: 'payload_too_large', message: problem });
      continue;
    }
    const bytes =
      sizes.metadata + sizes.text + sizes.numbers + sizes.terms + 4 * row.vector.length + ID_BYTES;
    if (bytes > room) {
      parts.push([]);
      room = REQUEST_BYTES;
    }
    room -= bytes;
    parts.at(-1)?.push(row);
  }
  return { parts, refused };
}

function rowOf({ id, values, metadata, text }: VectorRecord): Row {
  const numbers = numbersOf(metadata).map(({ field, value }) => [numberKey(field), sortable(value)] as const);
  return {
    id,
    vector: Array.from(values),
    terms: [...termsOf(metadata), ...numbers.map(([key]) => numberTerm(key))],
    numbers: Object.fromEntries(numbers),
    metadata: metadata && JSON.stringify(metadata),
    text,
  };
}

type Sizes = Readonly<Record<'metadata' | 'text' | 'numbers' | 'terms', number>>;

function sizesOf({ metadata = '', text = '', numbers, terms }: Row): Sizes {
  return {
    metadata: Buffer.byteLength(metadata),
    text: Buffer.byteLength(text),
    numbers: Buffer.byteLength(JSON.stringify(numbers)),
    terms: terms.reduce((total, term) => total + Buffer.byteLength(term), 0),
  };
}

function problemOf({ terms }: Row, { metadata, text, numbers }: Sizes): string | undefined {
  if (text > TEXT_BYTES) return `text is at most ${TEXT_BYTES} bytes in Milvus, not ${text}`;
  if (metadata > TEXT_BYTES)
    return `metadata is at most ${TEXT_BYTES} bytes as JSON in Milvus, not ${metadata}`;
  if (terms.length > MAX_TERMS)
    return `metadata has more fields and values than Milvus can index: ${terms.length}, at most ${MAX_TERMS}`;
  if (numbers > JSON_BYTES) return 'metadata has more numbers than Milvus can index';
  return undefined;
}

/** Rows that one answer surely holds, where each may be as large as a row can be. */
export function rowsPerAnswer(
  dimension: number,
  { values, metadata }: Readonly<Record<'values' | 'metadata', boolean>>,
) {
  const bytes = ID_BYTES + (values ? 4 * dimension : 0) + (metadata ? 2 * TEXT_BYTES : 0);
  return Math.max(1, Math.min(MAX_ROWS, Math.floor(ANSWER_BYTES / bytes)));
}

/**
 * What is stored beside the vector, from a row of an answer.
 *
 * @throws ConnectorError `backend_error` where it is not what we write.
 */
export function contentOf(row: Readonly<Record<string, unknown>>): {
  readonly metadata?: Metadata;
  readonly text?: string;
} {
  const { metadata, text } = row;
  return {
    ...(typeof metadata === 'string' && { metadata: parsed(metadata) }),
    ...(typeof text === 'string' && { text }),
  };
}

/** @throws ConnectorError `backend_error` for a row without an id. */
export function idOf(row: Readonly<Record<string, unknown>>): string {
  const { id } = row;
  if (typeof id !== 'string' || id === '') throw nonsense(new Error('a row without an id'));
  return id;
}

/** @throws ConnectorError `backend_error` for anything but `dimension` numbers. */
export function valuesOf(row: Readonly<Record<string, unknown>>, dimension: number): readonly number[] {
  const { vector } = row;
  if (
    !Array.isArray(vector) ||
    vector.length !== dimension ||
    !vector.every((one) => typeof one === 'number')
  )
    throw nonsense(new Error(`a vector that is not ${dimension} numbers`));
  return vector;
}

function parsed(text: string): Metadata {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Metadata;
  } catch (cause) {
    throw nonsense(cause);
  }
  throw nonsense(new Error('metadata that is not an object'));
}
