/**
 * What the package costs before it does anything: importing `.` in a fresh process, and the size of what is published.
 *
 *     node bench/start.ts [--quick]
 */
import { execFileSync } from 'node:child_process';
import { median } from './pairs.ts';
import { report } from './report.ts';

const RUNS = process.argv.includes('--quick') ? 5 : 15;

const registry = median(imports(new URL('../dist/index.js', import.meta.url).href));
const empty = median(imports('data:text/javascript,'));
const [packed] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=silent'], {
    encoding: 'utf8',
  }),
) as { size: number; unpackedSize: number; entryCount: number }[];
if (!packed) throw new Error('npm pack answered nothing');

report('start', [
  {
    what: 'importing . over an empty import',
    figure: registry - empty,
    unit: 'ms',
    target: '<= 60',
    ok: registry - empty <= 60,
    note: `${registry.toFixed(1)} ms against ${empty.toFixed(1)} ms, medians of ${RUNS}`,
  },
  {
    what: 'packed size',
    figure: packed.size / 2 ** 20,
    unit: 'MB',
    target: '<= 2',
    ok: packed.size <= 2 * 2 ** 20,
    note: `${packed.entryCount} files, ${(packed.unpackedSize / 2 ** 20).toFixed(2)} MB unpacked`,
  },
]);

/** Wall time of fresh processes that import one module, in milliseconds. */
function imports(module: string): number[] {
  return Array.from({ length: RUNS }, () => {
    const startMs = performance.now();
    execFileSync(process.execPath, ['--input-type=module', '-e', `await import(${JSON.stringify(module)})`]);
    return performance.now() - startMs;
  });
}
