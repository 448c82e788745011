import { describe, expect, it } from 'vitest';
import type { ConnectorStatus } from '../connectors/kinds.ts';
import type { ConnectorRecord } from '../connectors/base.ts';
import { FAILED, type StoreSuite } from './store-suite.ts';

/** Whose health is to be looked at, and how often in a row it was bad. */
export function testProbes({ store, fresh, stored }: StoreSuite): void {
  const NOW = new Date(1_700_000_000_000);
  const later = (ms: number) => new Date(NOW.getTime() + ms);
  const inStatus = async (status: ConnectorStatus, patch: Partial<ConnectorRecord> = {}) =>
    (await stored({ activity: { ...FAILED, status }, ...patch })).record;
  /** Ids of what is claimed, of these alone: other cases have connectors, too. */
  const claim = async (of: readonly ConnectorRecord[], now = NOW, nextAt = () => later(60_000)) => {
    const claimed = await store().claimProbes({ now, nextAt, limit: 10_000 });
    const ids = claimed.map(({ connectorId }) => connectorId);
    return of.map(({ connectorId }) => connectorId).filter((id) => ids.includes(id));
  };

  describe('probes', () => {
    it('are of connectors that are connected or in error, of all tenants, and of no others', async () => {
      const others = ['registered', 'configuring', 'ready', 'disconnected', 'deprecated'] as const;
      const all: ConnectorRecord[] = [];
      for (const status of [...others, 'connected', 'error'] as const)
        all.push(await inStatus(status, { tenantId: fresh('tenant') }));
      expect(await claim(all)).toEqual(all.slice(-2).map(({ connectorId }) => connectorId));
    });

    it('say whose connector it is and when it is due again, each at its own time', async () => {
      const all = [await inStatus('connected'), await inStatus('error', { tenantId: fresh('tenant') })];
      let turn = 0;
      const claimed = await store().claimProbes({ now: NOW, nextAt: () => later(++turn), limit: 10_000 });
      const found = all.map(({ connectorId }) => claimed.find((one) => one.connectorId === connectorId));
      expect(found.map((one) => one?.tenantId)).toEqual(all.map(({ tenantId }) => tenantId));
      expect(new Set(claimed.map(({ nextAt }) => nextAt.getTime())).size).toBe(claimed.length);
      for (const { connectorId, nextAt } of claimed.filter((one) => found.includes(one))) {
        const own = all.filter((one) => one.connectorId === connectorId);
        expect(await claim(own, new Date(nextAt.getTime() - 1))).toEqual([]);
        expect(await claim(own, nextAt)).toEqual([connectorId]);
      }
    });

    it('go to one of those that ask at once', async () => {
      const all = [await inStatus('connected'), await inStatus('connected'), await inStatus('error')];
      const claims = await Promise.all(Array.from({ length: 8 }, () => claim(all)));
      expect(claims.flat().toSorted()).toEqual(all.map(({ connectorId }) => connectorId).toSorted());
    });

    it('go to those first that wait longest, no more than are asked for', async () => {
      const FAR = 1e11;
      await claim([], later(FAR), () => later(2 * FAR));
      const ids: string[] = [];
      // Each of them is the only one that is due when it is claimed.
      for (const dueMs of [20, 30, 10]) {
        const one = await inStatus('connected');
        ids.push(...(await claim([one], NOW, () => later(dueMs))));
      }
      const [first, second, third] = ids;
      const want = { now: later(1_000), nextAt: () => later(FAR), limit: 2 };
      const claimed = async () =>
        (await store().claimProbes(want)).map(({ connectorId }) => connectorId).toSorted();
      expect(await claimed()).toEqual([first, third]);
      expect(await claimed()).toEqual([second]);
    });

    it('count the checks that failed in a row, until one passes', async () => {
      const { tenantId, connectorId } = await inStatus('connected');
      const count = (failed: number) => store().countFailedChecks({ tenantId, connectorId, failed });
      expect([await count(1), await count(1), await count(3), await count(0), await count(1)]).toEqual([
        1, 2, 5, 0, 1,
      ]);
    });

    it('count the same whether a connector was claimed before or after', async () => {
      const record = await inStatus('error');
      const { tenantId, connectorId } = record;
      const count = () => store().countFailedChecks({ tenantId, connectorId, failed: 1 });
      await count();
      expect(await claim([record])).toEqual([connectorId]);
      expect(await count()).toBe(2);
    });

    it("count nothing of another tenant's connector, or of one that is gone", async () => {
      const { tenantId, connectorId } = await inStatus('connected');
      const foreign = { tenantId: fresh('tenant'), connectorId };
      expect(await store().countFailedChecks({ tenantId, connectorId, failed: 1 })).toBe(1);
      expect(await store().countFailedChecks({ ...foreign, failed: 0 })).toBe(0);
      expect(await store().countFailedChecks({ ...foreign, failed: 1 })).toBe(0);
      expect(await store().countFailedChecks({ tenantId, connectorId, failed: 1 })).toBe(2);
      await store().deleteConnector(tenantId, connectorId);
      expect(await store().countFailedChecks({ tenantId, connectorId, failed: 1 })).toBe(0);
    });
  });
}
