import { type Command, InvalidArgumentError, Option } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import { type CommandSession, inSession } from '../command-session.ts';
import { compared, COMPARISONS, type Comparison } from '../files/changes.ts';
import { LocalFolder } from '../files/local-folder.ts';
import { type Place, placeOf } from '../files/place.ts';
import { checkOneTenant } from '../files/remote.ts';
import { RemoteFolder } from '../files/remote-folder.ts';
import type { Side } from '../files/side.ts';
import { syncPlan } from '../files/sync-plan.ts';
import { failedSync, reportTable } from '../files/sync-report.ts';
import { runSync } from '../files/sync-run.ts';
import { number } from '../flag-values.ts';
import { example } from '../help.ts';
import { say } from '../print.ts';
import { count } from '../progress.ts';
import { NAMED_REFUSALS } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { keepMemorySteady } from '../steady-memory.ts';
import { oneLine, type Terminal } from '../terminal.ts';

type SyncFlags = {
  readonly by: Comparison;
  readonly delete?: boolean;
  readonly allowEmpty?: boolean;
  readonly dryRun?: boolean;
  readonly parallel: number;
};

/** Adds `files sync`. */
export function addFileSync(files: Command, terminal: Terminal, settings: Settings): void {
  files
    .command('sync <source> <target>')
    .summary('make a folder hold what another one does')
    .description(
      'Copy the files below one folder to another: each is a local folder or CONNECTOR:PATH, at least one of a ' +
        'connector. Files that are there already are skipped, so after an interruption or a failure the same command ' +
        'goes on where it stopped; every file is written whole or not at all. Local links and special files are passed ' +
        'over and counted. Exit code 1 where a file failed.',
    )
    .addOption(
      new Option('--by <what>', 'what tells that a file has changed, besides its size')
        .choices(COMPARISONS)
        .default('time'),
    )
    .option('--delete', 'remove files of the target that the source has not')
    .option('--allow-empty', 'with --delete: also where the source holds nothing at all')
    .option('--dry-run', 'say what would be done, and do nothing')
    .option('--parallel <n>', 'files that are on their way at once, 1 to 64', parallel, 4)
    .addHelpText(
      'after',
      `
What --by compares, once the sizes are equal:
  time     copies what was changed at the source after the target was written. A local target keeps the
           time of its source. Connectors keep that of the write: an older file of the same size that was
           put in the place of a newer one is not noticed, and both clocks have to be right
  size     nothing else
  etag     copies unless the etags are equal: for two connectors of a provider that makes them of the content
  content  reads both sides and copies what differs: sure, and as slow as reading everything`,
    )
    .addHelpText(
      'after',
      example(
        'connectors files sync ./photos notes:photos',
        'connectors files sync notes: backup:notes --delete --dry-run',
        'connectors files sync backup:notes ./restored --parallel 16',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, source: string, target: string, flags: SyncFlags) => {
        const [from, to] = [await sideOf(session, source), await sideOf(session, target)];
        checkSides(from, to, flags);
        if (from instanceof LocalFolder) await from.check('source');
        if (to instanceof LocalFolder) await to.check('target');
        keepMemorySteady();
        const plan = syncPlan(from.list(), to.list(), {
          compare: (file, other) =>
            compared(file, other, {
              by: flags.by,
              isLocal: from instanceof LocalFolder || to instanceof LocalFolder,
            }),
          deletes: flags.delete ?? false,
          allowsEmpty: flags.allowEmpty ?? false,
        });
        const isDryRun = flags.dryRun ?? false;
        const options = { parallel: flags.parallel, isDryRun, isNamed: isDryRun && !session.json };
        const report = await runSync(terminal, { from, to, plan }, options);
        await session.answer(report, () => reportTable(report));
        for (const { path, message, code } of report.failures.slice(0, NAMED_REFUSALS))
          say(terminal, oneLine(`failed: ${path}: ${message} (${code})`));
        if (report.failed > NAMED_REFUSALS)
          say(terminal, `and ${count(report.failed - NAMED_REFUSALS)} more`);
        if (report.failed > 0) throw failedSync(report);
      }),
    );
}

function parallel(text: string): number {
  const parsed = number(text);
  if (Number.isInteger(parsed) && parsed >= 1 && parsed <= 64) return parsed;
  throw new InvalidArgumentError('it is not a whole number from 1 to 64.');
}

async function sideOf(session: CommandSession, text: string): Promise<LocalFolder | RemoteFolder> {
  const place: Place = await placeOf(session, text);
  if (place.kind === 'remote') return new RemoteFolder(session, place);
  if (place.kind === 'local') return new LocalFolder(place.path, session.terminal.signal);
  throw new ConnectorError('invalid_argument', 'sync works on folders; `-` is none');
}

/** @throws ConnectorError `invalid_argument` for sides that no sync can mean. */
function checkSides(from: Side, to: Side, { by }: SyncFlags): void {
  const refuse = (message: string): never => {
    throw new ConnectorError('invalid_argument', message);
  };
  const remote = [from, to].filter((side) => side instanceof RemoteFolder);
  const [one, other] = remote;
  if (!one) refuse(`one of ${from.name} and ${to.name} has to be of a connector, as CONNECTOR:PATH is`);
  if (one && other) checkOneTenant(one.connector, other.connector);
  if (one && other && one.connector.connector_id === other.connector.connector_id)
    if (isWithin(one.base, other.base) || isWithin(other.base, one.base))
      refuse(`${from.name} and ${to.name} lie in one another`);
  if (by === 'etag' && one?.connector.provider !== other?.connector.provider)
    refuse('etags compare between two connectors of one provider alone; use --by content');
}

function isWithin(inner: string, outer: string): boolean {
  return outer === '' || inner === outer || inner.startsWith(`${outer}/`);
}
