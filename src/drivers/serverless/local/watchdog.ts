import { readFileSync } from 'node:fs';

const PERIOD_MS = 50;
/** The kernel counts processor time in hundredths of a second for user space, whatever its own tick. */
const TICK_MS = 10;
/** An idle process may still collect garbage; one that takes more than this is working for itself. */
const MAX_IDLE_CPU_MS = 500;

export type Watched = {
  readonly pid: number | undefined;
  /** Bytes of memory of its own at which the process is killed. */
  readonly maxBytes: number;
  /** Whether it should be doing nothing. */
  readonly isIdle: () => boolean;
  /** Called once. */
  readonly exceeded: (what: 'memory' | 'idle') => void;
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
        if (ownBytes(pid) > maxBytes) exceeded('memory');
        if (!isIdle()) this.#watched.set(watched, undefined);
        else if (idleSinceCpuMs === undefined) this.#watched.set(watched, cpuMs(pid));
        else if (cpuMs(pid) - idleSinceCpuMs > MAX_IDLE_CPU_MS) exceeded('idle');
      } catch {
        // It has just ended; whoever started it hears so from its exit.
      }
    }
  }
}

/** Memory that the process alone holds, also swapped out: not the pages of its executable, which all share. */
function ownBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kilobytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return (kilobytes('RssAnon') + kilobytes('RssShmem') + kilobytes('VmSwap')) * 1024;
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The second field is the name in brackets and may hold spaces; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
