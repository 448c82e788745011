import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const READY_WITHIN_MS = 20_000;
const POLL_EVERY_MS = 20;

export const USER = { username: 'ann', password: 'worthless-pässword-4c1d' } as const;

/** A WebDAV server of one's own. */
export type WebdavServer = {
  /** With a path below the server's root, as endpoints mostly have. */
  readonly url: string;
  readonly port: number;
  /** What it serves, on this machine's disk. */
  readonly folder: string;
  /** Ends the server and removes what it stored. */
  close(): Promise<void>;
};

/** The version of rclone that is installed; undefined where none is. */
export function rcloneVersion(): string | undefined {
  const { stdout, status } = spawnSync('rclone', ['version'], { encoding: 'utf8', env: environment() });
  return status === 0 ? (/^rclone (v[\d.]+)/.exec(stdout)?.[1] ?? 'of unknown version') : undefined;
}

/**
 * Starts `rclone serve webdav` on a loopback port and a temporary folder of its own. It keeps nothing in memory: what is
 * on the disk is what it tells, and what it has acknowledged is there.
 *
 * @throws Error with the server's own output, when it ends or does not listen within 20 seconds.
 */
export async function startWebdav({
  certificate,
  isOpen = false,
  keepsFolders = '0s',
}: {
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Whether anybody may come. */
  readonly isOpen?: boolean;
  /** How long it may take its memory for the disk: without, it reads a folder again for each of its files. */
  readonly keepsFolders?: string;
} = {}): Promise<WebdavServer> {
  const home = await mkdtemp(join(tmpdir(), 'webdav-'));
  const folder = join(home, 'files');
  await mkdir(folder);
  await writeFile(join(home, 'empty.conf'), '');
  const port = await freePort();
  const args = [
    ...['serve', 'webdav', folder, '--addr', `127.0.0.1:${port}`, '--baseurl', '/dav/ünder here'],
    ...['--vfs-cache-mode', 'off', '--dir-cache-time', keepsFolders, '--poll-interval', '0'],
    // A path of 1,024 bytes is named twice in a move.
    ...['--max-header-bytes', '65536'],
    ...(isOpen ? [] : ['--user', USER.username, '--pass', USER.password]),
  ];
  if (certificate !== undefined) {
    await writeFile(join(home, 'cert.pem'), certificate.cert);
    await writeFile(join(home, 'key.pem'), certificate.key);
    args.push('--cert', join(home, 'cert.pem'), '--key', join(home, 'key.pem'));
  }
  const child = spawn('rclone', args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...environment(), HOME: home, RCLONE_CONFIG: join(home, 'empty.conf') },
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const closed = once(child, 'close');
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  const close = async (): Promise<void> => {
    process.off('exit', kill);
    kill();
    await closed;
    await rm(home, { recursive: true, force: true });
  };
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!output.includes('Server started on')) {
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (ended || performance.now() > deadline) {
      await close();
      throw new Error(`rclone ${ended ? 'ended' : 'did not listen'}:\n${output}`);
    }
    await wait(POLL_EVERY_MS);
  }
  const scheme = certificate === undefined ? 'http' : 'https';
  return { url: `${scheme}://127.0.0.1:${port}/dav/%C3%BCnder%20here`, port, folder, close };
}

function environment(): NodeJS.ProcessEnv {
  const { PATH } = process.env;
  return { ...(PATH !== undefined && { PATH }) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
