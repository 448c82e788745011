import { crc32 } from 'node:zlib';
import { ConnectorError } from '../errors/error.ts';

/**
 * A check value over some columns of a row, in a fixed order.
 *
 * SQLite notices a damaged page structure, but hands out a row whose content a disk has changed. With the check value
 * such a row is an error instead of an answer. It guards against accidents, not against people: 32 bits, no key.
 */
export function checkValue(...columns: readonly (string | number | null)[]): number {
  // Joined rather than put into JSON, which would escape every quote of the JSON that most columns are.
  return crc32(columns.map((column) => column ?? '\u0001').join('\u0000'));
}

/** @throws ConnectorError `internal` naming the row where the stored check value is another. */
export function verifyRow(
  what: string,
  id: string,
  stored: number,
  ...columns: readonly (string | number | null)[]
): void {
  if (stored !== checkValue(...columns)) throw damagedRow(what, id);
}

/** The error of a row that cannot be what was stored. */
export function damagedRow(what: string, id: string, cause?: unknown): ConnectorError {
  return new ConnectorError(
    'internal',
    `the stored ${what} ${id} is damaged; restore the store from a backup`,
    {
      cause,
    },
  );
}
