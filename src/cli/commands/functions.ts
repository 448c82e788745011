import type { Command } from 'commander';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ConnectorError } from '../../errors/error.ts';
import type { Answer } from '../../operations/operation.ts';
import { invocationGet } from '../../operations/invocations.ts';
import { functionDeploy, functionInvoke, functionList } from '../../operations/serverless.ts';
import { inSession } from '../command-session.ts';
import { json, number, textOfStdin } from '../flag-values.ts';
import { example } from '../help.ts';
import { facts, table } from '../print.ts';
import type { Settings } from '../settings.ts';
import { plain, type Terminal } from '../terminal.ts';

type InvokeFlags = {
  readonly payload?: unknown;
  readonly async?: boolean;
  readonly idempotencyKey?: string;
  readonly timeoutSeconds?: number;
};

/** Adds the commands about functions. */
export function addFunctionCommands(program: Command, terminal: Terminal, settings: Settings): void {
  const functions = program
    .command('functions')
    .summary('deploy, list and invoke functions')
    .description('Work with the functions of a connector.');

  functions
    .command('ls <connector>')
    .summary('list functions')
    .description('List the functions of a connector.')
    .addHelpText('after', example('connectors functions ls demo-functions'))
    .action(
      inSession(terminal, settings, async (session, reference: string) => {
        const connector = await session.find(reference);
        const answer = await session.run(functionList, {}, { connector });
        await session.answer(answer, () => {
          if (answer.functions.length === 0) return 'no functions';
          return table(
            ['NAME', 'RUNTIME', 'MODIFIED', 'DESCRIPTION'],
            answer.functions.map((f) => [f.name, f.runtime, f.last_modified, f.description]),
          );
        });
      }),
    );

  functions
    .command('invoke <connector> <function>')
    .summary('invoke a function')
    .description('Invoke a function and print its result. Exit code 1 where the function failed.')
    .option('--payload <json>', 'what the function is called with; `-` reads it from stdin')
    .option('--async', 'answer as soon as the invocation is stored; `functions result` fetches the result')
    .option('--idempotency-key <key>', 'the same key answers the first call and does not call again')
    .option('--timeout-seconds <s>', 'time limit of the function', number)
    .addHelpText(
      'after',
      example(
        `connectors functions invoke demo-functions summarize --payload '{"text": "One. Two."}'`,
        'connectors functions invoke demo-functions summarize --async --payload - < payload.json',
      ),
    )
    .action(
      inSession(terminal, settings, async (session, reference: string, name: string, flags: InvokeFlags) => {
        const given = flags.payload === '-' ? await textOfStdin(terminal) : flags.payload;
        const connector = await session.find(reference);
        const answer = await session.run(
          functionInvoke,
          {
            name,
            payload: typeof given === 'string' ? json(given) : null,
            async: flags.async ?? false,
            idempotency_key: flags.idempotencyKey,
            timeout_seconds: flags.timeoutSeconds,
          },
          { connector },
        );
        await session.answer(answer, () => shown(answer));
        throwIfFailed(answer);
      }),
    );

  functions
    .command('result <connector> <request-id>')
    .summary('show what became of an invocation')
    .description(
      'Show what became of an invocation, while it is known. Exit code 1 where the function failed.',
    )
    .addHelpText('after', example('connectors functions result demo-functions 6f1c0a3e-…'))
    .action(
      inSession(terminal, settings, async (session, reference: string, requestId: string) => {
        const connector = await session.find(reference);
        const answer = await session.run(invocationGet, { request_id: requestId }, { connector });
        await session.answer(answer, () => shown(answer));
        throwIfFailed(answer);
      }),
    );

  functions
    .command('deploy <connector> <function> <file>')
    .summary('deploy a function')
    .description(
      'Deploy a file that exports `handler(event, context)` or a fetch-style default, replacing the function of that ' +
        'name as a whole. A file that does not build is refused, and the old function goes on serving.',
    )
    .addHelpText('after', example('connectors functions deploy demo-functions greet greet.ts --tenant demo'))
    .action(
      inSession(terminal, settings, async (session, reference: string, name: string, file: string) => {
        const connector = await session.find(reference);
        const code = await readFile(file, 'utf8').catch((cause: unknown) => {
          throw new ConnectorError('invalid_argument', `${file} is not a file that can be read`, { cause });
        });
        const source = { name, code, filename: basename(file) };
        const deployed = await session.run(functionDeploy, source, { connector });
        await session.answer(deployed, () => `deployed ${deployed.name}`);
      }),
    );
}

type Invocation = Answer<typeof invocationGet>;

function shown({
  function: name,
  request_id,
  status,
  duration_ms,
  result,
  error,
  logs,
}: Invocation): readonly string[] {
  return [
    facts([
      ['function', name],
      ['request', request_id],
      ['status', status],
      ['duration', duration_ms === undefined ? undefined : `${duration_ms.toFixed(1)} ms`],
      ['error', error && `${error.name}: ${error.message}`],
    ]),
    ...(logs ? [`logs\n${plain(logs).trimEnd()}`] : []),
    ...(result === undefined ? [] : [plain(JSON.stringify(result, null, 2))]),
  ];
}

function throwIfFailed({ function: name, status, error }: Invocation): void {
  if (status !== 'failed' && status !== 'timed_out') return;
  throw new ConnectorError(
    'backend_error',
    `function ${name} ${status === 'failed' ? `failed: ${error?.message ?? ''}` : 'timed out'}`,
  );
}
