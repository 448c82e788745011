import type { Command } from 'commander';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ConnectorError } from '../../errors/error.ts';
import { vectorCount } from '../../operations/vector.ts';
import { type CommandSession, type ConnectorAnswer, inSession } from '../command-session.ts';
import { float32Json } from '../float32.ts';
import { example } from '../help.ts';
import { withRecordProgress } from '../progress.ts';
import type { Settings } from '../settings.ts';
import { keepMemorySteady } from '../steady-memory.ts';
import type { Terminal } from '../terminal.ts';
import { type ListedRecord, pages, shapeOf } from '../vector-pages.ts';
import { replaceWhole } from '../local-file.ts';

/** Adds `vectors export`. */
export function addVectorExport(vectors: Command, terminal: Terminal, settings: Settings): void {
  vectors
    .command('export <connector> [file]')
    .summary('write all records as NDJSON')
    .description(
      'Write all records as NDJSON, in the form that `vectors import` reads, to a file or to stdout. The file appears ' +
        'under its name once it is whole; one that exists is left alone without --force. Numbers read back as the same ' +
        'float32.',
    )
    .option('--force', 'replace a file that exists')
    .addHelpText(
      'after',
      example(
        'connectors vectors export prices prices.ndjson',
        'connectors vectors export prices - | gzip > prices.ndjson.gz',
      ),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (
          session,
          reference: string,
          file: string | undefined,
          { force = false }: { readonly force?: boolean },
        ) => {
          keepMemorySteady();
          const toStdout = file === undefined || file === '-';
          if (toStdout && session.json)
            throw new ConnectorError(
              'invalid_argument',
              'the records go to stdout already; leave --json out',
            );
          if (!toStdout && !force && (await stat(file).catch(() => undefined)))
            throw new ConnectorError('already_exists', `${file} exists; --force replaces it`);
          const connector = await session.find(reference);
          const label = toStdout ? connector.name : basename(file);
          const { signal, stdout } = terminal;
          const done = await exported(session, connector, label, (content) =>
            toStdout
              ? pipeline(content, stdout, { end: false, signal })
              : replaceWhole(file, content, signal),
          );
          if (!toStdout)
            await session.answer({ file, ...done }, () => `wrote ${done.records} records to ${file}`);
        },
      ),
    );
}

type Written = { readonly records: number; readonly bytes: number };

/** Writes every record, page by page as `write` takes them. */
async function exported(
  session: CommandSession,
  connector: ConnectorAnswer,
  label: string,
  write: (content: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<Written> {
  shapeOf(connector);
  const { count: total } = await session.run(vectorCount, {}, { connector });
  let written: Written = { records: 0, bytes: 0 };
  const from = { position: 0, records: 0 };
  await withRecordProgress(session.terminal, { label, total, from }, async (show) => {
    async function* content(): AsyncGenerator<Uint8Array> {
      for await (const { records } of pages(session, connector)) {
        const chunk = Buffer.from(records.map(line).join(''));
        yield chunk;
        written = { records: written.records + records.length, bytes: written.bytes + chunk.length };
        show({ position: written.records, records: written.records });
      }
    }
    await write(content());
  });
  return written;
}

function line({ id, values = [], metadata, text }: ListedRecord): string {
  const rest = [
    ...(metadata === undefined ? [] : [`,"metadata":${JSON.stringify(metadata)}`]),
    ...(text === undefined ? [] : [`,"text":${JSON.stringify(text)}`]),
  ].join('');
  return `{"id":${JSON.stringify(id)},"values":${float32Json(values)}${rest}}\n`;
}
