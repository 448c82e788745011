import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../../../testing/child-server.fixture.ts';

const SSHD = '/usr/sbin/sshd';
export const KEYGEN = '/usr/bin/ssh-keygen';
const isRoot = process.getuid?.() === 0;
/** A server that is started by root would need a folder of the system's own, and has no right that could lack. */
const NOBODY = { uid: 65_534, gid: 65_534 };

/** Whether this machine has OpenSSH's server. */
export const hasSshd = existsSync(SSHD) && existsSync(KEYGEN);

/** Its version, such as `OpenSSH 9.2`. */
export function sshdVersion(): string {
  const said = outputOf(SSHD, ['-V']);
  return /OpenSSH_(\d+\.\d+)/.exec(said)?.[0].replace('_', ' ') ?? 'OpenSSH';
}

/** OpenSSH's own server over a folder of its own, at a free port of loopback. */
export type Sshd = {
  readonly port: number;
  readonly user: string;
  /** What the connector of a test is configured with. */
  readonly options: {
    readonly endpoint: string;
    readonly root: string;
    readonly private_key: string;
    readonly host_key: string;
  };
  /** The folder that `options.root` names. */
  readonly root: string;
  /** The same key, encrypted with `passphrase`. */
  readonly encryptedKey: string;
  readonly passphrase: string;
  /** Another key, which may not log in. */
  readonly foreignKey: string;
  /** The processes that serve connections. */
  readonly sessions: () => readonly number[];
  /** Gives what a test made as another user to the one that the server runs as. */
  readonly own: (path: string) => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Starts it; `settings` are lines of `sshd_config`, `sftp` the arguments of its SFTP server. */
export async function startSshd({
  sftp = '',
  settings = '',
}: { readonly sftp?: string; readonly settings?: string } = {}): Promise<Sshd> {
  const folder = await mkdtemp(join(tmpdir(), 'file-sftp-'));
  let server: ChildProcess | undefined;
  try {
    const user = isRoot ? 'nobody' : userInfo().username;
    const passphrase = 'a passphrase';
    makeKey(folder, 'host', '');
    makeKey(folder, 'user', '');
    makeKey(folder, 'foreign', '');
    execFileSync('cp', [join(folder, 'user'), join(folder, 'encrypted')]);
    execFileSync(KEYGEN, ['-q', '-p', '-P', '', '-N', passphrase, '-f', join(folder, 'encrypted')]);
    const root = join(folder, 'root');
    await mkdir(root);
    const read = (name: string) => readFile(join(folder, name), 'utf8');
    const keys = { private_key: await read('user'), host_key: await read('host.pub') };
    const [encryptedKey, foreignKey] = [await read('encrypted'), await read('foreign')];
    const own = async (path: string) => {
      if (isRoot) execFileSync('chown', ['-Rh', `${NOBODY.uid}:${NOBODY.gid}`, path]);
    };
    const port = await freePort();
    await writeFile(join(folder, 'config'), config(folder, port, sftp, settings));
    await own(folder);
    if (isRoot) await chown(folder, NOBODY.uid, NOBODY.gid);
    server = await listening(join(folder, 'config'));
    const child = server;
    return {
      ...{ port, user, root, encryptedKey, passphrase, foreignKey, own },
      options: { endpoint: `sftp://${user}@127.0.0.1:${port}`, root, ...keys },
      sessions: () => childrenOf(child.pid ?? 0),
      close: () => stop(child, folder),
    };
  } catch (error) {
    await stop(server, folder);
    throw error;
  }
}

function config(folder: string, port: number, sftp: string, settings: string): string {
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(folder, 'host')}`,
    'PidFile none',
    `AuthorizedKeysFile ${join(folder, 'user.pub')}`,
    // The folder lies below the system's temporary one, which everybody may write into.
    'StrictModes no',
    // Without it the account of nobody, which has no password, is taken for locked.
    'UsePAM yes',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'MaxStartups 200',
    `Subsystem sftp internal-sftp ${sftp}`,
    settings,
    '',
  ].join('\n');
}

function makeKey(folder: string, name: string, passphrase: string): void {
  execFileSync(KEYGEN, [
    ...['-q', '-t', 'ed25519', '-N', passphrase, '-C', name],
    ...['-f', join(folder, name)],
  ]);
}

/** Resolves when it listens; its end before that is the failure. */
async function listening(configPath: string): Promise<ChildProcess> {
  const child = spawn(SSHD, ['-D', '-e', '-f', configPath], {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(isRoot && NOBODY),
  });
  const lines: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<ChildProcess>();
  child.once('error', reject);
  child.once('exit', (code) => reject(new Error(`sshd ended with ${code}: ${lines.join('\n')}`)));
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (lines.length < 50) lines.push(line);
    if (line.startsWith('Server listening')) resolve(child);
  });
  return promise;
}

async function stop(server: ChildProcess | undefined, folder: string): Promise<void> {
  if (server?.pid !== undefined && server.exitCode === null) {
    const ended = once(server, 'exit');
    // Each connection is a process of its own, which outlives the one that listens.
    const sessions = childrenOf(server.pid);
    server.kill();
    for (const pid of sessions) kill(pid);
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
}

function kill(pid: number): void {
  try {
    process.kill(pid);
  } catch {
    // It has ended meanwhile.
  }
}

/** With their own children: a connection is served by a process below the one that was started for it. */
function childrenOf(pid: number): readonly number[] {
  const direct = outputOf('ps', ['--ppid', String(pid), '-o', 'pid='])
    .split('\n')
    .map(Number);
  return direct.flatMap((child) => (child > 0 ? [child, ...childrenOf(child)] : []));
}

function outputOf(command: string, args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  return stdout + stderr;
}
