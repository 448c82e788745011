import type { Command } from 'commander';
import { ConnectorError } from '../../errors/error.ts';
import {
  functionDeploy,
  functionInvoke,
  functionList,
  functionLogs,
  functionRemove,
} from '../../operations/serverless.ts';
import { inSession } from '../command-session.ts';
import { json, number, textOfStdin } from '../flag-values.ts';
import { example } from '../help.ts';
import { localSource } from '../function-source.ts';
import { table } from '../print.ts';
import type { Settings } from '../settings.ts';
import { plain, type Terminal } from '../terminal.ts';
import { addInvocationCommands, shownInvocation, throwIfFailed } from './invocations.ts';

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
            ['NAME', 'RUNTIME', 'MODIFIED', 'VERSION', 'EARLIER', 'DESCRIPTION'],
            answer.functions.map((f) => [
              f.name,
              f.runtime,
              f.last_modified,
              f.version,
              f.versions?.filter((version) => version !== f.version).join(' '),
              f.description,
            ]),
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
        await session.answer(answer, () => shownInvocation(answer));
        throwIfFailed(answer);
      }),
    );

  functions
    .command('deploy <connector> [source]')
    .summary('deploy a function, or roll it back')
    .description(
      'Deploy a file, or a folder with an index file, that exports `handler(event, context)` or a fetch-style default. ' +
        'It replaces the function of that name as a whole; one that does not build or load is refused, and the one before ' +
        'goes on serving. With --version, an earlier version that is kept runs again.',
    )
    .option('--name <function>', 'its name; that of the file or folder unless given')
    .option('--version <version>', 'roll back to this version instead; `functions ls` shows them')
    .addHelpText(
      'after',
      example(
        'connectors functions deploy demo-functions greet.ts --tenant demo',
        'connectors functions deploy demo-functions ./summarize --name summarize-2 --tenant demo',
        'connectors functions deploy demo-functions --name greet --version 3 --tenant demo',
      ),
    )
    .action(
      inSession(
        terminal,
        settings,
        async (session, reference: string, path: string | undefined, flags: DeployFlags) => {
          const input = await deployment(path, flags);
          const connector = await session.find(reference);
          const deployed = await session.run(functionDeploy, input, { connector });
          const version = deployed.version === undefined ? '' : `, version ${deployed.version}`;
          await session.answer(deployed, () => `deployed ${deployed.name}${version}`);
        },
      ),
    );

  functions
    .command('rm <connector> <function>')
    .alias('remove')
    .summary('remove a function')
    .description('Remove a function, its kept versions and its logs. Exit code 0 also where there is none.')
    .addHelpText('after', example('connectors functions rm demo-functions greet --tenant demo'))
    .action(
      inSession(terminal, settings, async (session, reference: string, name: string) => {
        const connector = await session.find(reference);
        const answer = await session.run(functionRemove, { name }, { connector });
        await session.answer(answer, () =>
          answer.deleted ? `removed ${name}` : `there is no function ${name}`,
        );
      }),
    );

  functions
    .command('logs <connector> <function>')
    .summary('show what a function wrote last')
    .description('Show what a function wrote last, oldest first.')
    .option('--limit <n>', 'entries, at most (100)', number)
    .addHelpText('after', example('connectors functions logs demo-functions summarize --limit 20'))
    .action(
      inSession(
        terminal,
        settings,
        async (session, reference: string, name: string, { limit }: { readonly limit?: number }) => {
          const connector = await session.find(reference);
          const answer = await session.run(functionLogs, { name, limit }, { connector });
          await session.answer(answer, () =>
            answer.logs.length === 0
              ? [`${name} wrote nothing`]
              : answer.logs.map(({ at, request_id: id, text }) =>
                  [at, ...(id === undefined ? [] : [id]), plain(text).trimEnd()].join('  '),
                ),
          );
        },
      ),
    );

  addInvocationCommands(functions, terminal, settings);
}

type DeployFlags = { readonly name?: string; readonly version?: string };

/** What `function.deploy` is to be told. @throws ConnectorError `invalid_argument` naming what is missing. */
async function deployment(
  path: string | undefined,
  { name, version }: DeployFlags,
): Promise<Readonly<Record<string, unknown>>> {
  if (version !== undefined) {
    if (name === undefined || path !== undefined)
      throw new ConnectorError('invalid_argument', '--version goes with --name and without a source');
    return { name, version };
  }
  if (path === undefined)
    throw new ConnectorError(
      'invalid_argument',
      'name a file or folder to deploy, or a --version to roll back to',
    );
  const found = await localSource(path);
  return { name: name ?? found.name, ...found.source };
}
