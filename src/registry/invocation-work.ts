import type { ConnectorRecord } from '../connectors/base.ts';
import type { InvocationLog, InvocationQueue } from '../connectors/serverless/invocations.ts';
import { InvocationWorker, type InvocationRunner } from '../connectors/serverless/worker.ts';
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/driver.ts';
import { pacer } from '../store/pacer.ts';
import type { Store } from '../store/store.ts';
import type { Folders } from './folders.ts';
import { InvocationResults } from './invocation-results.ts';

/** How often expired invocations are removed. */
const SWEEP_MS = 60_000;

export type InvocationWorkParts = {
  readonly store: Store;
  readonly folders: Folders;
  readonly clock: Clock;
  readonly log: Log;
  /** Asynchronous invocations of all tenants that run at once in this process, at most. */
  readonly maxConcurrent: number;
};

/** The invocations of one registry: where they are kept, who runs them, and when they are forgotten. */
export class InvocationWork {
  readonly worker: InvocationWorker;
  readonly #parts: InvocationWorkParts;
  readonly #results: InvocationResults;
  #cancelSweep = (): void => {};
  #isClosed = false;

  constructor(parts: InvocationWorkParts) {
    const { store, folders, clock, log, maxConcurrent: all } = parts;
    this.#parts = parts;
    this.#results = new InvocationResults(folders);
    const queue: InvocationQueue = {
      claim: (wants, now, leaseEnd) => store.claimInvocations(wants, now, leaseEnd),
      renew: (leases, leaseEnd) => store.renewInvocations(leases, leaseEnd),
      end: (lease, end) => this.#results.keep(lease, end, (stored) => store.endInvocation(lease, stored)),
      defer: (lease, deferral) => store.deferInvocation(lease, deferral),
      due: (now) => store.dueInvocations(now),
    };
    const ceilings = { all, perTenant: Math.ceil(all / 2) };
    this.worker = new InvocationWorker({ queue, clock, log, ceilings });
  }

  /** Where one connector's invocations are kept. */
  logOf({ tenantId, connectorId }: Pick<ConnectorRecord, 'tenantId' | 'connectorId'>): InvocationLog {
    const { store } = this.#parts;
    const results = this.#results;
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
      await this.#results.sweep({ tenantId, connectorId }, async (requestId) => {
        await pause();
        const record = await store.getInvocation(tenantId, connectorId, requestId);
        return record?.resultFile ?? null;
      });
    }
  }

  /** Lets what is accepted end for so long, then ends what still runs; it is taken up at the next start where it may be. */
  async close(graceMs: number): Promise<void> {
    const over = new AbortController();
    const cancel = this.#parts.clock.after(graceMs, () => over.abort());
    await this.worker.drain(over.signal);
    cancel();
    this.#isClosed = true;
    this.#cancelSweep();
    await this.worker.close();
  }

  #removeExpired(): Promise<number> {
    const { store, clock } = this.#parts;
    return store.removeExpiredInvocations(new Date(clock.now()), async (files) => {
      await Promise.all(files.map((file) => this.#results.remove(file, file)));
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
