import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const READY_WITHIN_MS = 20_000;
const POLL_EVERY_MS = 50;

/** A Chroma server of one's own. */
export type ChromaServer = {
  /** Without a path. */
  readonly url: string;
  /** Ends the server and removes what it stored. */
  close(): Promise<void>;
};

/**
 * Starts the server that the `chromadb` package carries, on a loopback port and a temporary folder of its own.
 *
 * @param port where it listens; a free one unless told, which lets a test put an empty server where another one was.
 * @throws Error with the server's own output, when it ends or does not answer its heartbeat within 20 seconds.
 */
export async function startChroma({ port }: { readonly port?: number } = {}): Promise<ChromaServer> {
  const at = port ?? (await freePort());
  const folder = await mkdtemp(path.join(tmpdir(), 'chroma-'));
  // The package's exports do not name its command line.
  const cli = path.join(createRequire(import.meta.url).resolve('chromadb'), '../../cli.mjs');
  const args = [cli, 'run', '--host', '127.0.0.1', '--port', String(at), '--path', path.join(folder, 'data')];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { HOME: folder } });
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

  const url = `http://127.0.0.1:${at}`;
  const deadline = performance.now() + READY_WITHIN_MS;
  // Its own word first: what answers at the port may be another server that took it.
  while (!(output.includes('Listening on') && (await answers(url)))) {
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (ended || performance.now() > deadline) {
      await close();
      throw new Error(`chroma ${ended ? 'ended' : 'did not answer'}:\n${output}`);
    }
    await wait(POLL_EVERY_MS);
  }
  return { url, close };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/api/v2/heartbeat`, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false;
  }
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
