import type { Command } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import type { Transferred } from '../../store/transfer.ts';
import { globalOptions } from '../command-session.ts';
import { example } from '../help.ts';
import { printAnswer, table } from '../print.ts';
import { count, withRecordProgress } from '../progress.ts';
import type { Settings } from '../settings.ts';
import { keepMemorySteady } from '../steady-memory.ts';
import type { Terminal } from '../terminal.ts';

type Flags = { readonly from: string; readonly to: string };

/** Adds the command that moves a registry. */
export function addMigrateCommand(program: Command, terminal: Terminal, settings: Settings): void {
  program
    .command('migrate')
    .summary('move a registry between a data directory and PostgreSQL')
    .description(
      'Copy connectors, sealed credentials, API keys and invocations into an empty place, and compare both sides in the ' +
        'end. Stop the servers first. The source is only read; interrupt it and start it again as you like.',
    )
    .requiredOption('--from <place>', 'a data directory, or postgres://user@host:5432/database')
    .requiredOption('--to <place>', 'the same, empty')
    .addHelpText(
      'after',
      example(
        'connectors migrate --from ./data --to postgres://connectors@db.example.com/connectors',
        'connectors migrate --from postgres://connectors@db.example.com/connectors --to ./data',
      ) +
        '\n\nGive the password of a database as PGPASSWORD or in ~/.pgpass: arguments can be seen by other users.',
    )
    .action(async ({ from, to }: Flags, command: Command) => {
      const { json = false, url } = globalOptions(command, settings);
      if (url !== undefined)
        throw new ConnectorError('unsupported', 'this works on both places itself; leave out --url');
      keepMemorySteady();
      const startMs = performance.now();
      const done = await move({ from, to }, terminal);
      const seconds = (performance.now() - startMs) / 1_000;
      await printAnswer(terminal, json, answerOf(done, seconds), () => [
        table(
          ['TABLE', 'ROWS', 'SHA-256, THE SAME ON BOTH SIDES'],
          done.tables.map((one) => [one.table, count(one.rows), one.sha256]),
        ),
        '',
        `moved ${done.from} to ${done.to} in ${seconds.toFixed(1)} s`,
        ...remarks(done),
      ]);
    });
}

async function move(flags: Flags, terminal: Terminal): Promise<Transferred> {
  // The query builder and the engines, which no other command line needs to wait for.
  const { transfer } = await import('../../store/transfer.ts');
  const bar = { label: 'moving', total: 100, from: { position: 0, records: 0 } };
  return withRecordProgress(terminal, bar, (show) =>
    transfer({
      ...flags,
      signal: terminal.signal,
      // Comparing reads both sides, which takes about as long as copying: a row is half done before it.
      progress: ({ stage, done, total }) => {
        const moved = ((stage === 'copying' ? 0 : total) + done) / 2;
        show({ position: (100 * moved) / Math.max(1, total), records: Math.floor(moved) });
      },
    }),
  );
}

/** What did not move. */
function remarks({ keyIds }: Transferred): readonly string[] {
  return [
    ...(keyIds.length > 0
      ? [
          `The registry belongs to master key ${keyIds.join(', ')}: give it to every server, as ` +
            'CONNECTORS_MASTER_KEY or as the file master.key in its data directory.',
        ]
      : []),
    'What embedded engines store stays in the data directory: start the server with the same CONNECTORS_DATA_DIR.',
  ];
}

function answerOf({ keyIds, ...done }: Transferred, seconds: number) {
  return { ...done, key_ids: keyIds, seconds: Math.round(seconds * 1_000) / 1_000 };
}
