import { type Command, Option } from 'commander';
import { INVOCATION_STATUSES } from '../../connectors/serverless/invocations.ts';
import { ConnectorError } from '../../errors/error.ts';
import { invocationCancel, invocationGet, invocationList } from '../../operations/invocations.ts';
import type { Answer } from '../../operations/operation.ts';
import { inSession } from '../command-session.ts';
import { number } from '../flag-values.ts';
import { example } from '../help.ts';
import { facts, table } from '../print.ts';
import type { Settings } from '../settings.ts';
import { plain, type Terminal } from '../terminal.ts';

/** Seconds that one request waits; a longer wait is several. */
const WAIT_STEP = 30;

type ListFlags = {
  readonly function?: string;
  readonly status?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit?: number;
  readonly cursor?: string;
};

/** Adds the commands about invocations that are stored. */
export function addInvocationCommands(functions: Command, terminal: Terminal, settings: Settings): void {
  functions
    .command('result <connector> <request-id>')
    .summary('show what became of an invocation')
    .description(
      'Show what became of an invocation, while it is known. Exit code 1 where it ended otherwise than completed.',
    )
    .option(
      '--wait [seconds]',
      'wait until it has ended; for so long at most, where a number is given',
      number,
    )
    .addHelpText(
      'after',
      example(
        'connectors functions result demo-functions 6f1c0a3e-…',
        'connectors functions result demo-functions 6f1c0a3e-… --wait',
      ),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (
          session,
          reference: string,
          requestId: string,
          { wait = 0 }: { readonly wait?: number | true },
        ) => {
          const connector = await session.find(reference);
          const ask = (seconds: number) =>
            session.run(invocationGet, { request_id: requestId, wait: seconds }, { connector });
          let left = wait === true ? Number.POSITIVE_INFINITY : wait;
          let answer = await ask(Math.min(left, WAIT_STEP));
          while (isUnderWay(answer) && (left -= WAIT_STEP) > 0) answer = await ask(Math.min(left, WAIT_STEP));
          await session.answer(answer, () => shownInvocation(answer));
          throwIfFailed(answer);
        },
      ),
    );

  functions
    .command('invocations <connector>')
    .summary('list stored invocations')
    .description('List the stored invocations of a connector, newest first.')
    .option('--function <name>', 'only those of this function')
    .addOption(new Option('--status <status>', 'only those with this status').choices(INVOCATION_STATUSES))
    .option('--since <time>', 'only those accepted at this time (ISO 8601) or after')
    .option('--until <time>', 'only those accepted before this time')
    .option('--limit <n>', 'invocations, at most (100)', number)
    .option('--cursor <cursor>', 'where the page before ended')
    .addHelpText(
      'after',
      example(
        'connectors functions invocations demo-functions',
        'connectors functions invocations demo-functions --status failed --since 2026-11-28T00:00:00Z',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, reference: string, flags: ListFlags) => {
        const connector = await session.find(reference);
        const answer = await session.run(invocationList, flags, { connector });
        await session.answer(answer, () => {
          if (answer.invocations.length === 0) return 'no invocations';
          const more = answer.next_cursor === undefined ? [] : [`more: --cursor ${answer.next_cursor}`];
          return [
            table(['REQUEST', 'FUNCTION', 'STATUS', 'ACCEPTED', 'MS', 'ERROR'], answer.invocations.map(row)),
            ...more,
          ];
        });
      }),
    );

  functions
    .command('cancel <connector> <request-id>')
    .summary('end an invocation that has not ended')
    .description(
      'End an invocation that has not ended: one that waits is never run, one that runs is given up. One that has ended is shown as it ended.',
    )
    .addHelpText('after', example('connectors functions cancel demo-functions 6f1c0a3e-…'))
    .action(
      inSession(terminal, settings, async (session, reference: string, requestId: string) => {
        const connector = await session.find(reference);
        const answer = await session.run(invocationCancel, { request_id: requestId }, { connector });
        await session.answer(answer, () => shownInvocation(answer));
      }),
    );
}

type Invocation = Answer<typeof invocationGet>;

function isUnderWay({ status }: Invocation): boolean {
  return status === 'queued' || status === 'running';
}

function row({ request_id, function: name, status, created_at, duration_ms, error }: Invocation) {
  return [request_id, name, status, created_at, duration_ms?.toFixed(1), error && told(error)];
}

/** An invocation for people. */
export function shownInvocation(invocation: Invocation): readonly string[] {
  const { function: name, request_id, status, duration_ms, result, error, logs } = invocation;
  const { created_at, ended_at, failures, native } = invocation;
  return [
    facts([
      ['function', name],
      ['request', request_id],
      ['status', status],
      ['accepted', created_at],
      ['ended', ended_at],
      ['duration', duration_ms === undefined ? undefined : `${duration_ms.toFixed(1)} ms`],
      ['platform', native && `${native.kind} ${native.id}`],
      ['failures', failures === undefined ? undefined : `${failures} of the platform`],
      ['error', error && told(error)],
    ]),
    ...(logs ? [`logs\n${plain(logs).trimEnd()}`] : []),
    ...(result === undefined ? [] : [plain(JSON.stringify(result, null, 2))]),
  ];
}

/** @throws ConnectorError where it ended otherwise than completed. */
export function throwIfFailed({ function: name, status, error }: Invocation): void {
  if (status === 'queued' || status === 'running' || status === 'completed') return;
  const words = status === 'failed' ? 'failed' : status === 'timed_out' ? 'timed out' : `is ${status}`;
  throw new ConnectorError('backend_error', `function ${name} ${words}${error ? `: ${error.message}` : ''}`);
}

function told({ name, message }: NonNullable<Invocation['error']>): string {
  return `${name}: ${message}`;
}
