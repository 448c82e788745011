import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** The kernel ends the children of a process that is killed, and whoever reads its pipes sees their end. */
const CHILDREN_END_MS = 2_000;
const START_WITHIN_MS = 60_000;

/** A process, told from a later one with the same id. */
type Started = { readonly pid: number; readonly since: string };

/** `connectors serve` on one data directory, killed and started again, for clients that survive it. */
export class KilledServer {
  /** Grows with each kill: an answer that was lost meanwhile is no fault. */
  kills = 0;
  /** Processes that killed servers had started, all of which ended. */
  childrenEnded = 0;
  /** What servers logged as errors: a kill is none of theirs. */
  readonly errors: string[] = [];
  readonly #dataDir: string;
  #child: ChildProcessByStdio<null, null, Readable> | undefined;
  #ready = Promise.withResolvers<string>();
  #isReady = false;
  #said = '';

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  /** Where it listens, once it does. */
  get url(): Promise<string> {
    return this.#ready.promise;
  }

  /** Starts it, without waiting until it listens. */
  start(): void {
    const child = spawn(process.execPath, [MAIN, 'serve', '--port', '0', '--data-dir', this.#dataDir], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'], CONNECTORS_LOG_LEVEL: 'error' },
    });
    this.#child = child;
    this.#said = '';
    let said = '';
    const ready = this.#ready;
    const slow = setTimeout(() => ready.reject(new Error(`not ready: ${this.#said}`)), START_WITHIN_MS);
    child.stderr.setEncoding('utf8').on('data', (more: string) => {
      said += more;
      if (child === this.#child) this.#said = said;
      const [, url] = /listening on (http:\S+);/.exec(said) ?? [];
      // One that is being killed says so in vain.
      if (url === undefined || child !== this.#child) return;
      clearTimeout(slow);
      this.#isReady = true;
      ready.resolve(url);
    });
    child.once('close', (code, signal) => {
      clearTimeout(slow);
      this.errors.push(...said.split('\n').filter((line) => line.startsWith('{')));
      if (signal !== 'SIGKILL') ready.reject(new Error(`the server ended with ${code}: ${this.#said}`));
    });
    // Whoever waits hears of it.
    ready.promise.catch(() => {});
  }

  /** @throws Error when it had ended by itself, or when a process of its outlives it. */
  async kill(): Promise<void> {
    const child = this.#running();
    const closed = once(child, 'exit');
    // It starts nothing more once it stands still, so this finds all of its processes.
    child.kill('SIGSTOP');
    const children = descendants(child.pid ?? 0);
    this.kills += 1;
    // Whoever waits for one that never listened waits for the next.
    if (this.#isReady) this.#ready = Promise.withResolvers();
    this.#isReady = false;
    this.#child = undefined;
    child.kill('SIGKILL');
    await closed;
    if (child.signalCode !== 'SIGKILL') throw new Error(`the server ended by itself: ${this.#said}`);
    await ended(children);
    this.childrenEnded += children.length;
  }

  /** Ends it as Ctrl-C does. */
  async stop(): Promise<void> {
    const child = this.#running();
    const closed = once(child, 'close');
    const children = descendants(child.pid ?? 0);
    child.kill('SIGTERM');
    await closed;
    if (child.exitCode !== 0) throw new Error(`the server stopped with ${child.exitCode}: ${this.#said}`);
    await ended(children);
  }

  /** Leaves nothing behind, whatever happened. */
  async abandon(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'exit');
    child.kill('SIGKILL');
    await closed;
  }

  #running(): ChildProcessByStdio<null, null, Readable> {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) return this.#child;
    throw new Error(`the server ended by itself: ${this.#said}`);
  }
}

/** Every process that this one started, and those that they started. On Linux; none elsewhere. */
function descendants(pid: number): readonly Started[] {
  if (process.platform !== 'linux') return [];
  return childrenOf(pid).flatMap((child) => {
    const since = runningSince(child);
    return since === undefined ? [] : [{ pid: child, since }, ...descendants(child)];
  });
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
      const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1');
      return children.split(' ').flatMap((child) => Number(child) || []);
    });
  } catch {
    return [];
  }
}

/** When it started, in ticks; `undefined` for one that has ended, also where nobody asked for its status yet. */
function runningSince(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the name in brackets and may hold spaces; the third is the state, the 22nd the start.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

async function ended(processes: readonly Started[]): Promise<void> {
  const deadline = performance.now() + CHILDREN_END_MS;
  for (;;) {
    const left = processes.filter(({ pid, since }) => runningSince(pid) === since);
    if (left.length === 0) return;
    if (performance.now() > deadline)
      throw new Error(`outlived the server: ${left.map(({ pid }) => nameOf(pid)).join(', ')}`);
    await wait(10);
  }
}

function nameOf(pid: number): string {
  return `${pid} ${readFileSync(`/proc/${pid}/comm`, 'latin1').trim()}`;
}
