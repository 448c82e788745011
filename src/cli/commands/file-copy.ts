import type { Command } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import { byteBar } from '../byte-bar.ts';
import { byteSize } from '../bytes.ts';
import { type CommandSession, inSession } from '../command-session.ts';
import { copyOne, type CopyOptions } from '../files/copy-one.ts';
import { checkCopy, endOf } from '../files/ends.ts';
import { inFolder, isFolder, type Place, placeOf, shownPlace } from '../files/place.ts';
import type { RemoteFolder } from '../files/remote-folder.ts';
import { type Assignment, assignment } from '../flag-values.ts';
import { example } from '../help.ts';
import { say } from '../print.ts';
import type { Settings } from '../settings.ts';
import { oneLine, type Terminal } from '../terminal.ts';

type CopyFlags = {
  readonly overwrite: boolean;
  readonly contentType?: string;
  readonly metadata?: readonly Assignment[];
};

type Pair = { readonly from: Place; readonly to: Place };
/** `size` is absent where the backend copied by itself. */
type Copied = { readonly from: string; readonly to: string; readonly size?: number };

/** Adds the commands that copy and rename files. */
export function addFileCopies(files: Command, terminal: Terminal, settings: Settings): void {
  files
    .command('cp <paths...>')
    .usage('[options] <source...> <target>')
    .summary('copy files from and to connectors')
    .description(
      'Copy files: each of the sources and the target is CONNECTOR:PATH, a local path, or `-` for stdin and stdout. A ' +
        'target that ends with `/`, a local folder, and the target of several sources is a folder that the files keep ' +
        'their names in. Files are written whole or not at all, with the content type and the metadata that they have ' +
        'where the target keeps these; within one connector its backend copies by itself where it can.',
    )
    .option('--no-overwrite', 'fail where there is a file already')
    .option('--content-type <type>', 'the type of the copies, for connectors that keep one')
    .option('--metadata <name=value>', 'words of yours to keep with the copies; may be repeated', assignment)
    .addHelpText(
      'after',
      example(
        'connectors files cp report.pdf notes:reports/2026.pdf',
        'connectors files cp photos/*.jpg notes:photos/',
        'connectors files cp notes:a.txt notes:b.txt backup:2026/',
        'connectors files cp notes:reports/2026.pdf .',
        'mysqldump app | connectors files cp - notes:app.sql',
        'connectors files cp logo.svg bucket:logo.svg --content-type image/svg+xml --metadata author=zoe',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, paths: readonly string[], flags: CopyFlags) => {
        const pairs = await pairsOf(session, paths);
        for (const { from, to } of pairs) await checkCopy(from, to, terminal.command);
        checkFlags(session, pairs, flags);
        const copied = await inTurn(terminal, pairs, (pair) => copiedOne(session, pair, flags));
        if (pairs.some(({ to }) => to.kind === 'stream')) return;
        await session.answer({ files: copied }, () => copied.map((one) => sentence('copied', one)));
      }),
    );

  files
    .command('mv <paths...>')
    .usage('<source...> <target>')
    .summary('rename files within a connector')
    .description(
      'Rename files of a connector, or move them into a folder of it: the target is one as with cp. What is at the ' +
        'target is replaced. Where the backend cannot rename, the file is copied and the source then removed.',
    )
    .addHelpText(
      'after',
      example(
        'connectors files mv notes:draft.md notes:final.md',
        'connectors files mv notes:a.txt notes:b.txt notes:archive/',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, paths: readonly string[]) => {
        const pairs = await pairsOf(session, paths);
        for (const { from, to } of pairs) {
          if (from.kind !== 'remote' || to.kind !== 'remote' || !isSame(from, to))
            throw new ConnectorError(
              'invalid_argument',
              `mv renames within one connector; copy ${shownPlace(from)} with \`${terminal.command} files cp\`, and then remove it`,
            );
          await checkCopy(from, to, terminal.command);
        }
        const moved = await inTurn(terminal, pairs, (pair) => movedOne(session, pair));
        await session.answer({ files: moved }, () => moved.map((one) => sentence('moved', one)));
      }),
    );
}

async function pairsOf(session: CommandSession, paths: readonly string[]): Promise<readonly Pair[]> {
  const [last, ...rest] = paths.toReversed();
  const sources = rest.toReversed();
  if (last === undefined || sources.length === 0)
    throw new ConnectorError('invalid_argument', 'give a source and a target');
  const target = await placeOf(session, last);
  if (sources.length > 1 && target.kind === 'stream')
    throw new ConnectorError('invalid_argument', 'only one file goes to stdout');
  const intoFolder = sources.length > 1 || (await isFolder(target));
  const pairs: Pair[] = [];
  for (const source of sources) {
    const from = await placeOf(session, source);
    pairs.push({ from, to: intoFolder && !isFolderItself(from) ? inFolder(target, from) : target });
  }
  const names = new Set(pairs.map(({ to }) => shownPlace(to)));
  if (names.size < pairs.length && pairs.length > 1 && !pairs.some(({ from }) => isFolderItself(from)))
    throw new ConnectorError(
      'invalid_argument',
      'two of the sources have one name, and the target is one folder',
    );
  return pairs;
}

/** A source that `checkCopy` is going to refuse. */
function isFolderItself(place: Place): boolean {
  return place.kind !== 'stream' && (place.path === '' || place.path.endsWith('/'));
}

function isSame(from: Place, to: Place): boolean {
  return (
    from.kind === 'remote' &&
    to.kind === 'remote' &&
    from.connector.connector_id === to.connector.connector_id
  );
}

function checkFlags(session: CommandSession, pairs: readonly Pair[], flags: CopyFlags): void {
  const kept = flags.contentType !== undefined || flags.metadata !== undefined;
  if (kept && pairs.some(({ to }) => to.kind !== 'remote'))
    throw new ConnectorError('invalid_argument', 'only files of connectors keep a content type or metadata');
  if (session.json && pairs.some(({ to }) => to.kind === 'stream'))
    throw new ConnectorError('invalid_argument', 'the file itself goes to stdout; leave --json out');
}

/** One pair after another; where one fails, a person is told how many are done. */
async function inTurn(
  terminal: Terminal,
  pairs: readonly Pair[],
  work: (pair: Pair) => Promise<Copied>,
): Promise<readonly Copied[]> {
  const done: Copied[] = [];
  for (const pair of pairs) {
    try {
      done.push(await work(pair));
    } catch (error) {
      if (pairs.length > 1)
        say(
          terminal,
          oneLine(`${done.length} of ${pairs.length} files are done, not ${shownPlace(pair.from)}`),
        );
      throw error;
    }
  }
  return done;
}

async function copiedOne(session: CommandSession, { from, to }: Pair, flags: CopyFlags): Promise<Copied> {
  const [source, target] = [endOf(session, from), endOf(session, to)];
  const bar = byteBar(session.terminal, shownPlace(from));
  const options: CopyOptions = {
    overwrite: flags.overwrite,
    // What was read from stdin, or went to stdout, is gone.
    attempts: from.kind === 'stream' || to.kind === 'stream' ? 1 : undefined,
    contentType: flags.contentType,
    metadata: flags.metadata && Object.fromEntries(flags.metadata.map(({ name, value }) => [name, value])),
    onSize(bytes) {
      bar.expect(bytes);
      bar.complete();
    },
    onBytes: (bytes) => bar.add(bytes),
  };
  try {
    const size = await copyOne(
      { from: source.side, fromPath: source.path, to: target.side, toPath: target.path },
      options,
      session.terminal.signal,
    );
    return { from: shownPlace(from), to: shownPlace(to), ...(size !== undefined && { size }) };
  } finally {
    bar.stop();
  }
}

async function movedOne(session: CommandSession, { from, to }: Pair): Promise<Copied> {
  const answer = { from: shownPlace(from), to: shownPlace(to) };
  const [source, target] = [endOf(session, from), endOf(session, to)];
  // Both were checked to be of one connector.
  const [fromSide, toSide] = [source.side as RemoteFolder, target.side as RemoteFolder];
  if (await toSide.transferWithin('move', fromSide, source.path, target.path)) return answer;
  const copying = { from: fromSide, fromPath: source.path, to: toSide, toPath: target.path };
  const size = await copyOne(copying, {}, session.terminal.signal);
  await fromSide.remove(source.path);
  return { ...answer, ...(size !== undefined && { size }) };
}

function sentence(done: string, { from, to, size }: Copied): string {
  return oneLine(`${done} ${from} to ${to}${size === undefined ? '' : `, ${byteSize(size)}`}`);
}
