import type { BaseConnector } from '../connectors/base.ts';
import { DriverConnector } from '../connectors/session.ts';
import { sleep } from '../contract/clock.ts';
import type { ClaimedProbe } from '../store/store.ts';
import type { Parts } from './parts.ts';
import { absent, clientKey } from './session.ts';
import { isDriverKind } from './spec.ts';

/** Connectors that one server looks at, at once, at most. */
const AT_ONCE = 5;
/** Of one tenant: what is left is for the others, however long its backends take. */
const OF_ONE_TENANT = 4;
/** How long connectors wait for those of their own tenant while others might be looked at. */
const PATIENCE_MS = 5_000;
/** Connectors taken from the store by one statement, at most. */
const CLAIMED_AT_ONCE = 20;
/** How often a server asks what is due. */
const ASK_MS = 5_000;
/** Of each time, up or down, so that neither servers nor connectors march in step. */
const JITTER = 0.2;
/** The part of the time that asking may take: it reads all that is connected. */
const ASKING_SHARE = 0.05;

/**
 * Looks at the health of connectors that are connected or failed, in the background; where servers share the store, each
 * connector is looked at by one of them at a time. What comes of it is what a test by hand makes of it.
 *
 * Left alone is what the backend refused the credentials of, until its configuration changes.
 */
export class Prober {
  readonly #intervalMs: number;
  readonly #closing = new AbortController();
  readonly #running = new Map<string, { readonly tenantId: string; readonly ended: Promise<void> }>();
  /** What is due and has not begun. */
  readonly #waiting = new Set<ClaimedProbe>();
  #cancelTimer = (): void => {};
  #asking: Promise<void> = Promise.resolve();

  /** @param intervalMs between two looks at the same connector; 0 never looks. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Begins, until `close`. */
  start(parts: Parts, find: (connectorId: string) => Promise<BaseConnector>): void {
    if (this.#intervalMs <= 0 || this.#closing.signal.aborted) return;
    const waitMs = jittered(Math.min(ASK_MS, this.#intervalMs / 4), parts.random);
    this.#cancelTimer = parts.clock.inBackground(waitMs, () => {
      this.#asking = this.#ask(parts, find)
        .catch((error: unknown) =>
          this.#warn(parts, 'what health checks are due was not found out', { error: String(error) }),
        )
        .finally(() => this.start(parts, find));
    });
  }

  /** Ends what runs; waits so long for it, at most. What was not looked at is looked at when it is next due. */
  async close({ clock }: Pick<Parts, 'clock'>, graceMs: number): Promise<void> {
    this.#closing.abort();
    this.#cancelTimer();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(graceMs, resolve);
    await Promise.race([over, Promise.all([this.#asking, ...this.#endings()])]);
    cancel();
  }

  /** Looks at everything that is due, while there is any. */
  async #ask(parts: Parts, find: (connectorId: string) => Promise<BaseConnector>): Promise<void> {
    const { clock } = parts;
    const { signal } = this.#closing;
    for (;;) {
      const startMs = clock.monotonicMs();
      const claimed = await this.#claim(parts);
      const askedMs = clock.monotonicMs() - startMs;
      for (const one of claimed) this.#waiting.add(one);
      await this.#lookAtEach(parts, find);
      if (claimed.length < CLAIMED_AT_ONCE) return;
      await sleep(clock, askedMs / ASKING_SHARE, signal);
    }
  }

  /** Begins to look at each that waits, or leaves it for later where those of its tenant take long. */
  async #lookAtEach(parts: Parts, find: (connectorId: string) => Promise<BaseConnector>): Promise<void> {
    while (this.#waiting.size > 0 && !this.#closing.signal.aborted) {
      const next = [...this.#waiting].find(({ tenantId }) => this.#hasTurn(tenantId));
      if (next) {
        this.#waiting.delete(next);
        // One that waited until it is due again is anybody's by now.
        if (next.nextAt.getTime() > timeOf(parts)) this.#begin(next, parts, find);
      } else if (!(await this.#oneEnded(parts)) && this.#running.size < AT_ONCE) return;
    }
  }

  #hasTurn(tenantId: string): boolean {
    const running = [...this.#running.values()];
    const own = running.filter((one) => one.tenantId === tenantId);
    return running.length < AT_ONCE && own.length < OF_ONE_TENANT;
  }

  /** False where none of those that run ended for a while. */
  async #oneEnded({ clock }: Parts): Promise<boolean> {
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    const cancel = clock.inBackground(PATIENCE_MS, () => resolve(false));
    try {
      return await Promise.race([late, ...this.#endings().map((ended) => ended.then(() => true))]);
    } finally {
      cancel();
    }
  }

  #endings(): readonly Promise<void>[] {
    return [...this.#running.values()].map(({ ended }) => ended);
  }

  #claim(parts: Parts): Promise<readonly ClaimedProbe[]> {
    const { store, homes, random } = parts;
    const now = timeOf(parts);
    return store.claimProbes({
      now: new Date(now),
      nextAt: () => new Date(now + jittered(this.#intervalMs, random)),
      limit: CLAIMED_AT_ONCE,
      home: homes.here,
    });
  }

  #begin(
    { tenantId, connectorId }: ClaimedProbe,
    parts: Parts,
    find: (connectorId: string) => Promise<BaseConnector>,
  ): void {
    if (this.#running.has(connectorId)) return;
    const ended = find(connectorId)
      .catch(absent)
      .then((connector) => connector && this.#look(connector, parts))
      .catch((error: unknown) =>
        this.#warn(parts, 'the health of a connector was not looked at', {
          connectorId,
          error: String(error),
        }),
      )
      .finally(() => this.#running.delete(connectorId));
    this.#running.set(connectorId, { tenantId, ended });
  }

  async #look(connector: BaseConnector, { catalog, clients }: Parts): Promise<void> {
    const { connectorType, provider, status, lastError } = connector;
    // Connectors of the application's own class know themselves how they are.
    if (!(connector instanceof DriverConnector) || !isDriverKind(connectorType)) return;
    const isFailed = status === 'error' && lastError?.code !== 'auth_failed';
    if (status !== 'connected' && !isFailed) return;
    const { signal } = this.#closing;
    const { driver } = await catalog.load(connectorType, provider);
    if (!driver.remote) {
      // Opening an engine that works, only to ask it, would cost more than its answer is worth.
      if (isFailed || clients.isOpen(clientKey(connector))) await connector.healthCheck({ signal });
      return;
    }
    // Where callers have as many clients as may be open, they find out for themselves.
    const release = clients.reserve();
    try {
      if (release) await connector.healthCheck({ signal });
    } finally {
      release?.();
    }
  }

  /** What fails because the registry is being closed is no failure. */
  #warn({ log }: Parts, message: string, fields: Readonly<Record<string, unknown>>): void {
    if (!this.#closing.signal.aborted) log.warn(message, fields);
  }
}

/** By the clock that all servers go by, where there are several. */
function timeOf({ store, clock }: Parts): number {
  return store.peers?.now() ?? clock.now();
}

function jittered(ms: number, random: () => number): number {
  return Math.round(ms * (1 - JITTER + 2 * JITTER * random()));
}
