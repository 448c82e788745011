import type { ClaimWant } from './invocations.ts';

/** How many turns there are. */
export type Ceilings = {
  /** In the process. */
  readonly all: number;
  /** Of one tenant, so that those of a few cannot take them all. */
  readonly perTenant: number;
};

/** Whose work takes turns. */
export type Worked = {
  readonly tenantId: string;
  readonly connectorId: string;
  /** Turns at once, at most. */
  readonly maxConcurrency: number;
};

type Lane<W> = {
  readonly worked: W;
  running: number;
  /** There may be work that nobody has taken up; counts offers, so that one made meanwhile is not lost. */
  offers: number;
  /** There is more, for when one of its own turns is done: other servers use the rest of what may run at once. */
  isFull: boolean;
};

type Tenant<W> = { running: number; readonly lanes: Map<string, Lane<W>> };

/** Turns of one connector, and how many offers it had when they were taken. */
export type Taken<W> = ClaimWant & { readonly worked: W; readonly offers: number };

/**
 * Shares out turns: one after another to the tenants that have work, and within a tenant to its connectors, so that a
 * long queue delays its own tenant alone.
 */
export class FairTurns<W extends Worked> {
  readonly #ceilings: Ceilings;
  /** Whoever had a turn goes to the end. */
  readonly #tenants = new Map<string, Tenant<W>>();
  #running = 0;

  constructor(ceilings: Ceilings) {
    this.#ceilings = ceilings;
  }

  /** Whether anything runs or may be waiting. */
  get busy(): boolean {
    return this.#tenants.size > 0;
  }

  /** Whether anything runs. */
  get running(): boolean {
    return this.#running > 0;
  }

  /** Connectors of a tenant that run something or may have work. */
  connectorsOf(tenantId: string): number {
    return this.#tenants.get(tenantId)?.lanes.size ?? 0;
  }

  /** Whether a connector is known to have work already. */
  isOffered({ tenantId, connectorId }: Pick<Worked, 'tenantId' | 'connectorId'>): boolean {
    return (this.#tenants.get(tenantId)?.lanes.get(connectorId)?.offers ?? 0) > 0;
  }

  /** A connector may have work. */
  offer(worked: W): void {
    const { tenantId, connectorId } = worked;
    const tenant = this.#tenants.get(tenantId) ?? { running: 0, lanes: new Map<string, Lane<W>>() };
    this.#tenants.set(tenantId, tenant);
    const lane = tenant.lanes.get(connectorId) ?? { worked, running: 0, offers: 0, isFull: false };
    lane.offers += 1;
    tenant.lanes.set(connectorId, lane);
  }

  /** Turns for what may be waiting, taken until `done` gives each back. */
  take(): readonly Taken<W>[] {
    const taken = new Map<Lane<W>, Taken<W>>();
    while (this.#running < this.#ceilings.all) {
      const lane = this.#next();
      if (!lane) break;
      const { worked, offers } = lane;
      const { tenantId, connectorId, maxConcurrency } = worked;
      const limit = (taken.get(lane)?.limit ?? 0) + 1;
      taken.set(lane, { worked, tenantId, connectorId, maxConcurrency, limit, offers });
    }
    return [...taken.values()];
  }

  /**
   * What came of turns that were taken: `used` go on until `done`, the others are given back.
   *
   * @param isFull there may be more, but as many run already as may, on this server and others.
   */
  settle({ tenantId, connectorId, limit, offers }: Taken<W>, used: number, isFull = false): void {
    const lane = this.#tenants.get(tenantId)?.lanes.get(connectorId);
    if (lane && used < limit && lane.offers === offers) {
      lane.offers = 0;
      lane.isFull = isFull;
    }
    this.#giveBack(tenantId, connectorId, limit - used);
  }

  done(tenantId: string, connectorId: string): void {
    const lane = this.#tenants.get(tenantId)?.lanes.get(connectorId);
    if (lane?.isFull) {
      lane.isFull = false;
      lane.offers += 1;
    }
    this.#giveBack(tenantId, connectorId, 1);
  }

  #giveBack(tenantId: string, connectorId: string, turns: number): void {
    const tenant = this.#tenants.get(tenantId);
    const lane = tenant?.lanes.get(connectorId);
    if (!tenant || !lane) return;
    lane.running -= turns;
    tenant.running -= turns;
    this.#running -= turns;
    if (lane.running === 0 && lane.offers === 0) tenant.lanes.delete(connectorId);
    if (tenant.lanes.size === 0) this.#tenants.delete(tenantId);
  }

  #next(): Lane<W> | undefined {
    for (const [tenantId, tenant] of this.#tenants) {
      if (tenant.running >= this.#ceilings.perTenant) continue;
      for (const lane of tenant.lanes.values()) {
        if (lane.offers === 0 || lane.running >= lane.worked.maxConcurrency) continue;
        lane.running += 1;
        tenant.running += 1;
        this.#running += 1;
        toEnd(this.#tenants, tenantId, tenant);
        toEnd(tenant.lanes, lane.worked.connectorId, lane);
        return lane;
      }
    }
    return undefined;
  }
}

function toEnd<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
}
