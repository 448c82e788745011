/**
 * Builds `dist` from `src`: JavaScript and declarations by tsc, and every other file that a module needs beside it.
 *
 * Built apart and moved into place as a whole, so that a failed or interrupted build leaves the old one.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const fresh = join(root, '.tmp', `dist-${process.pid}`);
const old = `${fresh}-old`;

mkdirSync(fresh, { recursive: true });
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const { status } = spawnSync(
  process.execPath,
  [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', fresh],
  { stdio: 'inherit' },
);
if (status !== 0) {
  rmSync(fresh, { recursive: true });
  process.exit(1);
}

cpSync(join(root, 'src'), fresh, { recursive: true, filter: (path) => !/\.(ts|md)$/.test(path) });
const command = join(fresh, 'cli', 'main.js');
if (existsSync(command)) chmodSync(command, 0o755);

if (existsSync(dist)) renameSync(dist, old);
renameSync(fresh, dist);
rmSync(old, { recursive: true, force: true });
