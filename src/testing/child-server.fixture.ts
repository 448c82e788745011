import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

const READY_WITHIN_MS = 30_000;
const POLL_EVERY_MS = 20;

/** A program that serves, in a process of its own. */
export type ChildServer = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Where it runs and all that it keeps; removed when it is closed. */
  readonly folder: string;
  /** Whose it is, where not of whoever starts it. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** Whether it serves, by what it has printed: what answers at a port may be another server that took it. */
  readonly isReady: (output: string) => boolean | Promise<boolean>;
};

/**
 * Starts a server for tests, and answers how to end it once it is ready. It ends with this process, too.
 *
 * @throws Error with the server's own output, when it ends or is not ready within 30 seconds.
 */
export async function startChildServer(server: ChildServer): Promise<{ close(): Promise<void> }> {
  const { command, args, env, folder, owner, isReady } = server;
  const child = spawn(command, args, { ...owner, cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const closed = once(child, 'close');
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  const close = async (): Promise<void> => {
    process.off('exit', kill);
    kill();
    await closed;
    await rm(folder, { recursive: true, force: true });
  };
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!(await isReady(output))) {
    const ended = !isRunning(child);
    if (ended || performance.now() > deadline) {
      await close();
      throw new Error(`${command} ${ended ? 'ended' : 'is not ready'}:\n${output}`);
    }
    await wait(POLL_EVERY_MS);
  }
  return { close };
}

export function isRunning(
  child: ChildProcess | undefined,
): child is ChildProcess & { readonly exitCode: null } {
  return child?.exitCode === null && child.signalCode === null;
}

/** Sends a signal that ends a program, where it still runs, and resolves once it has ended. */
export async function endChild(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!isRunning(child)) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

/** Ports of loopback that nobody listened at just now, each another. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  // A TCP server's address is never a pipe's name.
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(
    servers.map((server) => {
      const closed = once(server, 'close');
      server.close();
      return closed;
    }),
  );
  return ports;
}

/** One of {@link freePorts}. */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}
