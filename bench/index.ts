/**
 * Every benchmark, one after another, each in a process of its own.
 *
 *     npm run bench [-- --quick] [-- NAME ...]
 *
 * They report and never assert: a figure that misses its target is printed as such and explained in docs/decisions.md.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

const NOT_BENCHMARKS = new Set([
  'index',
  'report',
  'pairs',
  'bare-clients',
  'bare-file-clients',
  'vector-data',
]);

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.ts') && !file.includes('.fixture.') && !file.endsWith('.test.ts'))
  .map((file) => basename(file, '.ts'))
  .filter((name) => !NOT_BENCHMARKS.has(name))
  .sort();
const chosen = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('-'));

const unknown = chosen.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`there is no benchmark ${unknown.join(', ')}; there are ${names.join(', ')}`);
  process.exit(2);
}

const failed: string[] = [];
for (const name of chosen.length > 0 ? chosen : names) {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, `${name}.ts`), ...flags], {
    stdio: 'inherit',
  });
  if (status !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`\nbenchmarks that ended with an error: ${failed.join(', ')}`);
  process.exit(1);
}
