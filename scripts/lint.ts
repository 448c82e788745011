/** Checks the sources: rules and boundaries, types, format, and that what is generated is up to date. */
import { runChecks } from './checks.ts';

await runChecks({
  'rules, boundaries, cycles, file length': ['oxlint'],
  types: ['tsc', '--noEmit', '-p', '.'],
  format: ['prettier', '--check', '--log-level=warn', '.'],
  'generated files': ['node', 'scripts/generate.ts', '--check'],
});
