import type { FairTurns, Worked } from './fair-turns.ts';
import { DUE_PER_TENANT, type DueAfter, type DueConnectors } from './invocations.ts';

/** Between two looks where a tenant has more than was looked at, in milliseconds. */
export const LOOK_ON_MS = 100;

export type DueLooksParts<W extends Worked> = {
  readonly turns: FairTurns<W>;
  readonly due: (after: DueAfter) => Promise<DueConnectors>;
  /** Undefined where it is not for this process, or cannot be had. */
  readonly find: (connectorId: string) => Promise<W | undefined>;
  readonly offer: (worked: W) => void;
};

/**
 * Looks for the connectors with something due, a part of each tenant's at a time: what is due of one tenant, however much,
 * is found within a look.
 */
export class DueLooks<W extends Worked> {
  readonly #parts: DueLooksParts<W>;
  #after: DueAfter = new Map();

  constructor(parts: DueLooksParts<W>) {
    this.#parts = parts;
  }

  /** Whether some tenant, of which something was found now, has more. */
  async look(): Promise<boolean> {
    const { turns, due, find, offer } = this.#parts;
    const before = this.#after;
    const { connectors, after } = await due(before);
    // Of a tenant that has enough here no more is found before that is done; a later look begins there again.
    const tenants = new Set(connectors.map(({ tenantId }) => tenantId));
    const full = new Set([...tenants].filter((tenantId) => turns.connectorsOf(tenantId) >= DUE_PER_TENANT));
    const found = new Set<string>();
    for (const place of connectors) {
      if (full.has(place.tenantId) || turns.isOffered(place)) continue;
      const worked = await find(place.connectorId);
      if (!worked) continue;
      found.add(place.tenantId);
      offer(worked);
    }
    const stopped = [...after].filter(([tenantId]) => !full.has(tenantId));
    this.#after = new Map([...stopped, ...[...before].filter(([tenantId]) => full.has(tenantId))]);
    return [...after.keys()].some((tenantId) => found.has(tenantId));
  }
}
