import { randomBytes } from 'node:crypto';
import { invalidField } from '../../../driver.ts';

const PATTERN = /^\.~write-([0-9a-z]{6,10})-[0-9a-f]{16}$/;
/** How long an upload may take at most: what is older is nobody's any more. */
export const ABANDONED_AFTER_MS = 86_400_000;

/** A name that no user can have written, which says when the write began, by our clock: servers' clocks differ. */
export function temporaryName(nowMs: number): string {
  return `.~write-${Math.trunc(nowMs).toString(36)}-${randomBytes(8).toString('hex')}`;
}

/** Whether the name is one of ours: never listed, read or written as a file. */
export function isTemporary(name: string): boolean {
  return PATTERN.test(name);
}

/** Whether it is one of ours whose write has ended long ago, whatever became of it. */
export function isAbandoned(name: string, nowMs: number): boolean {
  const [, began] = PATTERN.exec(name) ?? [];
  return began !== undefined && nowMs - Number.parseInt(began, 36) > ABANDONED_AFTER_MS;
}

/** @throws ConnectorError `invalid_argument` for a path with a name that is kept for unfinished writes. */
export function refuseTemporary(path: string): void {
  if (path.split('/').some(isTemporary))
    throw invalidField('path', 'has no name that is kept for unfinished writes');
}
