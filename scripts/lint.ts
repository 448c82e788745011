/** Runs every check of the sources, shows the complaints of those that fail, and says what each took. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const CHECKS: Readonly<Record<string, readonly string[]>> = {
  'rules, boundaries, cycles, file length': ['oxlint'],
  types: ['tsc', '--noEmit', '-p', '.'],
  format: ['prettier', '--check', '--log-level=warn', '.'],
  'generated files': ['node', 'scripts/generate.ts', '--check'],
  docstrings: ['node', 'scripts/check-docs.ts'],
};

let failed = 0;
// One after another: each of them uses all the cores there are.
for (const [name, [command = '', ...args]] of Object.entries(CHECKS)) {
  const since = performance.now();
  const { ok, output } = await run(command, args);
  if (!ok) {
    failed += 1;
    console.log(output.trim());
  }
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${((performance.now() - since) / 1000).toFixed(1)} s)`);
}
process.exit(failed === 0 ? 0 : 1);

function run(
  command: string,
  args: readonly string[],
): Promise<{ readonly ok: boolean; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: fileURLToPath(new URL('..', import.meta.url)) });
    let output = '';
    child.stdout.on('data', (data) => (output += String(data)));
    child.stderr.on('data', (data) => (output += String(data)));
    child.once('error', reject);
    child.once('close', (status) => resolve({ ok: status === 0, output }));
  });
}
