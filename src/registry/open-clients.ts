import type { Clock } from '../contract/clock.ts';
import type { Client, Log } from '../contract/driver.ts';
import { ConnectorError } from '../errors/error.ts';

type Entry = {
  readonly key: string;
  readonly tenantId: string;
  /** Kept for the session that it is of: one that were collected would not close the client when the configuration changes. */
  readonly open: () => Promise<Client>;
  readonly opening: Promise<Client>;
  client: Client | undefined;
  users: number;
  /** When somebody last used it; undefined while nobody has. */
  idleSinceMs: number | undefined;
  /** Set when the client must go: no new caller gets it, and the last one to leave closes it. */
  closing: { readonly done: Promise<void>; readonly finish: () => void } | undefined;
  closed: boolean;
};

/** A client in use; `release` it exactly once. */
export type Lease<C> = { readonly client: C; release(): void };

export type OpenClientsOptions = {
  readonly clock: Clock;
  readonly log: Log;
  /** A client that nobody used for so long is closed. */
  readonly idleCloseMs: number;
  /**
   * Clients open at once, at most, and half as many of one tenant where there are several; beyond it the least recently
   * used idle one is closed.
   */
  readonly maxOpen: number;
  /** How long a client that must go waits for its callers. */
  readonly graceMs: number;
};

/**
 * The open clients of a process: one for each connector, opened once however many callers wait, closed when idle.
 */
export class OpenClients {
  readonly #options: OpenClientsOptions;
  /** In order of use: the first is the least recently used. */
  readonly #entries = new Map<string, Entry>();
  /** How many of them each tenant has. */
  readonly #counts = new Map<string, number>();
  /** The only tenant so far; `null` once there were several. */
  #only: string | null | undefined;
  /** Clients on their way out: a connector has one client at a time, so the next one waits for them. */
  readonly #leaving = new Map<string, Promise<void>>();
  #cancelSweep: (() => void) | undefined;
  /** Clients that somebody else opens and closes. */
  #reserved = 0;

  constructor(options: OpenClientsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  isOpen(key: string): boolean {
    return this.#entries.get(key)?.client !== undefined;
  }

  /**
   * The client of `key`, opened by `open` where it is not open yet.
   *
   * @param options `isUse`: whether it counts as use; a client that is only looked at is idle all the same.
   * @throws ConnectorError `unavailable` with `details.asked: false` when as many clients as allowed are open, of all or of
   *   the tenant, and all are in use; what `open` threw.
   */
  async lease<C extends Client>(
    key: string,
    open: () => Promise<C>,
    { tenantId, isUse }: { readonly tenantId: string; readonly isUse: boolean },
  ): Promise<Lease<C>> {
    const entry = this.#entries.get(key) ?? this.#start({ key, tenantId, open });
    entry.users += 1;
    try {
      // One key has one kind of client, so what was opened for it is a C.
      const client = (entry.client ?? (await entry.opening)) as C;
      return { client, release: once(() => this.#leave(entry, { isUse })) };
    } catch (error) {
      this.#leave(entry, { isUse });
      throw error;
    }
  }

  /**
   * Makes room for a client that the caller opens and closes himself; the answer gives it back. Undefined when as many as
   * allowed are open and all are in use.
   */
  reserve(): (() => void) | undefined {
    if (!this.#makeRoom()) return undefined;
    this.#reserved += 1;
    return once(() => void (this.#reserved -= 1));
  }

  /** Keeps the open client of `key` in use beyond a lease; the answer lets go of it. Call it while holding a lease. */
  hold(key: string): () => void {
    const entry = this.#entries.get(key);
    if (!entry) return () => {};
    entry.users += 1;
    return once(() => this.#leave(entry, { isUse: true }));
  }

  /** Closes the client of `key` when its callers have left, or under them after the grace; resolves then. */
  close(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    return entry ? this.#closeEach([entry]) : Promise.resolve();
  }

  /** Closes every client in the same way. */
  async closeAll(): Promise<void> {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    await this.#closeEach([...this.#entries.values()]);
    await Promise.all(this.#leaving.values());
  }

  async #closeEach(entries: readonly Entry[]): Promise<void> {
    const all = Promise.all(entries.map((entry) => this.#retire(entry)));
    const cancel = this.#options.clock.after(this.#options.graceMs, () => {
      for (const entry of entries) this.#finish(entry);
    });
    await all.finally(cancel);
  }

  #start({ key, tenantId, open }: Pick<Entry, 'key' | 'tenantId' | 'open'>): Entry {
    const share = this.#shareOf(tenantId);
    while (this.#countOf(tenantId) >= share) {
      if (!this.#retireIdle((entry) => entry.tenantId === tenantId)) throw this.#full(share);
    }
    if (!this.#makeRoom()) throw this.#full(this.#options.maxOpen);
    const leaving = this.#leaving.get(key);
    const opening = leaving ? leaving.then(open) : open();
    const entry: Entry = {
      key,
      tenantId,
      open,
      opening,
      client: undefined,
      users: 0,
      idleSinceMs: undefined,
      closing: undefined,
      closed: false,
    };
    this.#entries.set(key, entry);
    this.#counts.set(tenantId, this.#countOf(tenantId) + 1);
    opening.then(
      (client) => {
        entry.client = client;
      },
      () => this.#drop(entry),
    );
    this.#scheduleSweep();
    return entry;
  }

  /** How many clients a tenant may have open: where it is not alone, others must find room whatever its backends do. */
  #shareOf(tenantId: string): number {
    const { maxOpen } = this.#options;
    if (this.#only === undefined) this.#only = tenantId;
    else if (this.#only !== tenantId) this.#only = null;
    return this.#only === null ? Math.ceil(maxOpen / 2) : maxOpen;
  }

  #countOf(tenantId: string): number {
    return this.#counts.get(tenantId) ?? 0;
  }

  /** Whether one more may be open; closes an idle one where that takes it. */
  #makeRoom(): boolean {
    const isFull = this.#entries.size + this.#reserved >= this.#options.maxOpen;
    return !isFull || this.#retireIdle(() => true);
  }

  /** Closes the least recently used idle client of those that are meant; false where there is none. */
  #retireIdle(isMeant: (entry: Entry) => boolean): boolean {
    for (const entry of this.#entries.values()) {
      if (entry.users > 0 || !isMeant(entry)) continue;
      void this.#retire(entry);
      return true;
    }
    return false;
  }

  #full(limit: number): ConnectorError {
    const { maxOpen } = this.#options;
    const clients =
      limit === maxOpen ? `all ${maxOpen} clients` : `the tenant's share, ${limit} of ${maxOpen} clients`;
    const message = `${clients} that may be open at once are in use; try again when calls have ended, or raise maxOpenClients`;
    return new ConnectorError('unavailable', message, {
      details: { limit, maxOpen, asked: false, sent: false },
      retryAfterMs: 1_000,
    });
  }

  #leave(entry: Entry, { isUse }: { readonly isUse: boolean }): void {
    entry.users -= 1;
    if (isUse || entry.idleSinceMs === undefined) entry.idleSinceMs = this.#options.clock.monotonicMs();
    if (entry.users > 0) return;
    if (entry.closing) this.#finish(entry);
    else if (isUse && this.#entries.get(entry.key) === entry) {
      this.#entries.delete(entry.key);
      this.#entries.set(entry.key, entry);
    }
  }

  #retire(entry: Entry): Promise<void> {
    this.#drop(entry);
    if (!entry.closing) {
      const { promise: done, resolve: finish } = Promise.withResolvers<void>();
      entry.closing = { done, finish };
      this.#leaving.set(entry.key, done);
      if (entry.users === 0) this.#finish(entry);
    }
    return entry.closing.done;
  }

  #finish(entry: Entry): void {
    if (entry.closed) return;
    entry.closed = true;
    const { closing } = entry;
    const shut = async () => {
      const client = await entry.opening.catch(() => undefined);
      await client?.close();
    };
    shut()
      .catch((error: unknown) =>
        this.#options.log.warn('a client did not close cleanly', { error: String(error) }),
      )
      .finally(() => {
        if (closing && this.#leaving.get(entry.key) === closing.done) this.#leaving.delete(entry.key);
        closing?.finish();
      });
  }

  #drop(entry: Entry): void {
    if (this.#entries.get(entry.key) !== entry) return;
    this.#entries.delete(entry.key);
    const left = this.#countOf(entry.tenantId) - 1;
    if (left > 0) this.#counts.set(entry.tenantId, left);
    else this.#counts.delete(entry.tenantId);
  }

  #scheduleSweep(): void {
    const { clock, idleCloseMs } = this.#options;
    this.#cancelSweep ??= clock.inBackground(Math.max(1, idleCloseMs / 4), () => {
      this.#cancelSweep = undefined;
      const before = clock.monotonicMs() - idleCloseMs;
      for (const entry of [...this.#entries.values()]) {
        if (entry.users === 0 && entry.client && (entry.idleSinceMs ?? 0) <= before) void this.#retire(entry);
      }
      if (this.#entries.size > 0) this.#scheduleSweep();
    });
  }
}

function once(task: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    task();
  };
}
