import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A name for people → the command and its arguments. */
export type Checks = Readonly<Record<string, readonly string[]>>;

/**
 * Runs the checks and exits, with 1 where one failed: the complaints of those, and a line with the time for each.
 *
 * One after another, because each of them uses all the cores there are.
 */
export async function runChecks(checks: Checks): Promise<never> {
  const failed: string[] = [];
  for (const [name, [command = '', ...args]] of Object.entries(checks)) {
    const since = performance.now();
    const { ok, output } = await run(command, args);
    if (!ok) failed.push(name);
    // A script of ours has figures to show; the other tools only speak when something is wrong.
    if (!ok || command === 'node') console.log(output.trim());
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${((performance.now() - since) / 1000).toFixed(1)} s)`);
  }
  process.exit(failed.length === 0 ? 0 : 1);
}

function run(
  command: string,
  args: readonly string[],
): Promise<{ readonly ok: boolean; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (data) => (output += String(data)));
    child.stderr.on('data', (data) => (output += String(data)));
    child.once('error', reject);
    child.once('close', (status) => resolve({ ok: status === 0, output }));
  });
}
