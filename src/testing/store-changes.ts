import { describe, expect, it } from 'vitest';
import { type ConnectorActivity, type ConnectorRecord, NO_ACTIVITY } from '../connectors/base.ts';
import type { ActivityChange } from '../store/store.ts';
import { ALL, FAILED, invocation, secret, type StoreSuite } from './store-suite.ts';

/** Updates and removals, with the secrets that go with them. */
export function testChanges({ store, fresh, connector, stored }: StoreSuite): void {
  describe('an update', () => {
    it('replaces the record and its secrets, and leaves what happened to it', async () => {
      const { record } = await stored({
        activity: FAILED,
        secrets: [secret('old', 'x'), secret('both', 'y')],
      });
      const sibling = await stored({ secrets: [secret('both', 'its own')] });
      const next = {
        ...record,
        name: fresh('renamed'),
        metadata: { changed: true },
        version: 2,
        updatedAt: new Date(record.updatedAt.getTime() + 5),
      };
      expect(await store().updateConnector(next, [secret('both', 'z')])).toBe(true);
      const found = await store().getConnector(record.tenantId, record.connectorId);
      expect(found).toMatchObject({ record: { name: next.name, metadata: { changed: true }, version: 2 } });
      expect(found?.record.updatedAt).toEqual(next.updatedAt);
      expect(found?.activity).toEqual(FAILED);
      expect(await store().getSecrets(record.tenantId, record.connectorId)).toEqual([secret('both', 'z')]);
      const { tenantId, connectorId } = sibling.record;
      expect(await store().getSecrets(tenantId, connectorId)).toEqual(sibling.secrets);
      expect(await store().getConnectorByName(record.tenantId, record.name)).toBeUndefined();
    });

    it('keeps the secrets where none are given', async () => {
      const { record, secrets } = await stored({ secrets: [secret('a', 'x')] });
      await store().updateConnector({ ...record, version: 2 }, undefined);
      expect(await store().getSecrets(record.tenantId, record.connectorId)).toEqual(secrets);
    });

    it('is refused as a conflict from any version but the one before, and changes nothing', async () => {
      const { record, secrets } = await stored({ secrets: [secret('a', 'x')] });
      for (const version of [1, 3]) {
        const attempt = store().updateConnector({ ...record, name: fresh('late'), version }, []);
        await expect(attempt).rejects.toMatchObject({ code: 'conflict', details: { version: 1 } });
      }
      const found = await store().getConnector(record.tenantId, record.connectorId);
      expect(found?.record.name).toBe(record.name);
      expect(await store().getSecrets(record.tenantId, record.connectorId)).toEqual(secrets);
    });

    it('is refused as a conflict where the connector is gone and another one has its id and version', async () => {
      const { record } = await stored();
      await store().deleteConnector(record.tenantId, record.connectorId);
      const later = await stored({ ...record, createdAt: new Date(record.createdAt.getTime() + 1) });
      const attempt = store().updateConnector({ ...record, name: fresh('late'), version: 2 }, []);
      await expect(attempt).rejects.toMatchObject({ code: 'conflict', details: { version: 1 } });
      const found = await store().getConnector(record.tenantId, record.connectorId);
      expect(found?.record).toEqual(later.record);
    });

    it('is refused when the name is taken, and changes nothing', async () => {
      const tenantId = fresh('tenant');
      const taken = await stored({ tenantId });
      const { record, secrets } = await stored({ tenantId, secrets: [secret('a', 'x')] });
      const attempt = store().updateConnector({ ...record, name: taken.record.name, version: 2 }, []);
      await expect(attempt).rejects.toMatchObject({
        code: 'already_exists',
        message: `a connector named "${taken.record.name}" exists already`,
      });
      expect((await store().getConnector(tenantId, record.connectorId))?.record.version).toBe(1);
      expect(await store().getSecrets(tenantId, record.connectorId)).toEqual(secrets);
    });

    it('finds nothing in another tenant, whatever the version, and touches nothing there', async () => {
      const { record, secrets } = await stored({ secrets: [secret('a', 'x')] });
      for (const version of [2, 7]) {
        const foreign = { ...record, tenantId: fresh('tenant'), name: fresh('stolen'), version };
        expect(await store().updateConnector(foreign, [])).toBe(false);
      }
      const found = await store().getConnector(record.tenantId, record.connectorId);
      expect(found).toMatchObject({ record: { name: record.name, version: 1 }, activity: NO_ACTIVITY });
      expect(await store().getSecrets(record.tenantId, record.connectorId)).toEqual(secrets);
    });
  });

  describe('removing', () => {
    it('takes the connector with its secrets and invocations', async () => {
      const { record } = await stored({ secrets: [secret('a', 'x')] });
      const { tenantId, connectorId } = record;
      const call = invocation(record, { requestId: fresh('request') });
      await store().addInvocation(call);
      expect(await store().deleteConnector(tenantId, connectorId)).toBe(true);
      expect(await store().getConnector(tenantId, connectorId)).toBeUndefined();
      expect(await store().getSecrets(tenantId, connectorId)).toEqual([]);
      expect(await store().getInvocation(tenantId, connectorId, call.requestId)).toBeUndefined();
      expect(await store().deleteConnector(tenantId, connectorId)).toBe(false);
    });

    it('finds nothing in another tenant', async () => {
      const { tenantId, connectorId } = (await stored()).record;
      expect(await store().deleteConnector(fresh('tenant'), connectorId)).toBe(false);
      expect(await store().getConnector(tenantId, connectorId)).toBeDefined();
    });

    it('clears one tenant, however many connectors it has, and no other', async () => {
      const [cleared, kept] = [fresh('tenant'), fresh('tenant')];
      const many = Array.from({ length: 450 }, () => connector({ tenantId: cleared }));
      await store().insertConnectors([...many, connector({ tenantId: kept })]);
      const ids = await store().clearTenant(cleared);
      expect([...ids].sort()).toEqual(many.map(({ record }) => record.connectorId).sort());
      expect(await store().listConnectors({ tenantId: cleared, ...ALL })).toEqual([]);
      expect(await store().listConnectors({ tenantId: kept, ...ALL })).toHaveLength(1);
      expect(await store().clearTenant(cleared)).toEqual([]);
      const tenants = await store().listTenants();
      expect(tenants).toContain(kept);
      expect(tenants).not.toContain(cleared);
      expect(tenants).toEqual([...tenants].sort());
    });
  });

  describe('secrets', () => {
    it('are known to their own tenant alone', async () => {
      const { record, secrets } = await stored({ secrets: [secret('a', 'x'), secret('b', 'y')] });
      expect(await store().getSecrets(record.tenantId, record.connectorId)).toEqual(secrets);
      expect(await store().getSecrets(fresh('tenant'), record.connectorId)).toEqual([]);
    });

    it('are read with their connector, in one piece', async () => {
      for (const secrets of [[], [secret('a', 'x')], [secret('a', 'x'), secret('b', 'y')]]) {
        const { tenantId, connectorId } = (await stored({ secrets })).record;
        const found = await store().getConnector(tenantId, connectorId);
        const together = { ...found, secrets };
        expect(await store().getConnectorWithSecrets(tenantId, connectorId)).toEqual(together);
        expect(await store().getConnectorWithSecrets(fresh('tenant'), connectorId)).toBeUndefined();
      }
    });

    it('tell which keys they are sealed with', async () => {
      await stored({
        secrets: [secret('a', 'x', 'key-2'), secret('b', 'y', 'key-1'), secret('c', 'z', 'key-1')],
      });
      expect(await store().listKeyIdsInUse()).toEqual(expect.arrayContaining(['key-1', 'key-2']));
      const ids = await store().listKeyIdsInUse();
      expect(ids).toEqual([...new Set(ids)].sort());
    });
  });
}

/** What happens to connectors while they are used, and the sums over it. */
export function testActivity({ store, fresh, connector, stored }: StoreSuite): void {
  describe('activity', () => {
    it('is stored for many connectors at once, and seen in lists and sums', async () => {
      const tenantId = fresh('tenant');
      const many = Array.from({ length: 20 }, () => connector({ tenantId }));
      await store().insertConnectors(many);
      await store().saveActivity(
        many.map(({ record }) => happened(record, FAILED, { connections: 3, errors: 2 })),
      );
      const failed = await store().listConnectors({ tenantId, status: 'error', ...ALL });
      expect(failed.map(({ activity }) => activity)).toEqual(many.map(() => FAILED));
      expect(await store().statistics(tenantId)).toEqual({
        byType: { vector: 20 },
        byStatus: { error: 20 },
        totalConnections: 60,
        totalErrors: 40,
      });
    });

    it('adds up what several processes have to add, and answers what is stored by then', async () => {
      const { record } = await stored({ activity: FAILED });
      const lastConnected = new Date(1_700_000_000_000);
      const here = {
        ...FAILED,
        status: 'connected',
        lastConnected,
        connectionCount: 9,
        errorCount: 9,
      } as const;
      const answered = await store().saveActivity([happened(record, here, { connections: 2, errors: 1 })]);
      const sum = { ...here, connectionCount: 5, errorCount: 3 };
      const { tenantId, connectorId } = record;
      expect(answered).toEqual([{ tenantId, connectorId, activity: sum }]);
      expect((await store().getConnector(tenantId, connectorId))?.activity).toEqual(sum);
    });

    it('keeps a status that was not set, and one that is deprecated until somebody says otherwise', async () => {
      const { record } = await stored({ activity: { ...NO_ACTIVITY, status: 'deprecated' } });
      type Since = Partial<ActivityChange['since']>;
      const statusAfter = async (status: 'connected' | 'disconnected', since: Since) => {
        await store().saveActivity([happened(record, { ...NO_ACTIVITY, status }, since)]);
        return (await store().getConnector(record.tenantId, record.connectorId))?.activity.status;
      };
      expect(await statusAfter('disconnected', { isMoved: false })).toBe('deprecated');
      expect(await statusAfter('connected', {})).toBe('deprecated');
      expect(await statusAfter('disconnected', { from: 'connected' })).toBe('deprecated');
      expect(await statusAfter('disconnected', { from: 'deprecated' })).toBe('disconnected');
      expect(await statusAfter('connected', { from: 'disconnected' })).toBe('connected');
    });

    it('leaves the record and its version alone', async () => {
      const { record } = await stored();
      await store().saveActivity([happened(record, FAILED)]);
      const found = await store().getConnector(record.tenantId, record.connectorId);
      expect(found?.record).toMatchObject({ version: 1, updatedAt: record.updatedAt });
    });

    it('of a connector that is gone, or of another tenant, is skipped', async () => {
      const { tenantId, connectorId } = (await stored()).record;
      await store().saveActivity([
        happened({ tenantId: fresh('tenant'), connectorId }, FAILED),
        happened({ tenantId, connectorId: fresh('id') }, FAILED),
      ]);
      expect((await store().getConnector(tenantId, connectorId))?.activity).toEqual(NO_ACTIVITY);
    });
  });

  describe('statistics', () => {
    it('count what is there after every kind of change, for one tenant and for all', async () => {
      const tenantId = fresh('tenant');
      const before = await store().statistics(null);
      const some = [
        connector({ tenantId }),
        connector({ tenantId, connectorType: 'file', activity: FAILED }),
        connector({ tenantId, connectorType: 'file', activity: FAILED }),
      ] as const;
      await store().insertConnectors(some);
      const [first, second, third] = some;
      const ready = { ...NO_ACTIVITY, status: 'ready' } as const;
      const idle = { ...FAILED, status: 'disconnected', connectionCount: 8 } as const;
      await store().saveActivity([
        happened(first.record, ready),
        happened(second.record, idle, { connections: 5 }),
      ]);
      await store().deleteConnector(tenantId, third.record.connectorId);
      expect(await store().statistics(tenantId)).toEqual({
        byType: { vector: 1, file: 1 },
        byStatus: { ready: 1, disconnected: 1 },
        totalConnections: 8,
        totalErrors: 2,
      });
      const after = await store().statistics(null);
      expect(after.totalConnections).toBe(before.totalConnections + 8);
      expect(after.byType.file).toBe((before.byType.file ?? 0) + 1);
    });

    it('of a tenant without connectors are empty', async () => {
      const none = { byType: {}, byStatus: {}, totalConnections: 0, totalErrors: 0 };
      expect(await store().statistics(fresh('tenant'))).toEqual(none);
    });
  });
}

type Where = Pick<ConnectorRecord, 'tenantId' | 'connectorId'>;

function happened(
  { tenantId, connectorId }: Where,
  activity: ConnectorActivity,
  { connections = 0, errors = 0, isMoved = true, from = 'ready' }: Partial<ActivityChange['since']> = {},
): ActivityChange {
  return { tenantId, connectorId, activity, since: { connections, errors, isMoved, from } };
}
