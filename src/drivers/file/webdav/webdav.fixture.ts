import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startChildServer } from '../../../testing/child-server.fixture.ts';

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
 * @throws Error with the server's own output, when it ends or does not listen within 30 seconds.
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
  const env = { ...environment(), HOME: home, RCLONE_CONFIG: join(home, 'empty.conf') };
  const isReady = (output: string) => output.includes('Server started on');
  const { close } = await startChildServer({ command: 'rclone', args, env, folder: home, isReady });
  const scheme = certificate === undefined ? 'http' : 'https';
  return { url: `${scheme}://127.0.0.1:${port}/dav/%C3%BCnder%20here`, port, folder, close };
}

function environment(): NodeJS.ProcessEnv {
  const { PATH } = process.env;
  return { ...(PATH !== undefined && { PATH }) };
}
