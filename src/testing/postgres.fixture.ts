import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { endChild, freePort, isRunning } from './child-server.fixture.ts';

/** A server of PostgreSQL for tests; started here unless `CONNECTORS_TEST_PG_URL` names one. */
export type TestPostgres = {
  /** The address of a database of its own, empty. */
  database(): Promise<string>;
  /** What tests do to a server that is theirs; undefined where it is not. */
  readonly own: OwnPostgres | undefined;
  /** Also where it stands still. */
  close(): Promise<void>;
};

export type OwnPostgres = {
  /** As kill -9 of the whole server. */
  kill(): Promise<void>;
  /** Its fast stop: every session is ended at once, and nothing is left to recover. */
  stop(): Promise<void>;
  /** All of its processes stand still, as where a machine hangs, until they are told to go on. */
  pause(): { resume(): void };
  /** Starts it again where it was. */
  start(): Promise<void>;
};

const BINARIES = newestBinaries();
const GIVEN = process.env['CONNECTORS_TEST_PG_URL'];

/** Why nothing can be tested on PostgreSQL here; undefined where it can. */
export const noPostgres =
  GIVEN === undefined && BINARIES === undefined
    ? 'no PostgreSQL: neither /usr/lib/postgresql/*/bin nor CONNECTORS_TEST_PG_URL'
    : undefined;
if (noPostgres !== undefined) console.warn(`skipped: ${noPostgres}`);

export async function startPostgres(): Promise<TestPostgres> {
  if (GIVEN !== undefined)
    return { database: () => newDatabase(GIVEN), own: undefined, close: async () => {} };
  if (BINARIES === undefined) throw new Error(noPostgres);
  const binaries = BINARIES;
  const root = mkdtempSync(join(tmpdir(), 'postgres-'));
  const user = ownerOfServers();
  if (user) chownSync(root, user.uid, user.gid);
  const as = { ...user, cwd: root };
  const data = join(root, 'data');
  const port = await freePort();
  const url = `postgres://owner@127.0.0.1:${port}/postgres`;
  const options = [
    '-D',
    data,
    '-p',
    String(port),
    '-h',
    '127.0.0.1',
    '-k',
    root,
    '-c',
    'max_connections=200',
  ];
  let server: ChildProcess | undefined;
  let standingStill: readonly number[] = [];
  const resume = () => {
    for (const pid of standingStill) signalIfThere(pid, 'SIGCONT');
    standingStill = [];
  };
  const start = async () => {
    server = spawn(join(binaries, 'postgres'), options, { ...as, stdio: 'ignore' });
    await untilReady(url, server);
  };
  const end = async (signal: 'SIGKILL' | 'SIGINT') => {
    // A killed postmaster leaves its processes behind for a moment, and they still answer.
    const children = signal === 'SIGKILL' && isRunning(server) ? childrenOf(server.pid) : [];
    await endChild(server, signal);
    for (const pid of children) signalIfThere(pid, 'SIGKILL');
  };
  const pause = () => {
    const postmaster = server?.pid;
    if (postmaster === undefined) throw new Error('postgres does not run');
    // It starts no more processes once it stands still, so the list is whole.
    process.kill(postmaster, 'SIGSTOP');
    const children = childrenOf(postmaster);
    for (const pid of children) signalIfThere(pid, 'SIGSTOP');
    standingStill = [...children, postmaster];
    return { resume };
  };
  const close = async () => {
    resume();
    await end('SIGINT');
    rmSync(root, { recursive: true, force: true });
  };
  try {
    const made = ['-D', data, '-A', 'trust', '-U', 'owner', '-E', 'UTF8', '--locale=C'];
    execFileSync(join(binaries, 'initdb'), made, { ...as, stdio: 'pipe' });
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    database: () => newDatabase(url),
    own: { kill: () => end('SIGKILL'), stop: () => end('SIGINT'), pause, start },
    close,
  };
}

async function newDatabase(url: string): Promise<string> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  await query(url, `create database ${name}`);
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

/** The rows of statements that run as the login itself, each in a transaction of its own; those of the last. */
export async function query(url: string, ...statements: readonly string[]): Promise<readonly unknown[]> {
  const client = new Client({ connectionString: url });
  // What a stop of the server does to it between two statements, the next one says.
  client.on('error', () => {});
  await client.connect();
  try {
    let rows: readonly unknown[] = [];
    for (const statement of statements) ({ rows } = await client.query<Record<string, unknown>>(statement));
    return rows;
  } finally {
    await client.end();
  }
}

async function untilReady(url: string, server: ChildProcess): Promise<void> {
  for (;;) {
    if (!isRunning(server)) throw new Error(`postgres ended with ${server.exitCode ?? server.signalCode}`);
    try {
      await query(url, 'select 1');
      return;
    } catch {
      await delay(50);
    }
  }
}

function childrenOf(pid: number | undefined): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

function signalIfThere(pid: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended with its parent.
  }
}

/** Whose the process is: servers refuse to run as root. Undefined where nothing has to change. */
export function ownerOfServers(): { readonly uid: number; readonly gid: number } | undefined {
  return process.getuid?.() === 0 ? idsOf('postgres') : undefined;
}

function idsOf(name: string): { readonly uid: number; readonly gid: number } {
  const id = (flag: string) => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout);
  return { uid: id('-u'), gid: id('-g') };
}

function newestBinaries(): string | undefined {
  // An empty folder here is a machine without it.
  const root = process.env['CONNECTORS_TEST_PG_BINARIES'] ?? '/usr/lib/postgresql';
  if (!existsSync(root)) return undefined;
  const [newest] = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return newest === undefined ? undefined : join(root, newest, 'bin');
}
