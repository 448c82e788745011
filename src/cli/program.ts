import { Command, CommanderError } from 'commander';
import { readFileSync } from 'node:fs';
import { isConnectorError } from '../errors/error.ts';
import { addConnectorCommands } from './commands/connectors.ts';
import { addFileCommands } from './commands/files.ts';
import { addFunctionCommands } from './commands/functions.ts';
import { addKeyringCommands } from './commands/keyring.ts';
import { addKeyCommands } from './commands/keys.ts';
import { addMigrateCommand } from './commands/migrate.ts';
import { addServeCommands } from './commands/serve.ts';
import { addTourCommand } from './commands/tour.ts';
import { addVectorCommands } from './commands/vectors.ts';
import { errorLine, say } from './print.ts';
import { readSettings, type Settings } from './settings.ts';
import type { Terminal } from './terminal.ts';

const FAILED = 1;
const WRONG_USAGE = 2;
const INTERRUPTED = 130;

/** Runs a command line and answers its exit code; it never throws. */
export async function runCommand(terminal: Terminal): Promise<number> {
  try {
    const { args } = terminal;
    await program(terminal, readSettings(terminal.env), args).parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has said what is wrong, or printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
    if (terminal.signal.aborted) {
      say(terminal, 'interrupted');
      return INTERRUPTED;
    }
    // Whoever read the output has had enough, as `head` does.
    if (isBrokenPipe(error)) return 0;
    say(terminal, errorLine(error, terminal));
    return isConnectorError(error) && error.code === 'invalid_argument' ? WRONG_USAGE : FAILED;
  }
}

/** The command line, as commander knows it. */
export function program(terminal: Terminal, settings: Settings, args: readonly string[] = []): Command {
  const made = new Command('connectors');
  made
    .description('One typed, tenant-safe way to the vector databases, files and functions of every customer.')
    .option('--url <url>', 'a running server, instead of the data directory (CONNECTORS_URL)')
    .option(
      '--api-key <key>',
      'the key for that server (CONNECTORS_API_KEY; arguments can be seen by other users)',
    )
    .option('--data-dir <path>', `the data directory (CONNECTORS_DATA_DIR, ${settings.CONNECTORS_DATA_DIR})`)
    .option('--tenant <tenant>', 'the tenant that the command is about (CONNECTORS_TENANT)')
    .option('--json', 'answer JSON on stdout, for programs')
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows how)')
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      getOutHelpWidth: () => terminal.columns,
      getErrHelpWidth: () => terminal.columns,
    })
    .addHelpText(
      'after',
      `
A connector is named by its name or its id. Without --url a command works on the data directory itself, which one
process at a time can have. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

Start here:
  connectors start                       run a server and be shown around
  connectors list                        what there is
  connectors search --help               how to use one command`,
    );
  addServeCommands(made, terminal, settings);
  addTourCommand(made, terminal, settings);
  addConnectorCommands(made, terminal, settings);
  addVectorCommands(made, terminal, settings);
  addFileCommands(made, terminal, settings);
  addFunctionCommands(made, terminal, settings);
  addKeyCommands(made, terminal, settings);
  addKeyringCommands(made, terminal, settings);
  addMigrateCommand(made, terminal, settings);
  // After the name of a command the same flag is the command's own, as that of `functions deploy`.
  const before = args.slice(0, Math.max(0, args.indexOf('--version')));
  if (!before.some((arg) => made.commands.some((command) => command.name() === arg)))
    made.version(packageVersion(), '-V, --version');
  inherit(made);
  return made;
}

/** The global options hold wherever they stand, so `list --json` works as `--json list` does; all else is the parent's. */
function inherit(parent: Command): void {
  for (const child of parent.commands) {
    child.copyInheritedSettings(parent);
    child.configureHelp({ showGlobalOptions: true });
    inherit(child);
  }
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    // Our own package file, which npm refuses to publish without one.
    readonly version: string;
  };
  return version;
}

function isBrokenPipe(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'EPIPE' || error.code === 'ERR_STREAM_PREMATURE_CLOSE')
  );
}
