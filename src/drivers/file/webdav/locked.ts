import { sleep, type Clock } from '../../../driver.ts';
import type { Answer } from './http.ts';

/** How often what is locked is tried, and what is waited before the second time; twice as long before each other. */
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 50;

/**
 * The answer, once it is another than 423 Locked, or 423 after three quarters of a second.
 *
 * Servers lock a file while they change it and refuse whoever comes meanwhile. The policies cannot wait for that: they
 * repeat no call whose content was a stream.
 */
export async function unlessLocked(
  clock: Clock,
  signal: AbortSignal,
  task: () => Promise<Answer>,
): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await task();
    if (answer.statusCode !== 423 || attempt === ATTEMPTS) return answer;
    await sleep(clock, FIRST_WAIT_MS * 2 ** (attempt - 1), signal);
  }
}
