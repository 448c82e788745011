import { type Command, Option } from 'commander';
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';
import { ConnectorError } from '../../errors/error.ts';
import { fileRead } from '../../operations/file.ts';
import { vectorCount, vectorSearch } from '../../operations/vector.ts';
import { FeatureHashing } from '../../tour/feature-hashing.ts';
import { type CommandSession, type ConnectorAnswer, inSession } from '../command-session.ts';
import { json, jsonObject, number } from '../flag-values.ts';
import { example } from '../help.ts';
import { readable, wrapped } from '../print.ts';
import type { Settings } from '../settings.ts';
import type { Terminal } from '../terminal.ts';
import { addVectorCopy } from './vector-copy.ts';
import { addVectorExport } from './vector-export.ts';
import { addVectorImport } from './vector-import.ts';

type SearchFlags = {
  readonly vector?: unknown;
  readonly text?: string;
  readonly filter?: Readonly<Record<string, unknown>>;
  readonly topK: number;
  readonly minScore?: number;
};

/** Adds the commands about vectors. */
export function addVectorCommands(program: Command, terminal: Terminal, settings: Settings): void {
  program
    .command('search <connector>')
    .summary('find the records nearest to a vector or a text')
    .description(
      'Find the records nearest to a vector. --text works for connectors that `tour` filled: it makes the vector by ' +
        'feature hashing, as the tour did, so it finds shared words and not meaning.',
    )
    .addOption(new Option('--vector <json>', 'an array of numbers').argParser(json).conflicts('text'))
    .option('--text <text>', 'a question, for a connector that the tour filled')
    .option('--filter <json>', 'conditions on metadata', jsonObject)
    .option('--top-k <n>', 'matches at most', number, 5)
    .option('--min-score <score>', 'leave out matches below this score, 0 to 1', number)
    .addHelpText(
      'after',
      example(
        'connectors search demo-passages --text "How do I rotate the master key?"',
        `connectors search prices --vector '[0.1, 0.9]' --filter '{"year": {"$gte": 2024}}' --top-k 3`,
      ),
    )
    .action(
      inSession(terminal, settings, async (session, reference: string, flags: SearchFlags) => {
        const connector = await session.find(reference);
        const answer = await session.run(
          vectorSearch,
          {
            vector: await vectorOf(session, connector, flags),
            top_k: flags.topK,
            filter: flags.filter,
            min_score: flags.minScore,
          },
          { connector },
        );
        await session.answer(answer, () => {
          if (answer.matches.length === 0) return 'no matches';
          return answer.matches.map((match) => shown(match, terminal.columns));
        });
      }),
    );

  const vectors = program
    .command('vectors')
    .summary('import, export, copy and count vectors')
    .description('Import, export, copy and count vectors.');

  addVectorImport(vectors, terminal, settings);
  addVectorExport(vectors, terminal, settings);
  addVectorCopy(vectors, terminal, settings);

  vectors
    .command('count <connector>')
    .summary('count the records')
    .description('Count the records, or those that match a filter.')
    .option('--filter <json>', 'conditions on metadata', jsonObject)
    .addHelpText('after', example('connectors vectors count demo-passages'))
    .action(
      inSession(
        terminal,
        settings,
        async (session, reference: string, { filter }: { readonly filter?: unknown }) => {
          const connector = await session.find(reference);
          const answer = await session.run(vectorCount, { filter }, { connector });
          await session.answer(answer, () => String(answer.count));
        },
      ),
    );
}

/** Where the walk says that it keeps what a question needs to become a vector. */
const hashingNote = z.object({
  feature_hashing: z.object({ files_connector: z.string(), statistics: z.string() }),
});

async function vectorOf(
  session: CommandSession,
  connector: ConnectorAnswer,
  flags: SearchFlags,
): Promise<unknown> {
  if (flags.vector !== undefined) return flags.vector;
  if (flags.text === undefined) throw new ConnectorError('invalid_argument', 'give --vector or --text');
  const note = hashingNote.safeParse(connector.metadata);
  if (!note.success)
    throw new ConnectorError(
      'unsupported',
      `${connector.name} was not filled by the tour; give --vector instead of --text`,
    );
  const { files_connector, statistics } = note.data.feature_hashing;
  const files = await session.find(files_connector);
  const { body } = await session.transport.read(fileRead, {
    input: session.inputFor({ path: statistics }, files),
  });
  const kept: unknown = JSON.parse((await buffer(asAsync(body))).toString('utf8'));
  const vector = FeatureHashing.fromStatistics(kept).vector(flags.text);
  if (vector.every((value) => value === 0))
    throw new ConnectorError('invalid_argument', '--text holds no word that carries meaning');
  return Array.from(vector);
}

async function* asAsync(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* body;
}

const place = z.object({ file: z.string(), heading: z.string().default('') });

/** A match for people: where it stands and what it says. */
function shown(
  match: {
    readonly id: string;
    readonly score: number;
    readonly text?: string | undefined;
    readonly metadata?: unknown;
  },
  columns: number,
): string {
  const { data } = place.safeParse(match.metadata);
  const where = data ? [data.file, data.heading].filter((part) => part !== '').join(' · ') : match.id;
  const metadata =
    data || match.metadata === undefined ? [] : [wrapped(JSON.stringify(match.metadata), columns, '       ')];
  const text = match.text === undefined ? [] : [wrapped(readable(match.text), columns, '       ')];
  return [wrapped(`${match.score.toFixed(3)}  ${where}`, columns), ...metadata, ...text].join('\n');
}
