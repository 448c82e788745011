#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const NEEDED_MAJOR = 24;
/** What runs ends within ten seconds after SIGTERM, whatever it waits for: whoever sent that kills it then. */
const EXIT_MS = 9_500;
const self = fileURLToPath(import.meta.url);

// Nothing else is imported before this: on an older Node the imports themselves would fail, and say nothing useful.
if (Number(process.versions.node.split('.')[0]) >= NEEDED_MAJOR) await main();
else useNewerNode();

async function main(): Promise<void> {
  const { runCommand } = await import('./program.ts');
  const interruption = new AbortController();
  const interrupt = () => {
    // The second time somebody means it.
    if (interruption.signal.aborted) process.exit(130);
    interruption.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', () => {
    interrupt();
    setTimeout(() => process.exit(143), EXIT_MS).unref();
  });
  // A reader such as `head` may leave early; the write that was under way reports it.
  process.stdout.on('error', () => {});
  process.exitCode = await runCommand({
    args: process.argv.slice(2),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    isTty: process.stderr.isTTY,
    columns: process.stdout.columns ?? 100,
    command: commandName(),
    signal: interruption.signal,
  });
  // Stdin that was read from and has not ended would keep the process.
  process.stdin.destroy();
}

/** How the command was called, so that the commands that messages suggest can be copied. */
function commandName(): string {
  const called = process.argv[1] ?? 'connectors';
  return basename(called).startsWith('main.') ? `node ${relative(process.cwd(), self)}` : 'connectors';
}

/** Runs the same command on the Node that the project installed for itself, where there is one. */
function useNewerNode(): void {
  const installed = fileURLToPath(new URL('../../node_modules/node/bin/node', import.meta.url));
  if (!existsSync(installed)) {
    console.error(
      `error: connectors needs Node ${NEEDED_MAJOR} or later, and this is ${process.versions.node}`,
    );
    process.exitCode = 1;
    return;
  }
  const child = spawn(installed, [self, ...process.argv.slice(2)], { stdio: 'inherit' });
  // A terminal sends Ctrl-C to both: this process waits for the other one's clean end.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('close', (code) => {
    process.exitCode = code ?? 1;
  });
}
