import type { VectorConnector, UpsertResult } from '../connectors/vector/connector.ts';
import type { UpsertError, VectorRecord } from '../connectors/vector/driver.ts';
import { asConnectorError, ConnectorError, invalidField } from '../errors/error.ts';

const BATCH_RECORDS = 1_000;
/** So that a batch of long lines is written before it fills the memory. */
const BATCH_BYTES = 8 * 2 ** 20;
const MAX_LINE_BYTES = 4 * 2 ** 20;
const MAX_ERRORS = 1_000;

type Line = { readonly number: number; readonly record: VectorRecord; readonly bytes: number };

/** A record that the backend refused, with its line in the stream. */
export type ImportError = UpsertError & { readonly line: number };
export type ImportResult = Omit<UpsertResult, 'errors'> & { readonly errors: readonly ImportError[] };

/**
 * Writes the records of an NDJSON stream batch by batch; what was refused by the backend is named by index and line.
 *
 * While one batch is being written the next is read and parsed: memory is bounded by two. After a failure the batches
 * before it stand: the error's details have `upserted`, and `next_line`, where a repetition goes on. Lines count from
 * `firstLine`.
 *
 * @throws ConnectorError `invalid_argument` with issues such as `lines[17].values`; whatever the backend fails with.
 */
export async function importRecords(
  connector: Pick<VectorConnector, 'upsertVectors'>,
  content: AsyncIterable<Uint8Array>,
  { signal, firstLine = 1 }: { readonly signal: AbortSignal; readonly firstLine?: number },
): Promise<ImportResult> {
  const total = { upserted: 0, failed: 0, errors: [] as ImportError[] };
  let records = 0;
  let nextLine = firstLine;
  const write = async (batch: readonly Line[]): Promise<void> => {
    try {
      const given = batch.map(({ record }) => record);
      const { upserted, failed: refused, errors } = await connector.upsertVectors(given, { signal });
      total.upserted += upserted;
      total.failed += refused;
      for (const error of errors.slice(0, MAX_ERRORS - total.errors.length)) {
        const line = batch[error.index]?.number ?? nextLine;
        total.errors.push({ ...error, index: records + error.index, line });
      }
      records += batch.length;
      nextLine = (batch.at(-1)?.number ?? nextLine) + 1;
    } catch (error) {
      throw interrupted(error, batch, { upserted: total.upserted, next_line: nextLine });
    }
  };
  const { chunks, stop } = stoppable(content);
  let writing = Promise.resolve();
  let batch: Line[] = [];
  let bytes = 0;
  const writeNext = async (): Promise<void> => {
    await writing;
    writing = write(batch);
    writing.catch(stop);
    batch = [];
    bytes = 0;
  };
  try {
    for await (const line of lines(chunks, firstLine)) {
      batch.push(line);
      bytes += line.bytes;
      if (batch.length >= BATCH_RECORDS || bytes >= BATCH_BYTES) await writeNext();
    }
    if (batch.length > 0) await writeNext();
  } catch (error) {
    // What is wrong with a later line is told after the batch before it has been written; or else why it was not.
    await writing;
    throw interrupted(error, [], { upserted: total.upserted, next_line: nextLine });
  }
  await writing;
  return total;
}

/** The content until `stop`, which ends it with an error even while it has nothing to say. */
function stoppable(content: AsyncIterable<Uint8Array>): {
  readonly chunks: AsyncIterable<Uint8Array>;
  stop(error: Error): void;
} {
  const ended = new AbortController();
  // One listener at a time: racing each read against one long promise would keep a reaction for each of them.
  let endRead = (): void => {};
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const source = content[Symbol.asyncIterator]();
    try {
      for (;;) {
        ended.signal.throwIfAborted();
        const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Uint8Array>>();
        endRead = () => reject(ended.signal.reason);
        source.next().then(resolve, reject);
        const next = await promise;
        if (next.done) return;
        yield next.value;
      }
    } finally {
      // Not waited for: it may be in the middle of a read that never ends.
      source.return?.().catch(() => {});
    }
  }
  return {
    chunks: chunks(),
    stop(error) {
      ended.abort(error);
      endRead();
    },
  };
}

/** The records of a stream, each with the number of its line; blank lines are none. */
async function* lines(content: AsyncIterable<Uint8Array>, firstLine: number): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let bytes = 0;
  let number = firstLine;
  const take = (last: Buffer): Line | undefined => {
    const text = (parts.length === 0 ? last : Buffer.concat([...parts, last])).toString('utf8').trim();
    const line =
      text === '' ? undefined : { number, record: parsed(text, number), bytes: bytes + last.length };
    number += 1;
    parts = [];
    bytes = 0;
    return line;
  };
  for await (const chunk of content) {
    const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = buffer.indexOf(0x0a); end !== -1; end = buffer.indexOf(0x0a, start)) {
      const line = take(buffer.subarray(start, end));
      start = end + 1;
      if (line) yield line;
    }
    parts.push(buffer.subarray(start));
    bytes += buffer.length - start;
    if (bytes > MAX_LINE_BYTES)
      throw new ConnectorError('payload_too_large', `line ${number} is at most ${MAX_LINE_BYTES} bytes`);
  }
  const line = take(Buffer.alloc(0));
  if (line) yield line;
}

function parsed(text: string, line: number): VectorRecord {
  try {
    // The connector checks every field of what was parsed.
    return JSON.parse(text) as VectorRecord;
  } catch {
    // Without the parser's own message, which quotes the line.
    throw invalidField(`lines[${line}]`, 'is one JSON object on one line');
  }
}

type Standing = { readonly upserted: number; readonly next_line: number };

/** What a failure of {@link importRecords} says, without what stands. */
export function withoutStanding(message: string): string {
  return message.replace(/; \d+ records were upserted, go on at line \d+$/, '');
}

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
