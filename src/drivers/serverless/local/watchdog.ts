import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

const PERIOD_MS = 50;
/** The kernel counts processor time in hundredths of a second for user space, whatever its own tick. */
const TICK_MS = 10;
/** An idle process may still collect garbage; one that takes more than this is working for itself. */
const MAX_IDLE_CPU_MS = 500;

/**
 * The kernel shares processors out by thread, so a function with many takes them from its neighbours. Deno 2.9 has 5 and
 * one for each processor when idle, and 32 more for ciphers and the like, once more in each worker.
 */
export const MAX_THREADS = 96 + availableParallelism();

export type Watched = {
  readonly pid: number | undefined;
  /** Bytes of memory of its own at which the process is killed. */
  readonly maxBytes: number;
  /** Whether it should be doing nothing. */
  readonly isIdle: () => boolean;
  /** Called once. */
  readonly exceeded: (what: 'memory' | 'threads' | 'idle') => void;
};

/** Watches processes while there are any: their memory always, their processor time while they are idle. Linux only. */
export class Watchdog {
  readonly #watched = new Map<Watched, number | undefined>();
  #timer: NodeJS.Timeout | undefined;

  add(watched: Watched): void {
    if (process.platform !== 'linux') return;
    this.#watched.set(watched, undefined);
    this.#timer ??= setInterval(() => this.#look(), PERIOD_MS).unref();
  }

  remove(watched: Watched): void {
    this.#watched.delete(watched);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    for (const [watched, idleSinceCpuMs] of this.#watched) {
      const { pid, maxBytes, isIdle, exceeded } = watched;
      if (pid === undefined) continue;
      try {
        const { bytes, threads } = holdings(pid);
        if (bytes > maxBytes) exceeded('memory');
        else if (threads > MAX_THREADS) exceeded('threads');
        if (!isIdle()) this.#watched.set(watched, undefined);
        else if (idleSinceCpuMs === undefined) this.#watched.set(watched, cpuMs(pid));
        else if (cpuMs(pid) - idleSinceCpuMs > MAX_IDLE_CPU_MS) exceeded('idle');
      } catch {
        // It has just ended; whoever started it hears so from its exit.
      }
    }
  }
}

/** Threads, and memory that the process alone holds, also swapped out: not the pages of its executable, which all share. */
function holdings(pid: number): { readonly bytes: number; readonly threads: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const number = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  const kilobytes = number('RssAnon') + number('RssShmem') + number('VmSwap');
  return { bytes: kilobytes * 1024, threads: number('Threads') };
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the name in brackets and may hold spaces; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
