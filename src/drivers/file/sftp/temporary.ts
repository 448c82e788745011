import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { invalidField } from '../../../driver.ts';

const PATTERN = /^\.~write-([0-9a-f]{8})-(\d{1,10})-([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{16}$/;
const DAY_SECONDS = 86_400;
/** Names that this process is writing under now: it may leave others behind when a connection breaks. */
const active = new Set<string>();
let own: { readonly host: string; readonly start: string } | undefined;

/** A name that no user can have written, which says which process of which host is writing, and since when. */
export function temporaryName(): string {
  own ??= { host: hostMark() ?? random(4), start: startMark(process.pid) ?? random(4) };
  const seconds = Math.floor(Date.now() / 1000)
    .toString(16)
    .padStart(8, '0');
  const name = `.~write-${own.host}-${process.pid}-${own.start}-${seconds}-${random(8)}`;
  active.add(name);
  return name;
}

/** Says that nobody in this process writes under the name any more. */
export function finished(name: string): void {
  active.delete(name);
}

/** Whether the name is one of ours: never listed, read or written as a file. */
export function isTemporary(name: string): boolean {
  return name.startsWith('.~write-') && PATTERN.test(name);
}

/** @throws ConnectorError `invalid_argument` for a path with a name that is kept for unfinished writes. */
export function refuseTemporary(path: string): void {
  if (path.includes('.~write-') && path.split('/').some(isTemporary))
    throw invalidField('path', 'has no name that is kept for unfinished writes');
}

/**
 * Whether nobody will finish this: its process ran on this host and is gone, or it was begun and last written more than
 * a day ago. Both times, because the first is of the writer's clock and the second of the server's.
 */
export function isAbandoned(name: string, mtimeSeconds: number, nowMs = Date.now()): boolean {
  const [, host, pid, start, since] = PATTERN.exec(name) ?? [];
  if (host === undefined || pid === undefined || since === undefined) return false;
  if (active.has(name)) return false;
  if (host === hostMark()) return startMark(Number(pid)) !== start || Number(pid) === process.pid;
  const before = nowMs / 1000 - DAY_SECONDS;
  return Number.parseInt(since, 16) < before && mtimeSeconds < before;
}

/** The boot of the machine and the space that process numbers are counted in; undefined where nothing says so. */
function hostMark(): string | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1');
    return mark(`${boot} ${readlinkSync('/proc/self/ns/pid')}`);
  } catch {
    return undefined;
  }
}

/** Tells apart two processes that were given the same number; undefined where it does not run. */
function startMark(pid: number): string | undefined {
  try {
    // The command's name may hold spaces and parentheses, so fields count from its end.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return mark(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '');
  } catch {
    return undefined;
  }
}

function mark(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

function random(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
