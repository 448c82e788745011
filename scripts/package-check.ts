/** Checks the package as a consumer gets it: unused code, exports, types, public API, and a real installation. */
import { runChecks } from './checks.ts';

await runChecks({
  'nothing unused': ['knip'],
  'package.json': ['publint', '--strict'],
  'types resolve': ['attw', '--pack', '.', '--profile', 'esm-only'],
  'public API': ['node', 'scripts/api-report.ts', '--check'],
  'as a consumer': ['node', 'scripts/consumer-check.ts'],
});
