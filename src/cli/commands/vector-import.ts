import { type Command, InvalidArgumentError } from 'commander';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { addAbortSignal } from 'node:stream';
import { z } from 'zod';
import { asConnectorError, ConnectorError } from '../../errors/error.ts';
import { errorCode } from '../../operations/fields.ts';
import type { Answer } from '../../operations/operation.ts';
import { withoutStanding } from '../../operations/import.ts';
import { vectorCount, vectorImport } from '../../operations/vector.ts';
import { type CommandSession, type ConnectorAnswer, inSession } from '../command-session.ts';
import { example } from '../help.ts';
import { type Job, openJob, stateFolder } from '../jobs.ts';
import { LineSlices } from '../line-slices.ts';
import { say } from '../print.ts';
import { count, withRecordProgress } from '../progress.ts';
import { NAMED_REFUSALS, reportRefusals, throwForConnector } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { keepMemorySteady } from '../steady-memory.ts';
import type { Terminal } from '../terminal.ts';
import { localError, localSize } from '../local-file.ts';
import { shapeOf } from '../vector-pages.ts';

/** What one request sends, and so what an interruption may have to repeat at most. */
const SLICE = { lines: 10_000, ms: 2_000 };
/** Of a file, to tell it from another of the same name, size and date. */
const HEAD_BYTES = 65_536;

const fingerprint = z.strictObject({ size: z.number(), modified_ms: z.number(), head: z.string() });
type Fingerprint = z.output<typeof fingerprint>;

/** How far an import is. */
const standing = z.strictObject({
  version: z.literal(1),
  /** Absent for stdin. */
  file: fingerprint.optional(),
  /** The line that comes next, and where it starts in the file. */
  line: z.int().min(1),
  offset: z.int().min(0),
  upserted: z.int().min(0),
  failed: z.int().min(0),
  /** The first of those that failed. */
  errors: z.array(z.strictObject({ line: z.int(), id: z.string(), code: errorCode, message: z.string() })),
});
type Standing = z.output<typeof standing>;

type ImportFlags = { readonly restart?: boolean; readonly fromLine?: number };

/** Adds `vectors import`. */
export function addVectorImport(vectors: Command, terminal: Terminal, settings: Settings): void {
  vectors
    .command('import <connector> <file>')
    .alias('upsert')
    .summary('write vectors from NDJSON; goes on where an interrupted run stopped')
    .description(
      'Write vectors from a file of NDJSON, or stdin for `-`: one {"id", "values", "metadata", "text"} a line. Records ' +
        'with the same ids are replaced. After any interruption the same command goes on behind the lines that were ' +
        'acknowledged, as long as the file is unchanged. A record that the backend refuses is named with its line; the ' +
        'others are written, and the exit code is 1.',
    )
    .option('--restart', 'begin at the first line, whatever an interrupted run has written')
    .option('--from-line <n>', 'begin at this line, as after an interruption of stdin', lineNumber)
    .addHelpText(
      'after',
      example(
        'connectors vectors import prices prices.ndjson',
        'connectors vectors import prices prices.ndjson --restart',
        'zcat all.gz | connectors vectors import prices -',
        'zcat all.gz | connectors vectors import prices - --from-line 40001',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, reference: string, file: string, flags: ImportFlags) => {
        if (flags.restart && flags.fromLine !== undefined)
          throw new ConnectorError('invalid_argument', 'give --restart or --from-line, not both');
        keepMemorySteady();
        const size = await localSize(file);
        const connector = await session.find(reference);
        shapeOf(connector);
        const job = await openJob(terminal, stateFolder(settings), {
          names: ['import', connector.connector_id, resolve(file)],
          schema: standing,
        });
        const source: Source = {
          file,
          size,
          beginning: {
            ...{ version: 1, line: 1, offset: 0, upserted: 0, failed: 0, errors: [] },
            ...(file !== '-' && { file: await fingerprintOf(file) }),
          },
        };
        const isFresh = file === '-' || flags.restart || flags.fromLine !== undefined;
        if (isFresh) await job.end();
        const from = isFresh ? source.beginning : await goingOn(session, connector, source, job.left);
        const done = await importAll(session, connector, { source, job, from, firstLine: flags.fromLine });
        const { upserted, failed, errors } = done;
        await session.answer({ upserted, failed, errors }, () => `${upserted} written, ${failed} refused`);
        const named = errors.map(({ line, id, ...error }) => ({
          ...error,
          where: `line ${count(line)} (${id})`,
        }));
        reportRefusals(terminal, named, failed);
      }),
    );
}

function lineNumber(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('it is not the number of a line.');
  return Number(text);
}

type Source = { readonly file: string; readonly size: number; readonly beginning: Standing };

/** Where an earlier run stopped, if it was with this file as it is now; otherwise the beginning. */
async function goingOn(
  session: CommandSession,
  connector: ConnectorAnswer,
  { file, beginning }: Source,
  left: Standing | undefined,
): Promise<Standing> {
  if (left === undefined) return beginning;
  const name = basename(file);
  const anew = (why: string): Standing => {
    say(session.terminal, `${why}; beginning at its first line, not at line ${count(left.line)}`);
    return beginning;
  };
  if (JSON.stringify(left.file) !== JSON.stringify(beginning.file))
    return anew(`${name} has changed since its import was interrupted`);
  const { count: records } = await session.run(vectorCount, {}, { connector });
  if (records === 0 && left.upserted > 0)
    return anew(`${connector.name} holds nothing any more of what was imported from ${name}`);
  say(session.terminal, `going on at line ${count(left.line)} of ${name}; --restart begins anew`);
  return left;
}

type Work = {
  readonly source: Source;
  readonly job: Job<Standing>;
  readonly from: Standing;
  readonly firstLine: number | undefined;
};

/** Sends the lines slice by slice, each once the one before it is acknowledged: of equal ids the last must win. */
async function importAll(
  session: CommandSession,
  connector: ConnectorAnswer,
  { source: { file, size }, job, from, firstLine = 1 }: Work,
): Promise<Standing> {
  const { terminal } = session;
  const stream = file === '-' ? terminal.stdin : createReadStream(file, { start: from.offset });
  // Aborted between two reads it has nobody else to tell.
  addAbortSignal(terminal.signal, stream).on('error', () => {});
  const slices = new LineSlices(stream, from);
  let at = from;
  try {
    await slices.skip(firstLine - from.line);
    if (slices.line < firstLine)
      say(
        terminal,
        `${file === '-' ? 'stdin' : basename(file)} ends before line ${count(firstLine)}, so nothing is written`,
      );
    at = { ...from, line: slices.line, offset: slices.offset };
    const progress = () => ({ position: slices.offset, records: slices.line - 1 });
    await withRecordProgress(
      terminal,
      { label: basename(file), total: size, from: progress() },
      async (show) => {
        while (await slices.more()) {
          const input = { first_line: slices.line };
          const content = watched(slices.next(SLICE), () => show(progress()));
          const answer = await session.run(vectorImport, input, { connector, content });
          throwForConnector(answer.errors);
          at = advanced(at, slices, answer);
          if (file !== '-') await job.save(at);
        }
      },
    );
    await job.end();
    return at;
  } catch (error) {
    throw stopped(error, { terminal, file, at });
  } finally {
    stream.destroy();
  }
}

function advanced(
  at: Standing,
  { line, offset }: LineSlices,
  { upserted, failed, errors }: Answer<typeof vectorImport>,
): Standing {
  const refused = errors.map(({ index: _index, ...error }) => error);
  return {
    ...at,
    ...{ line, offset, upserted: at.upserted + upserted, failed: at.failed + failed },
    errors: [...at.errors, ...refused].slice(0, NAMED_REFUSALS),
  };
}

async function* watched(content: AsyncIterable<Uint8Array>, moved: () => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of content) {
    yield chunk;
    moved();
  }
}

/** The failure with what is written by then, and how to go on. */
function stopped(
  error: unknown,
  { terminal, file, at }: { readonly terminal: Terminal; readonly file: string; readonly at: Standing },
): unknown {
  const failure = asConnectorError(error);
  const { upserted = 0, next_line: line = at.line } = failure.details;
  const written = at.upserted + Number(upserted);
  const isWrongLine = failure.code === 'invalid_argument' || failure.code === 'payload_too_large';
  const remedy =
    isWrongLine || file === '-'
      ? `${isWrongLine ? 'correct it, and ' : ''}go on with --from-line ${Number(line)}`
      : `the same command goes on at line ${count(at.line)}`;
  const stands = `${written === 0 ? 'no' : count(written)} ${written === 1 ? 'record is' : 'records are'} written so far; ${remedy}`;
  if (terminal.signal.aborted) {
    say(terminal, stands);
    return error;
  }
  const { code, issues, details, connectorId, connectorType, retryAfterMs, cause } = failure;
  return new ConnectorError(code, `${withoutStanding(failure.message)}; ${stands}`, {
    ...{ issues, details, connectorId, connectorType, cause: cause ?? failure },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** What tells a file from what it was: size, date, and a digest of its beginning. */
async function fingerprintOf(file: string): Promise<Fingerprint> {
  const { size, mtimeMs } = await stat(file);
  const handle = await open(file).catch((error: unknown) => {
    throw localError(error, file);
  });
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(HEAD_BYTES), position: 0 });
    const head = createHash('sha256').update(buffer.subarray(0, bytesRead)).digest('hex');
    return { size, modified_ms: mtimeMs, head };
  } finally {
    await handle.close();
  }
}
