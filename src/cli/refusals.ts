import type { ErrorCode } from '../errors/codes.ts';
import { ConnectorError } from '../errors/error.ts';
import { say } from './print.ts';
import { count } from './progress.ts';
import { oneLine, type Terminal } from './terminal.ts';

/** Records that were refused are named up to so many. */
export const NAMED_REFUSALS = 20;

/** A record that a backend refused: `where` names it for a person. */
export type Refusal = { readonly where: string; readonly code: ErrorCode; readonly message: string };

/** What a backend says about one record. Everything else is about the connector, and the next records would fare alike. */
const ABOUT_RECORDS: ReadonlySet<ErrorCode> = new Set([
  ...(['invalid_argument', 'payload_too_large', 'unsupported'] as const),
  ...(['already_exists', 'conflict', 'backend_error'] as const),
]);

/** @throws ConnectorError where records were not written because the connector fails, and not because of what they are. */
export function throwForConnector(
  errors: readonly { readonly id: string; readonly code: ErrorCode; readonly message: string }[],
): void {
  const failure = errors.find(({ code }) => !ABOUT_RECORDS.has(code));
  if (failure) throw new ConnectorError(failure.code, failure.message);
}

/** Names the records that were refused, and ends in failure if there were any: their codes are the command's. */
export function reportRefusals(terminal: Terminal, refusals: readonly Refusal[], failed: number): void {
  const [first] = refusals;
  if (failed === 0 || !first) return;
  for (const { where, code, message } of refusals)
    say(terminal, oneLine(`refused: ${where}: ${message} (${code})`));
  if (failed > refusals.length) say(terminal, `and ${count(failed - refusals.length)} more`);
  throw new ConnectorError(
    first.code,
    `${failed === 1 ? '1 record was' : `${count(failed)} records were`} refused, the first is ${first.where}: ${first.message}`,
  );
}
