import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { endChild, freePort, isRunning } from './child-server.fixture.ts';

/** A Redis for tests; started here unless `CONNECTORS_TEST_REDIS_URL` names one. */
export type TestRedis = {
  readonly url: string;
  /** What tests do to a server that is theirs; undefined where it is not. */
  readonly own: OwnRedis | undefined;
  close(): Promise<void>;
};

export type OwnRedis = {
  /** As kill -9. */
  kill(): Promise<void>;
  /** Starts it again where it was, empty. */
  start(): Promise<void>;
  /** It keeps its connections and answers nothing any more, until `resume`. */
  pause(): void;
  resume(): void;
  readonly password: string;
};

const BINARY = '/usr/bin/redis-server';
const GIVEN = process.env['CONNECTORS_TEST_REDIS_URL'];

/** Why nothing can be tested on Redis here; undefined where it can. */
export const noRedis =
  GIVEN === undefined && !existsSync(BINARY)
    ? `no Redis: neither ${BINARY} nor CONNECTORS_TEST_REDIS_URL`
    : undefined;
if (noRedis !== undefined) console.warn(`skipped: ${noRedis}`);

export async function startRedis(): Promise<TestRedis> {
  if (GIVEN !== undefined) return { url: GIVEN, own: undefined, close: async () => {} };
  if (noRedis !== undefined) throw new Error(noRedis);
  const root = mkdtempSync(join(tmpdir(), 'redis-'));
  const port = await freePort();
  const password = 'hunter2';
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', root, '--requirepass', password];
  let server: ChildProcess | undefined;
  const end = () => void server?.kill('SIGKILL');
  process.once('exit', end);
  const start = async () => {
    server = spawn(BINARY, [...options, '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
    while (!(await listens(port))) {
      if (!isRunning(server)) throw new Error(`redis-server ended with ${server.exitCode}`);
      await delay(10);
    }
  };
  const kill = () => endChild(server, 'SIGKILL');
  await start();
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    own: {
      kill,
      start,
      pause: () => void server?.kill('SIGSTOP'),
      resume: () => void server?.kill('SIGCONT'),
      password,
    },
    async close() {
      process.off('exit', end);
      await kill();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
