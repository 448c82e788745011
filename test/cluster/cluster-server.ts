import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { endChild, isRunning } from '../../src/testing/child-server.fixture.ts';
import { until } from './until.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const START_WITHIN_MS = 60_000;
const LOOK_MS = 20;

export type ClusterServerOptions = {
  readonly name: string;
  readonly port: number;
  readonly dataDir: string;
  /** The settings that all servers share. */
  readonly env: Readonly<Record<string, string>>;
};

/** One `connectors serve` of several, at an address that it keeps whatever becomes of its process. */
export class ClusterServer {
  readonly name: string;
  readonly url: string;
  /** What it logged as errors. */
  readonly errors: string[] = [];
  /** True from the moment on in which it is told to end, until it is ready again. */
  isDown = true;
  isPaused = false;
  /** When it last went on after it stood still, by `performance.now()`. */
  resumedAtMs = Number.NEGATIVE_INFINITY;
  /** Grows when it is told to end: an answer that was lost meanwhile is no fault. */
  ends = 0;
  /** When it was last told to stop in good order, if that is how it ended last; by `performance.now()`. */
  stoppedAtMs: number | undefined;
  /** The administrator's key, where this one made it. */
  firstKey: string | undefined;
  readonly #options: ClusterServerOptions;
  #child: ChildProcessByStdio<null, null, Readable> | undefined;
  #said = '';
  #isAbandoned = false;

  constructor(options: ClusterServerOptions) {
    this.#options = options;
    this.name = options.name;
    this.url = `http://127.0.0.1:${options.port}`;
  }

  get hasEnded(): boolean {
    return !isRunning(this.#child);
  }

  /** Starts it, without waiting until it is ready. @throws Error when it was abandoned. */
  start(): void {
    if (this.#isAbandoned) throw new Error(`${this.name} is not to be started again`);
    const { port, dataDir, env } = this.#options;
    const child = spawn(process.execPath, [MAIN, 'serve', '--port', String(port), '--data-dir', dataDir], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'], CONNECTORS_LOG_LEVEL: 'error', ...env },
    });
    this.#child = child;
    this.#said = '';
    let rest = '';
    child.stderr.setEncoding('utf8').on('data', (more: string) => {
      this.#said = (this.#said + more).slice(-8_000);
      const lines = (rest + more).split('\n');
      rest = lines.pop() ?? '';
      this.errors.push(
        ...lines.filter((line) => line.startsWith('{')).map((line) => `${this.name}: ${line}`),
      );
      this.firstKey ??= /^\s+(crk_\S+)$/m.exec(this.#said)?.[1];
    });
  }

  /** Resolves when it answers that it is ready, with the milliseconds that this took. @throws Error when it ended. */
  async ready(withinMs = START_WITHIN_MS): Promise<number> {
    const startMs = performance.now();
    const isReady = await until(
      () => {
        if (this.hasEnded) throw new Error(`${this.name} ended by itself: ${this.#said}`);
        return this.isReady();
      },
      { isWanted: Boolean, withinMs, everyMs: LOOK_MS },
    );
    if (!isReady) throw new Error(`${this.name} is not ready after ${withinMs} ms: ${this.#said}`);
    this.isDown = false;
    return performance.now() - startMs;
  }

  async isReady(): Promise<boolean> {
    try {
      const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(2_000) });
      await answer.arrayBuffer();
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  async kill(): Promise<void> {
    const child = this.#running();
    this.#endsNow();
    await endChild(child, 'SIGKILL');
  }

  /** Ends it as an orchestrator does; the milliseconds until it was gone. @throws Error when it failed at it. */
  async stop(): Promise<number> {
    const child = this.#running();
    const startMs = performance.now();
    this.#endsNow();
    this.stoppedAtMs = startMs;
    await endChild(child, 'SIGTERM');
    const tookMs = performance.now() - startMs;
    if (child.exitCode !== 0)
      throw new Error(`${this.name} stopped with ${child.exitCode ?? child.signalCode}: ${this.#said}`);
    return tookMs;
  }

  pause(): void {
    this.isPaused = true;
    this.#running().kill('SIGSTOP');
  }

  resume(): void {
    this.#running().kill('SIGCONT');
    this.isPaused = false;
    this.resumedAtMs = performance.now();
  }

  /** Leaves nothing behind, whatever happened, and whoever would start it again. */
  abandon(): Promise<void> {
    this.#isAbandoned = true;
    return endChild(this.#child, 'SIGKILL');
  }

  #endsNow(): void {
    this.isDown = true;
    this.stoppedAtMs = undefined;
    this.ends += 1;
  }

  #running(): ChildProcessByStdio<null, null, Readable> {
    if (this.#child && !this.hasEnded) return this.#child;
    throw new Error(`${this.name} ended by itself: ${this.#said}`);
  }
}
