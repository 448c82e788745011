import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ConnectorError, loadPeer } from '../../../driver.ts';
import { esbuild } from './bundle.ts';

export const DENO_RANGE = '^2.9.0';
const HERE = createRequire(import.meta.url);

/** Deno's own executable and version; the `deno` command of npm is a script that would stand between us and the process to kill. */
export type Runtime = {
  readonly executable: string;
  /** A command to start it with, which sets the kernel's limits and replaces itself by it. */
  readonly prefix: readonly string[];
  /** Whether the kernel ends it when this process is killed. */
  readonly diesWithHost: boolean;
  /** The program that a process runs. */
  readonly bootstrap: string;
  readonly version: string;
};

let found: Runtime | undefined;

/**
 * The runtime as the package manager installed it; nothing is downloaded. Looked for until it is found, then kept.
 *
 * @throws ConnectorError `unavailable` naming the install command, when it is missing or older than 2.9.
 */
export async function denoRuntime(): Promise<Runtime> {
  found ??= await findRuntime();
  return found;
}

async function findRuntime(): Promise<Runtime> {
  const manifest = await loadPeer('deno', DENO_RANGE, async () => HERE.resolve('deno/package.json'));
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { readonly version: string };
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major !== 2 || minor < 9) {
    throw new ConnectorError(
      'unavailable',
      `deno ${version} is installed; run: npm install deno@${DENO_RANGE}`,
    );
  }
  const platform = `${process.platform}-${process.arch}${process.platform === 'linux' ? '-glibc' : ''}`;
  const own = await loadPeer('deno', DENO_RANGE, async () =>
    createRequire(manifest).resolve(`@deno/${platform}/package.json`),
  );
  const executable = join(dirname(own), process.platform === 'win32' ? 'deno.exe' : 'deno');
  const signal = await deathSignal();
  const prefix = [...(process.platform === 'win32' ? [] : LIMITED), ...signal];
  return { executable, prefix, diesWithHost: signal.length > 0, bootstrap: await bootstrapUrl(), version };
}

/**
 * No byte of any file, which the permissions do not cover whole: SQLite writes temporary ones that nobody is asked for.
 * What tries is told so: the signal that would end it is ignored. And no memory of a function, with what it was told, in a
 * core file. The shell has all three on every Unix.
 */
const LIMITED = ['/bin/sh', '-c', `trap '' XFSZ && ulimit -f 0 && ulimit -c 0 && exec "$@"`, 'sh'];

/**
 * A function in an endless loop never sees that its input ended, so the kernel must end it when the host is killed.
 * util-linux has the command; it replaces itself by Deno, and costs 3 ms of a start that a spare process hides.
 */
async function deathSignal(): Promise<readonly string[]> {
  if (process.platform !== 'linux') return [];
  const command = ['/usr/bin/setpriv', '--pdeathsig', 'KILL', '--'] as const;
  const [file, ...rest] = command;
  return promisify(execFile)(file, [...rest, '/bin/true']).then(
    () => command,
    () => [],
  );
}

/** Megabytes of its own that a process holds beside the function's memory: 9 to 15 measured when idle. */
export const RUNTIME_MB = 32;

/** What differs between processes from their start; a process may serve only a connector that has the same. */
export type Launch = {
  readonly memoryMb: number;
  readonly allowNet: boolean;
  /** Names of the variables that the function may read; the values follow over the input. */
  readonly envNames: readonly string[];
};

/**
 * Ranges of IPv4 that a function with network never reaches; Deno checks them against the resolved address too.
 * Deno 2.9 takes no range of IPv6, only the single addresses at the end: see the README.
 */
const DENIED_NET = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '[::]',
  '[::1]',
  '[fd00:ec2::254]',
];

/** The arguments of a sandboxed process; each denial is held by a test that runs a program against it. */
export function denoArguments(
  { bootstrap }: Runtime,
  { memoryMb, allowNet, envNames }: Launch,
): readonly string[] {
  return [
    'run',
    '--quiet',
    '--no-prompt',
    '--no-remote',
    '--no-npm',
    '--no-config',
    '--no-lock',
    '--no-check',
    '--no-code-cache',
    '--node-modules-dir=none',
    '--deny-read',
    '--deny-write',
    '--deny-run',
    '--deny-ffi',
    '--deny-sys',
    '--deny-import',
    ...(allowNet ? ['--allow-net', `--deny-net=${DENIED_NET.join(',')}`] : ['--deny-net']),
    // A variable that is not allowed reads as absent instead of throwing: packages look for NODE_ENV and DEBUG.
    '--ignore-env',
    ...(envNames.length > 0 ? [`--allow-env=${envNames.join(',')}`] : []),
    // Above what the watchdog allows, which kills at once: V8 alone collects garbage for seconds before it gives up.
    `--v8-flags=--max-old-space-size=${memoryMb + RUNTIME_MB}`,
    bootstrap,
  ];
}

/**
 * The bootstrap as a URL that holds it: without a path it tells a function nothing of the host. In the sources its types
 * are taken out here, once, because a TypeScript program costs each Deno process 150 ms of its start.
 */
async function bootstrapUrl(): Promise<string> {
  const isSource = import.meta.url.endsWith('.ts');
  const text = await readFile(new URL(`./bootstrap${isSource ? '.ts' : '.js'}`, import.meta.url), 'utf8');
  const code = isSource
    ? (await (await esbuild()).transform(text, { loader: 'ts', target: 'esnext' })).code
    : text;
  return `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`;
}

/**
 * The whole environment of a process. `DENO_DIR` is a place where no folder can be made, so that localStorage, caches
 * and KV, which would outlive the process and fill the disk, do not work.
 */
export const DENO_ENV: Readonly<Record<string, string>> = {
  DENO_DIR: '/dev/null',
  DENO_NO_UPDATE_CHECK: '1',
  NO_COLOR: '1',
  // No drivers for graphics: native code of the host that a function would reach without any permission.
  DENO_WEBGPU_BACKEND: 'none',
};
