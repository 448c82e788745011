import { mkdtemp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort, startChildServer } from '../../../testing/child-server.fixture.ts';

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
 * @throws Error with the server's own output, when it ends or does not answer its heartbeat within 30 seconds.
 */
export async function startChroma({ port }: { readonly port?: number } = {}): Promise<ChromaServer> {
  const at = port ?? (await freePort());
  const folder = await mkdtemp(path.join(tmpdir(), 'chroma-'));
  // The package's exports do not name its command line.
  const cli = path.join(createRequire(import.meta.url).resolve('chromadb'), '../../cli.mjs');
  const args = [cli, 'run', '--host', '127.0.0.1', '--port', String(at), '--path', path.join(folder, 'data')];
  const url = `http://127.0.0.1:${at}`;
  const { close } = await startChildServer({
    ...{ command: process.execPath, args, env: { HOME: folder }, folder },
    // Its own word first.
    isReady: async (output) => output.includes('Listening on') && (await answers(url)),
  });
  return { url, close };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/api/v2/heartbeat`, { signal: AbortSignal.timeout(1_000) })).ok;
  } catch {
    return false;
  }
}
