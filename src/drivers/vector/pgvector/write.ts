import type { UpsertError, VectorRecord } from '../../../driver.ts';
import { jsonbArray, textArray, vectorArray } from './binary.ts';
import type { Session } from './pool.ts';
import { upsertStatement } from './statements.ts';

/** Bytes of one statement, about: far below the gigabyte that a message may be, as both ends keep it whole. */
const MAX_BATCH_BYTES = 32_000_000;

type Row = {
  readonly id: string;
  readonly values: VectorRecord['values'];
  readonly metadata: string | null;
  readonly text: string | null;
};

/** The records that PostgreSQL can hold, and the refusal of the others: no type of its holds a NUL. */
export function storable(records: readonly VectorRecord[]): {
  readonly good: readonly Row[];
  readonly refused: readonly UpsertError[];
} {
  const good: Row[] = [];
  const refused: UpsertError[] = [];
  for (const [index, { id, values, metadata, text }] of records.entries()) {
    const json = metadata === undefined ? null : JSON.stringify(metadata);
    const field = id.includes('\0') ? 'id' : text?.includes('\0') ? 'text' : hasNul(json) ? 'metadata' : '';
    if (field === '') good.push({ id, values, metadata: json, text: text ?? null });
    else {
      const message = `its ${field} holds the character U+0000, which PostgreSQL cannot store`;
      refused.push({ index, id, code: 'invalid_argument', message });
    }
  }
  return { good, refused };
}

/** Whether JSON spells a NUL: an escape that is not itself part of an escaped backslash. */
function hasNul(json: string | null): boolean {
  return json !== null && json.includes('\\u0000') && /(?<!\\)(?:\\\\)*\\u0000/.test(json);
}

/**
 * The values of one statement for each batch.
 *
 * Sorted by id, so that two callers who write the same records lock them in the same order and never wait for each
 * other.
 */
export function upsertBatches(rows: readonly Row[], vectorOid: number): readonly (readonly Buffer[])[] {
  const sorted = rows.toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const batches: Row[][] = [];
  let bytes = Infinity;
  for (const row of sorted) {
    const size =
      row.id.length + row.values.length * 4 + (row.metadata?.length ?? 0) + (row.text?.length ?? 0);
    if (bytes + size > MAX_BATCH_BYTES) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(row);
    bytes += size;
  }
  return batches.map((batch) => [
    textArray(batch.map(({ id }) => id)),
    vectorArray(
      batch.map(({ values }) => values),
      vectorOid,
    ),
    jsonbArray(batch.map(({ metadata }) => metadata)),
    textArray(batch.map(({ text }) => text)),
  ]);
}

/** All batches or none. */
export async function writeBatches(
  session: Session,
  table: string,
  batches: readonly (readonly Buffer[])[],
): Promise<void> {
  const [only] = batches;
  if (batches.length === 1 && only) await session.run(upsertStatement(table, only));
  else if (batches.length > 1)
    await session.transaction(async () => {
      for (const batch of batches) await session.run(upsertStatement(table, batch));
    });
}
