/**
 * Packs the package, installs it into an empty folder as a consumer would, and uses it from there.
 *
 * Imports every entry point, type-checks a small program against the declarations, runs the command, and prints the
 * packed size and the time that importing the library takes over an empty import.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { drivers } from '../src/drivers.generated.ts';

const MAX_PACKED_BYTES = 2_000_000;
const MAX_IMPORT_MS = 60;
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'connector-registry-consumer-'));

try {
  const { filename, size } = pack();
  install(filename);
  importEverything();
  checkProgram();
  runCommand();
  console.log(`packed size: ${(size / 1e6).toFixed(2)} MB (at most ${MAX_PACKED_BYTES / 1e6})`);
  const importMs = importTimeMs();
  console.log(
    `importing the library over an empty import: ${importMs.toFixed(1)} ms (to reach: ${MAX_IMPORT_MS})`,
  );
  if (size > MAX_PACKED_BYTES) throw new Error('the package is too large');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function pack(): { readonly filename: string; readonly size: number } {
  const json = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: root,
    encoding: 'utf8',
  });
  // A parse boundary: npm's own report of the one package that it packed.
  const [packed] = JSON.parse(json) as { readonly filename: string; readonly size: number }[];
  if (packed === undefined) throw new Error('npm pack packed nothing');
  return packed;
}

function install(filename: string): void {
  writeFileSync(join(folder, 'package.json'), '{ "name": "consumer", "private": true, "type": "module" }');
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', '--loglevel=error'];
  execFileSync('npm', ['install', ...quiet, `./${filename}`], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Every subpath, first without the optional peers but for vitest, which the conformance suites are written for. */
function importEverything(): void {
  link('vitest');
  const subpaths = [
    '',
    '/driver',
    '/server',
    '/testing',
    ...Object.keys(drivers).map((name) => `/drivers/${name}`),
  ];
  for (const subpath of subpaths) {
    const source = `const all = await import('connector-registry${subpath}');
      if (Object.keys(all).length === 0) throw new Error('connector-registry${subpath} exports nothing');`;
    execFileSync('node', ['--input-type=module', '--eval', source], { cwd: folder, stdio: 'inherit' });
  }
  console.log(`imported: ${subpaths.map((subpath) => `.${subpath}`).join(' ')}`);
}

function checkProgram(): void {
  for (const name of ['@types', 'undici-types']) link(name);
  writeFileSync(join(folder, 'consumer.ts'), readFileSync(join(root, 'scripts', 'consumer', 'consumer.ts')));
  const flags = [
    '--noEmit',
    '--strict',
    '--target',
    'es2024',
    '--lib',
    'es2024,esnext.disposable',
    '--module',
    'nodenext',
    '--types',
    'node',
  ];
  execFileSync('node', [join(root, 'node_modules/typescript/bin/tsc'), ...flags, 'consumer.ts'], {
    cwd: folder,
    stdio: 'inherit',
  });
  execFileSync('node', ['consumer.ts'], { cwd: folder, stdio: 'inherit' });
  console.log('type-checked a consumer, the declarations included, and ran it');
}

function runCommand(): void {
  const { stdout, status, stderr } = spawnSync(join(folder, 'node_modules/.bin/connectors'), ['--help'], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status !== 0 || !stdout.includes('Usage')) throw new Error(`connectors --help failed: ${stderr}`);
  console.log('ran connectors --help');
}

/** Medians of 15 fresh processes each, taken in turns, so that both see the same machine. */
function importTimeMs(): number {
  writeFileSync(join(folder, 'empty.js'), '');
  const times: Record<'library' | 'empty', number[]> = { library: [], empty: [] };
  for (let round = 0; round < 15; round++) {
    times.empty.push(evaluateMs(`await import('./empty.js')`));
    times.library.push(evaluateMs(`await import('connector-registry')`));
  }
  return median(times.library) - median(times.empty);
}

function evaluateMs(source: string): number {
  const since = performance.now();
  execFileSync('node', ['--input-type=module', '--eval', source], { cwd: folder });
  return performance.now() - since;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** Lends the consumer a package of this project, as if it had installed it. */
function link(name: string): void {
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
}
