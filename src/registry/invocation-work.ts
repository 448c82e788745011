import type { ConnectorRecord } from '../connectors/base.ts';
import type { InvocationLog, InvocationQueue } from '../connectors/serverless/invocations.ts';
import { InvocationWorker, type InvocationRunner } from '../connectors/serverless/worker.ts';
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/driver.ts';
import { ConnectorError } from '../errors/error.ts';
import { pacer } from '../store/pacer.ts';
import type { Store } from '../store/store.ts';
import type { Folders } from './folders.ts';
import { InvocationResults } from './invocation-results.ts';

/** How often expired invocations are removed. */
const SWEEP_MS = 60_000;

export type InvocationWorkParts = {
  readonly store: Store;
  readonly folders: Folders;
  readonly registryId: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Asynchronous invocations of all tenants that run at once in this process, at most. */
  readonly maxConcurrent: number;
};

/** The invocations of one registry: where they are kept, who runs them, and when they are forgotten. */
export class InvocationWork {
  readonly worker: InvocationWorker;
  /** Dates by the store's clock where servers share it: one whose date is wrong forgets nothing too early for all. */
  readonly clock: Clock;
  readonly #parts: InvocationWorkParts;
  /** Where results lie that are too large for their rows. */
  readonly results: InvocationResults;
  #cancelSweep = (): void => {};
  #leftMs: number | undefined;
  readonly #going = new Set<Promise<void>>();
  #isClosed = false;

  constructor(parts: InvocationWorkParts) {
    const { store, folders, registryId, clock, log, maxConcurrent: all } = parts;
    this.#parts = parts;
    this.results = new InvocationResults(folders, { registryId, log, isShared: store.peers !== undefined });
    const queue: InvocationQueue = {
      claim: (wants, now, leaseEnd) => store.claimInvocations(wants, now, leaseEnd),
      renew: (leases, leaseEnd) => store.renewInvocations(leases, leaseEnd),
      end: (lease, end) => this.results.keep(lease, end, (stored) => store.endInvocation(lease, stored)),
      defer: (lease, deferral) => store.deferInvocation(lease, deferral),
      ended: (requestIds) => store.endedInvocations(requestIds),
      due: (now, after) => store.dueInvocations(now, after),
    };
    const ceilings = { all, perTenant: Math.ceil(all / 2) };
    this.clock = store.peers ? datedBy(store.peers, clock) : clock;
    this.worker = new InvocationWorker({ queue, clock, log, ceilings, shared: store.peers });
  }

  /** Where one connector's invocations are kept. */
  logOf({ tenantId, connectorId }: Pick<ConnectorRecord, 'tenantId' | 'connectorId'>): InvocationLog {
    const { store } = this.#parts;
    const { results } = this;
    return {
      async add(invocation) {
        const { record, isNew } = await store.addInvocation(invocation);
        return { record: await results.whole(record), isNew };
      },
      async get(requestId) {
        const record = await store.getInvocation(tenantId, connectorId, requestId);
        return record && results.whole(record);
      },
      list: (filter) => store.listInvocations(tenantId, connectorId, filter),
      async cancel(requestId, end) {
        const ended = await store.cancelInvocation(tenantId, connectorId, requestId, end);
        return ended && { ...ended, record: await results.whole(ended.record) };
      },
    };
  }

  /**
   * Takes up what an earlier process left, now and from then on, and removes what has expired.
   *
   * @param find absent: only what this process accepts is run.
   */
  async start(
    find: ((connectorId: string) => Promise<InvocationRunner | undefined>) | undefined,
  ): Promise<void> {
    const { store } = this.#parts;
    await this.#removeExpired();
    this.#sweepLater();
    if (!find) return;
    // Where others may be at it, their leases alone say when they are not. Whoever has the store alone knows that no other worker is at it: what ran when the process before ended need not wait.
    if (!store.peers) await store.releaseInvocations(new Date(this.worker.now()));
    this.worker.watch(find);
  }

  /** Removes the files of results that an earlier process wrote and did not come to name. */
  async sweep(): Promise<void> {
    const { store, folders } = this.#parts;
    for (const connectorId of await folders.connectorIds('serverless')) {
      const found = this.#isClosed ? undefined : await store.getConnector(null, connectorId);
      if (!found) continue;
      const { tenantId } = found.record;
      const pause = pacer();
      await this.results.sweep({ tenantId, connectorId }, async (requestId) => {
        await pause();
        const record = await store.getInvocation(tenantId, connectorId, requestId);
        return record?.resultFile ?? null;
      });
    }
    const pause = pacer();
    await this.results.sweepConnector(new Date(this.clock.now()), async (connectorId, requestId) => {
      await pause();
      if (this.#isClosed) throw new ConnectorError('cancelled', 'the registry is being closed');
      const found = await store.getConnector(null, connectorId);
      if (!found) return null;
      return (await store.getInvocation(found.record.tenantId, connectorId, requestId))?.resultFile ?? null;
    });
  }

  /** Removes what is kept for a connector that is gone, or for all of a tenant, elsewhere than in its folder; nobody waits for it. */
  forget(where: Pick<ConnectorRecord, 'tenantId'> & Partial<Pick<ConnectorRecord, 'connectorId'>>): void {
    const { tenantId, connectorId } = where;
    const going = this.results
      .forget({ tenantId, ...(connectorId !== undefined && { connectorId }) })
      .finally(() => this.#going.delete(going));
    this.#going.add(going);
  }

  /** Whoever waits for an invocation has his answer now. Where there are other servers, they take up what is due. */
  leave(): void {
    this.#leftMs ??= this.#parts.clock.monotonicMs();
    const others = (this.#parts.store.peers?.count ?? 1) - 1;
    this.worker.leave({ handsOver: others > 0 });
  }

  /**
   * Lets what is accepted end for so long since it was left, then ends what still runs; where it may be, it is taken up by
   * another server at once, or at the next start.
   */
  async close(graceMs: number): Promise<void> {
    const { clock } = this.#parts;
    this.leave();
    const over = new AbortController();
    const leftMs = Math.max(0, graceMs - (clock.monotonicMs() - (this.#leftMs ?? 0)));
    const cancel = clock.after(leftMs, () => over.abort());
    await this.worker.drain(over.signal);
    cancel();
    this.#isClosed = true;
    this.#cancelSweep();
    await Promise.all([this.worker.close(), ...this.#going]);
  }

  #removeExpired(): Promise<number> {
    return this.#parts.store.removeExpiredInvocations(new Date(this.clock.now()), async (files) => {
      await Promise.all(files.map((file) => this.results.remove(file, file)));
    });
  }

  #sweepLater(): void {
    const { clock, log } = this.#parts;
    if (this.#isClosed) return;
    this.#cancelSweep = clock.inBackground(SWEEP_MS, () => {
      void this.#removeExpired()
        .catch((error: unknown) => log.warn('expired invocations were not removed', { error: String(error) }))
        .finally(() => this.#sweepLater());
    });
  }
}

function datedBy(shared: { now(): number }, clock: Clock): Clock {
  return {
    now: () => shared.now(),
    monotonicMs: () => clock.monotonicMs(),
    after: (ms, task) => clock.after(ms, task),
    inBackground: (ms, task) => clock.inBackground(ms, task),
  };
}
