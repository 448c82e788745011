import type { VectorConnector, UpsertResult } from '../connectors/vector/connector.ts';
import type { UpsertError, VectorRecord } from '../connectors/vector/driver.ts';
import { asConnectorError, ConnectorError, invalidField } from '../errors/error.ts';

const BATCH_RECORDS = 1_000;
/** So that a batch of long lines is written before it fills the memory. */
const BATCH_BYTES = 8 * 2 ** 20;
const MAX_LINE_BYTES = 4 * 2 ** 20;
const MAX_ERRORS = 1_000;

type Line = { readonly number: number; readonly text: string; readonly bytes: number };

/**
 * Writes the records of an NDJSON stream batch by batch; what was refused by the backend is named by its index.
 *
 * Memory is bounded by one batch. After a failure the batches before it stand: the error's details have `upserted`,
 * and `next_line`, where a repetition goes on.
 *
 * @throws ConnectorError `invalid_argument` with issues such as `lines[17].values`; whatever the backend fails with.
 */
export async function importRecords(
  connector: Pick<VectorConnector, 'upsertVectors'>,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<UpsertResult> {
  const total = { upserted: 0, failed: 0, errors: [] as UpsertError[] };
  let records = 0;
  let nextLine = 1;
  let batch: Line[] = [];
  let bytes = 0;
  const write = async () => {
    const last = batch.at(-1);
    if (!last) return;
    const result = await connector.upsertVectors(parseLines(batch), { signal });
    total.upserted += result.upserted;
    total.failed += result.failed;
    const room = Math.max(0, MAX_ERRORS - total.errors.length);
    const named = result.errors.map((error) => ({ ...error, index: records + error.index }));
    total.errors.push(...named.slice(0, room));
    records += batch.length;
    nextLine = last.number + 1;
    batch = [];
    bytes = 0;
  };
  try {
    for await (const line of lines(content)) {
      batch.push(line);
      bytes += line.bytes;
      if (batch.length >= BATCH_RECORDS || bytes >= BATCH_BYTES) await write();
    }
    await write();
  } catch (error) {
    throw interrupted(error, batch, { upserted: total.upserted, next_line: nextLine });
  }
  return total;
}

/** The lines of a stream that are not blank, with their numbers from 1. */
async function* lines(content: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let bytes = 0;
  let number = 0;
  const take = (): Line | undefined => {
    const text = Buffer.concat(parts).toString('utf8').trim();
    number += 1;
    const line = { number, text, bytes };
    parts = [];
    bytes = 0;
    return text === '' ? undefined : line;
  };
  for await (const chunk of content) {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      parts.push(rest.subarray(0, end));
      bytes += end;
      rest = rest.subarray(end + 1);
      const line = take();
      if (line) yield line;
    }
    parts.push(rest);
    bytes += rest.length;
    if (bytes > MAX_LINE_BYTES)
      throw new ConnectorError('payload_too_large', `line ${number + 1} is at most ${MAX_LINE_BYTES} bytes`);
  }
  const line = take();
  if (line) yield line;
}

function parseLines(batch: readonly Line[]): readonly VectorRecord[] {
  return batch.map(({ text }, index) => {
    try {
      // The connector checks every field of what was parsed.
      return JSON.parse(text) as VectorRecord;
    } catch {
      // Without the parser's own message, which quotes the line.
      throw invalidField(`records[${index}]`, 'is one JSON object on one line');
    }
  });
}

type Standing = { readonly upserted: number; readonly next_line: number };

/** The failure of a batch, its records named by their lines, with what stands and where to go on. */
function interrupted(error: unknown, batch: readonly Line[], standing: Standing): ConnectorError {
  const failure = asConnectorError(error);
  const byLine = (text: string) =>
    text.replace(/\brecords\[(\d+)\]/, (all, index) => {
      const line = batch[Number(index)];
      return line ? `lines[${line.number}]` : all;
    });
  return new ConnectorError(
    failure.code,
    `${byLine(failure.message)}; ${standing.upserted} records were upserted, go on at line ${standing.next_line}`,
    {
      issues: failure.issues.map(({ path, message }) => ({ path: byLine(path), message })),
      details: { ...failure.details, ...standing },
      cause: failure.cause ?? failure,
      ...(failure.connectorId !== undefined && { connectorId: failure.connectorId }),
      ...(failure.connectorType !== undefined && { connectorType: failure.connectorType }),
      ...(failure.retryAfterMs !== undefined && { retryAfterMs: failure.retryAfterMs }),
    },
  );
}
