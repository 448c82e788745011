import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { errnoOf } from './errors.ts';

const PATTERN = /^\.~write-(\d{1,10})-([0-9a-f]{8})-[0-9a-f]{16}$/;
let own: string | undefined;

/** A name that no user can have written, which says which process is writing. */
export function temporaryName(): string {
  own ??= markOf(process.pid) ?? randomBytes(4).toString('hex');
  return `.~write-${process.pid}-${own}-${randomBytes(8).toString('hex')}`;
}

/** Whether the name is one of ours: never listed, read or written as a file. */
export function isTemporary(name: string): boolean {
  return name.startsWith('.~write-') && PATTERN.test(name);
}

/** Whether the process that was writing this is gone, so that nobody will finish it. */
export function isAbandoned(name: string): boolean {
  const [, pid, mark] = PATTERN.exec(name) ?? [];
  if (pid === undefined) return false;
  return existsSync('/proc/self/stat') ? markOf(Number(pid)) !== mark : !isRunning(Number(pid));
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // A process of another user may not be signalled, but it runs.
    return errnoOf(error) === 'EPERM';
  }
}

/**
 * Tells apart two processes that were given the same number, also across a restart of the machine or a container, by
 * the boot and the moment that the process began. Undefined where it does not run.
 */
function markOf(pid: number): string | undefined {
  try {
    // Neither touches a disk. The command's name may hold spaces and parentheses, so fields count from its end.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const startedAt = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1');
    return createHash('sha256').update(`${boot} ${startedAt}`).digest('hex').slice(0, 8);
  } catch {
    return undefined;
  }
}
