import { mkdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nameOf, type Clock } from '../../../driver.ts';
import { children, type Server } from './resources.ts';

import { ABANDONED_AFTER_MS, isAbandoned } from './temporary.ts';
import { change, isSuccess } from './verbs.ts';

/** Folders that one sweep looks into: each is a request. */
const MAX_FOLDERS = 1_000;
/** Entries that it looks at, though a server may tell of more without end: nobody waits for it, so nothing else ends it. */
const MAX_ENTRIES = 250_000;
/** Files that it removes; the rest is the next one's. */
const MAX_REMOVED = 1_000;

/** Removes what writes that were cut off left behind; the answer is how many. */
export async function sweep(server: Server, signal: AbortSignal): Promise<number> {
  const folders = [''];
  let looked = 0;
  let seen = 0;
  let removed = 0;
  const isEnough = (found: number): boolean => seen >= MAX_ENTRIES || removed + found >= MAX_REMOVED;
  for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
    const abandoned: string[] = [];
    for await (const { path, isCollection } of children(server, folder, signal)) {
      if (isCollection && looked + folders.length < MAX_FOLDERS) folders.push(path);
      if (!isCollection && isAbandoned(nameOf(path), server.http.clock.now())) abandoned.push(path);
      seen += 1;
      if (isEnough(abandoned.length)) break;
    }
    for (const path of abandoned) if (isSuccess(await change(server, 'DELETE', path, signal))) removed += 1;
    if (isEnough(0)) return removed;
    looked += 1;
  }
  return removed;
}

/**
 * Whether the last sweep was a day ago; then this one is noted in the connector's folder. A connector that is seldom
 * used is opened at every use, and its server is not asked for every folder each time.
 */
export async function isSweepDue(folder: string, clock: Clock): Promise<boolean> {
  const note = join(folder, 'swept');
  const last = await stat(note).then(
    ({ mtimeMs }) => mtimeMs,
    () => Number.NEGATIVE_INFINITY,
  );
  if (clock.now() - last < ABANDONED_AFTER_MS) return false;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(note, '');
  const now = new Date(clock.now());
  await utimes(note, now, now);
  return true;
}
