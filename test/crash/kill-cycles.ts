import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export type KillCycles = {
  /** A program that prints one line for each write once it is acknowledged, and goes on until it is killed. */
  readonly writer: string;
  readonly writerArguments: readonly string[];
  /** Of the writer, besides this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cycles: number;
  /** The writer is killed at a random time from its first acknowledgement to so long after it, in milliseconds. */
  readonly killWithinMs: number;
  /** Checks, after each kill, that everything acknowledged so far is there; throws what is not. */
  verify(acknowledged: readonly string[]): Promise<void>;
  onCycle?(cycle: number, acknowledged: number): void;
};

/**
 * Kills a writer with SIGKILL again and again, and has what it acknowledged checked each time; the number of
 * acknowledgements.
 *
 * A process that is killed loses nothing that it handed to the kernel, so this proves the order of acknowledging and
 * writing, and recovery. It says nothing about a power cut.
 */
export async function killCycles(options: KillCycles): Promise<number> {
  const acknowledged: string[] = [];
  for (let cycle = 1; cycle <= options.cycles; cycle++) {
    await runUntilKilled(options, cycle, (line) => acknowledged.push(line));
    await options.verify(acknowledged);
    options.onCycle?.(cycle, acknowledged.length);
  }
  return acknowledged.length;
}

function runUntilKilled(
  { writer, writerArguments, env, killWithinMs }: KillCycles,
  cycle: number,
  onLine: (line: string) => void,
): Promise<void> {
  const child = spawn(process.execPath, [writer, ...writerArguments, String(cycle)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    let started = false;
    lines.on('line', (line) => {
      onLine(line);
      if (started) return;
      started = true;
      setTimeout(() => child.kill('SIGKILL'), Math.random() * killWithinMs);
    });
    let signal: NodeJS.Signals | null = null;
    child.on('exit', (_code, by) => (signal = by));
    // Only now has every line that the child wrote been read.
    child.on('close', () => {
      if (signal === 'SIGKILL') resolve();
      else reject(new Error(`the writer ended by itself: ${complaints}`));
    });
  });
}
