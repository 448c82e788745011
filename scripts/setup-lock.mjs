import * as fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs `task` while no other process runs one under the same lock file, and waits for its turn until then.
 *
 * A lock file whose process is gone is taken over, so that a killed setup needs no cleaning up.
 */
export async function withLock(path, say, task) {
  for (let attempt = 1; !take(path); attempt++) {
    // The second failure, because the first one may only have cleared away the lock of a dead process.
    if (attempt === 2) say('another setup is under way; waiting for it');
    await sleep(200);
  }
  const release = () => fs.rmSync(path, { force: true });
  process.once('exit', release);
  try {
    return await task();
  } finally {
    process.off('exit', release);
    release();
  }
}

function take(path) {
  try {
    // A link appears whole, with its content, or not at all.
    const own = `${path}.${process.pid}`;
    fs.writeFileSync(own, String(process.pid));
    try {
      fs.linkSync(own, path);
      return true;
    } finally {
      fs.rmSync(own);
    }
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    removeIfAbandoned(path);
    return false;
  }
}

function removeIfAbandoned(path) {
  const holder = holderOf(path);
  if (holder === undefined || isAtWork(path, holder)) return;
  // Moved aside before it is removed: of several that see the dead process, one moves its file. Whoever moved a newer
  // lock by mistake puts it back.
  const aside = `${path}.dead-${process.pid}`;
  try {
    fs.renameSync(path, aside);
    if (holderOf(aside) !== holder) fs.linkSync(aside, path);
    fs.rmSync(aside);
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error;
  }
}

function holderOf(path) {
  try {
    return Number(fs.readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** No setup takes a quarter of an hour: a process that old has only been given the number of a dead one. */
function isAtWork(path, pid) {
  const age = Date.now() - (fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
  if (pid === process.pid || age > 15 * 60_000) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
