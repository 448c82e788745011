import { z } from 'zod';
import { asConnectorError, ConnectorError } from '../errors/error.ts';
import { errorCode } from '../operations/fields.ts';
import type { Answer } from '../operations/operation.ts';
import { vectorCount, vectorUpsert } from '../operations/vector.ts';
import type { CommandSession, ConnectorAnswer } from './command-session.ts';
import type { Job } from './jobs.ts';
import { say } from './print.ts';
import { count, withRecordProgress } from './progress.ts';
import { NAMED_REFUSALS, throwForConnector } from './refusals.ts';
import { sampled } from './sample.ts';
import { type ListedRecord, type Page, pages } from './vector-pages.ts';

/** How far a copy is. */
export const copyStanding = z.strictObject({
  version: z.literal(1),
  /** Behind the last page that was acknowledged. */
  cursor: z.string().optional(),
  /** All pages are acknowledged; what is left is to compare. */
  isRead: z.boolean(),
  copied: z.int().min(0),
  failed: z.int().min(0),
  /** The first of those that failed. */
  errors: z.array(z.strictObject({ id: z.string(), code: errorCode, message: z.string() })),
  /** Records that the target held before. */
  before: z.int().min(0),
  /** Ids of records to compare at the end. */
  sample: z.array(z.string()).readonly(),
});
export type CopyStanding = z.output<typeof copyStanding>;

/** The two ends of a copy. */
export type Connectors = { readonly from: ConnectorAnswer; readonly to: ConnectorAnswer };

const PAGES_IN_FLIGHT = 4;
/** Below the limit of an upsert's body. */
const REQUEST_BYTES = 24 * 2 ** 20;

/**
 * Copies page by page, up to four being written while the next is read; answers how far it came: to the end.
 *
 * @throws ConnectorError what stopped it, with how many records are copied; the job has the last acknowledged page.
 */
export async function copyAll(
  session: CommandSession,
  both: Connectors,
  { job, at }: { readonly job: Job<CopyStanding>; readonly at: CopyStanding },
): Promise<CopyStanding> {
  if (at.isRead) return at;
  const { from, to } = both;
  const { count: total } = await session.run(vectorCount, {}, { connector: from });
  let standing = at;
  const inFlight: { readonly page: Page; readonly written: Promise<UpsertAnswer> }[] = [];
  const done = () => standing.copied + standing.failed;
  const progress = () => ({ position: done(), records: done() });
  try {
    await withRecordProgress(
      session.terminal,
      { label: `${from.name} → ${to.name}`, total, from: progress() },
      async (show) => {
        const acknowledge = async (): Promise<void> => {
          const oldest = inFlight.shift();
          if (!oldest) return;
          standing = advanced(standing, oldest.page, await oldest.written);
          await job.save(standing);
          show(progress());
        };
        for await (const page of pages(session, from, at.cursor)) {
          const written = write(session, to, page.records);
          // Told when its turn comes.
          written.catch(() => {});
          inFlight.push({ page, written });
          if (inFlight.length === PAGES_IN_FLIGHT) await acknowledge();
        }
        while (inFlight.length > 0) await acknowledge();
      },
    );
    return standing;
  } catch (error) {
    throw stopped(error, session, standing);
  } finally {
    await Promise.allSettled(inFlight.map(({ written }) => written));
  }
}

type UpsertAnswer = Pick<Answer<typeof vectorUpsert>, 'upserted' | 'failed' | 'errors'>;

function advanced(at: CopyStanding, page: Page, { upserted, failed, errors }: UpsertAnswer): CopyStanding {
  const refused = errors.map(({ index: _index, ...error }) => error);
  return {
    ...{ version: 1, before: at.before, isRead: page.next_cursor === undefined, cursor: page.next_cursor },
    copied: at.copied + upserted,
    failed: at.failed + failed,
    errors: [...at.errors, ...refused].slice(0, NAMED_REFUSALS),
    sample: sampled(
      at.sample,
      page.records.map(({ id }) => id),
    ),
  };
}

/** Writes a page, in as many requests as a server takes it in. */
async function write(
  session: CommandSession,
  connector: ConnectorAnswer,
  page: readonly ListedRecord[],
): Promise<UpsertAnswer> {
  const total = { upserted: 0, failed: 0, errors: [] as UpsertAnswer['errors'][number][] };
  const requests = session.transport.registry ? [page] : cut(page);
  for (const records of requests) {
    try {
      const { upserted, failed, errors } = await session.run(vectorUpsert, { records }, { connector });
      throwForConnector(errors);
      total.upserted += upserted;
      total.failed += failed;
      total.errors.push(...errors);
    } catch (error) {
      throw namingRecord(error, records);
    }
  }
  return total;
}

function cut(page: readonly ListedRecord[]): readonly (readonly ListedRecord[])[] {
  const requests: ListedRecord[][] = [];
  let bytes = Infinity;
  for (const record of page) {
    const { id, values = [], metadata, text } = record;
    // Numbers have up to 24 characters, and characters up to 3 bytes, or 6 where they are escaped.
    const size = 24 * values.length + 6 * (id.length + (text?.length ?? 0)) + jsonBytes(metadata) + 64;
    bytes += size;
    if (bytes > REQUEST_BYTES) {
      requests.push([]);
      bytes = size;
    }
    requests.at(-1)?.push(record);
  }
  return requests;
}

function jsonBytes(value: unknown): number {
  return value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value));
}

/** The failure with the id of the record where it has an index alone, which means nothing to whoever copies. */
function namingRecord(error: unknown, records: readonly ListedRecord[]): unknown {
  const { code, message, issues, cause } = asConnectorError(error);
  const index = /^records\[(\d+)\]/.exec(issues[0]?.path ?? '')?.[1];
  const record = index === undefined ? undefined : records[Number(index)];
  return record
    ? new ConnectorError(code, `record "${record.id}": ${message}`, { cause: cause ?? error })
    : error;
}

function stopped(error: unknown, { terminal }: CommandSession, { copied }: CopyStanding): unknown {
  const failure = asConnectorError(error);
  const isOldCursor = failure.issues.some(({ path }) => path === 'cursor');
  const remedy = isOldCursor
    ? 'its backend does not know any more where the copy stopped, --restart begins anew'
    : 'the same command goes on there';
  const stands = `${count(copied)} records are copied; ${remedy}`;
  if (terminal.signal.aborted) {
    say(terminal, stands);
    return error;
  }
  const { code, message, details, connectorId, connectorType, retryAfterMs, cause } = failure;
  return new ConnectorError(code, `${message}; ${stands}`, {
    ...{ details, connectorId, connectorType, cause: cause ?? failure },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
