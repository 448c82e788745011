import { type Command, InvalidArgumentError } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import { vectorCount } from '../../operations/vector.ts';
import { type CommandSession, inSession } from '../command-session.ts';
import { type CopyReport, differences, reportTable, verify } from '../copy-check.ts';
import { type Connectors, copyAll, type CopyStanding, copyStanding } from '../copy-records.ts';
import { number } from '../flag-values.ts';
import { example } from '../help.ts';
import { openJob, stateFolder } from '../jobs.ts';
import { say } from '../print.ts';
import { count } from '../progress.ts';
import { reportRefusals } from '../refusals.ts';
import type { Settings } from '../settings.ts';
import { keepMemorySteady } from '../steady-memory.ts';
import type { Terminal } from '../terminal.ts';
import { shapeOf } from '../vector-pages.ts';

type CopyFlags = {
  readonly restart?: boolean;
  readonly minAgreement: number;
  readonly allowMetricChange?: boolean;
};

/** Adds `vectors copy`. */
export function addVectorCopy(vectors: Command, terminal: Terminal, settings: Settings): void {
  vectors
    .command('copy <from> <to>')
    .summary('copy all records to another connector, and verify the copy')
    .description(
      'Copy all records of one vector connector to another of the same tenant, whatever backends the two have; records ' +
        'with the same ids are replaced. After any interruption the same command goes on behind what was acknowledged. At ' +
        'the end both are compared: how many records they hold, 100 records in full, and 100 searches for the nearest 10. ' +
        'Exit code 1 where they differ. Nobody should write to either meanwhile.',
    )
    .option('--restart', 'begin at the first record, whatever an interrupted run has copied')
    .option(
      '--min-agreement <share>',
      'ids that the searches must have in common, 0 to 1; approximate indexes may differ',
      share,
      0.99,
    )
    .option('--allow-metric-change', 'copy to another distance metric; then searches are not compared')
    .addHelpText(
      'after',
      example(
        'connectors vectors copy prices prices-pg',
        'connectors vectors copy prices prices-pg --min-agreement 0.95 --json',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, source: string, target: string, flags: CopyFlags) => {
        keepMemorySteady();
        const both = { from: await session.find(source), to: await session.find(target) };
        checkBoth(both, flags);
        const job = await openJob(terminal, stateFolder(settings), {
          names: ['copy', both.from.connector_id, both.to.connector_id],
          schema: copyStanding,
        });
        if (flags.restart) await job.end();
        const at = await startOf(session, both, flags.restart ? undefined : job.left);
        const done = await copyAll(session, both, { job, at });
        const report = await verify(session, both, { ...done, minAgreement: flags.minAgreement });
        await job.end();
        await session.answer(report, () => reportTable(report, both));
        const named = done.errors.map(({ id, ...error }) => ({ ...error, where: id }));
        reportRefusals(terminal, named, done.failed);
        throwForDifferences(report, both, flags);
      }),
    );
}

function share(text: string): number {
  const parsed = number(text);
  if (parsed >= 0 && parsed <= 1) return parsed;
  throw new InvalidArgumentError('it is not a number from 0 to 1.');
}

/** @throws ConnectorError `invalid_argument` before anything is written, where one cannot hold what the other does. */
function checkBoth({ from, to }: Connectors, { allowMetricChange = false }: CopyFlags): void {
  const refuse = (message: string): never => {
    throw new ConnectorError('invalid_argument', `${message}; nothing was copied`);
  };
  const [source, target] = [shapeOf(from), shapeOf(to)];
  if (from.connector_id === to.connector_id) refuse(`${from.name} cannot be copied to itself`);
  if (from.tenant_id !== to.tenant_id)
    refuse(`${from.name} is of the tenant ${from.tenant_id}, and ${to.name} of ${to.tenant_id}`);
  const [had, has] = [source.vector_dimension, target.vector_dimension];
  if (had !== has) refuse(`${from.name} holds vectors of dimension ${had}, and ${to.name} takes ${has}`);
  const [metric, other] = [source.distance_metric, target.distance_metric];
  if (metric !== other && !allowMetricChange)
    refuse(
      `${from.name} measures by ${metric}, and ${to.name} by ${other}; allow it with --allow-metric-change`,
    );
}

/** Where an earlier run stopped, or the beginning. */
async function startOf(
  session: CommandSession,
  { to }: Connectors,
  left: CopyStanding | undefined,
): Promise<CopyStanding> {
  const { terminal } = session;
  const { count: held } = await session.run(vectorCount, {}, { connector: to });
  if (left && (held > 0 || left.copied === 0)) {
    say(terminal, `going on behind ${count(left.copied)} records; --restart begins anew`);
    return left;
  }
  if (left)
    say(terminal, `${to.name} holds nothing any more of what was copied; beginning at the first record`);
  else if (held > 0)
    say(terminal, `${to.name} holds ${count(held)} records already; those with the same ids are replaced`);
  return { version: 1, isRead: false, copied: 0, failed: 0, errors: [], before: held, sample: [] };
}

function throwForDifferences(
  report: CopyReport,
  { from, to }: Connectors,
  { minAgreement }: CopyFlags,
): void {
  const found = differences(report, minAgreement);
  if (found.length > 0)
    throw new ConnectorError(
      'backend_error',
      `${to.name} is not a copy of ${from.name}: ${found.join('; ')}`,
    );
}
