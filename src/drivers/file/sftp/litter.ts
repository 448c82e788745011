import { nameOf, type Log } from '../../../driver.ts';
import { isMissing } from './errors.ts';
import { during } from './exchange.ts';
import type { Session } from './session.ts';
import { finished } from './temporary.ts';

/** Temporary files of writes that failed, until they are removed: at once, or over the next connection. */
export class Litter {
  readonly #log: Log;
  readonly #ending = new AbortController();
  readonly #left = new Set<string>();
  readonly #removing = new Set<Promise<void>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Removes a temporary file, however its write has ended; resolves when it is gone or cannot be removed now. */
  remove(session: Session, path: string): Promise<void> {
    this.#left.add(path);
    const removing = this.#remove(session, path).finally(() => this.#removing.delete(removing));
    this.#removing.add(removing);
    return removing;
  }

  /** Removes what could not be removed over an earlier connection. */
  removeLeft(session: Session): void {
    for (const path of [...this.#left]) void this.remove(session, path);
  }

  /** Waits for the removals that are under way, or for `enough`, and ends them. */
  async close(enough: Promise<void>): Promise<void> {
    await Promise.race([Promise.allSettled([...this.#removing]), enough]);
    this.#ending.abort();
    // Whoever opens the next client takes up what is left: this process does not write it any more.
    for (const path of this.#left) finished(nameOf(path));
  }

  async #remove(session: Session, path: string): Promise<void> {
    try {
      await during(session.connection, session.clock, this.#ending.signal, (exchange) =>
        exchange.unlink(session.at(path)),
      );
    } catch (error) {
      // A lost connection or a client that closes: it is tried again.
      if (session.connection.failure !== undefined || this.#ending.signal.aborted) return;
      if (!isMissing(error))
        this.#log.warn('the temporary file of a failed write could not be removed', { error: String(error) });
    }
    this.#left.delete(path);
    finished(nameOf(path));
  }
}
