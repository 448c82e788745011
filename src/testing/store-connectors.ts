import { describe, expect, it } from 'vitest';
import { NO_ACTIVITY } from '../connectors/base.ts';
import { ConnectorConfig } from '../connectors/config.ts';
import { ALL, FAILED, secret, type StoreSuite } from './store-suite.ts';

/** Adding and reading connectors. */
export function testConnectors({ store, fresh, connector, stored }: StoreSuite): void {
  describe('connectors', () => {
    it('come back as they were stored, but for the values of their credentials', async () => {
      const one = await stored({
        tenantId: fresh('tenant'),
        config: new ConnectorConfig({
          endpoint: 'https://example.com/Ω',
          authType: 'api_key',
          credentials: { api_key: 'canary-4711' },
          options: { deep: { list: [1, 'two', null] } },
        }),
        metadata: JSON.parse('{"__proto__": {"own": 1}, "text": "\\u0000 and \\ud83d\\ude00"}') as Record<
          string,
          unknown
        >,
        activity: FAILED,
      });
      const { tenantId, connectorId, name } = one.record;
      const found = await store().getConnector(tenantId, connectorId);
      expect(found?.record).toEqual({ ...one.record, config: expect.any(ConnectorConfig) });
      expect(found?.record.config.toDict()).toEqual(one.record.config.toDict());
      expect(found?.record.config.credentials).toEqual({ api_key: '***' });
      expect(found?.activity).toEqual(FAILED);
      expect(await store().getConnector(null, connectorId)).toEqual(found);
      expect(await store().getConnectorByName(tenantId, name)).toEqual(found);
    });

    it('are unknown by id and by name to every other tenant', async () => {
      const { connectorId, name } = (await stored()).record;
      const other = fresh('tenant');
      expect(await store().getConnector(other, connectorId)).toBeUndefined();
      expect(await store().getConnectorByName(other, name)).toBeUndefined();
    });

    it('may have the same name in two tenants', async () => {
      const one = await stored({ name: 'shared-name' });
      const two = await stored({ name: 'shared-name', tenantId: fresh('tenant') });
      const found = await store().getConnectorByName(two.record.tenantId, 'shared-name');
      expect(found?.record.connectorId).toBe(two.record.connectorId);
      expect((await store().getConnector(null, one.record.connectorId))?.record.tenantId).toBe('tenant');
    });

    it('are refused as a whole when a name is taken, naming it', async () => {
      const tenantId = fresh('tenant');
      await stored({ tenantId, name: 'taken "name"' });
      const many = Array.from({ length: 120 }, () => connector({ tenantId }));
      const attempt = store().insertConnectors([...many, connector({ tenantId, name: 'taken "name"' })]);
      await expect(attempt).rejects.toMatchObject({
        code: 'already_exists',
        message: 'a connector named "taken \\"name\\"" exists already',
      });
      expect(await store().listConnectors({ tenantId, ...ALL })).toHaveLength(1);
    });

    it('are refused as a whole when an id is taken, naming it', async () => {
      const { connectorId } = (await stored()).record;
      const tenantId = fresh('tenant');
      const attempt = store().insertConnectors([
        connector({ tenantId }),
        connector({ tenantId, connectorId }),
      ]);
      await expect(attempt).rejects.toMatchObject({
        code: 'already_exists',
        message: `the connector id "${connectorId}" is taken`,
      });
      expect(await store().listConnectors({ tenantId, ...ALL })).toEqual([]);
    });

    it('are refused when two of one import have the same name or id', async () => {
      const tenantId = fresh('tenant');
      const one = connector({ tenantId });
      for (const twin of [connector({ tenantId, name: one.record.name }), one]) {
        await expect(store().insertConnectors([one, twin])).rejects.toMatchObject({ code: 'already_exists' });
      }
      expect(await store().listConnectors({ tenantId, ...ALL })).toEqual([]);
    });

    it('are stored by one import with the secrets of each', async () => {
      const tenantId = fresh('tenant');
      const many = Array.from({ length: 1_234 }, (_, i) =>
        connector({
          tenantId,
          secrets: i % 3 === 0 ? [secret('a', `sealed ${i}`), secret('b', `b ${i}`)] : [],
        }),
      );
      await store().insertConnectors(many);
      expect(await store().listConnectors({ tenantId, ...ALL })).toHaveLength(1_234);
      for (const { record, secrets } of many) {
        expect(await store().getSecrets(tenantId, record.connectorId)).toEqual(secrets);
      }
    });

    it('are all stored when imports and reads run at the same time', async () => {
      const tenantId = fresh('tenant');
      const before = await stored({ tenantId });
      const imports = Array.from({ length: 4 }, () =>
        store().insertConnectors(Array.from({ length: 600 }, () => connector({ tenantId }))),
      );
      const seen = await store().getConnector(tenantId, before.record.connectorId);
      expect(seen?.record.name).toBe(before.record.name);
      await Promise.all(imports);
      expect(await store().listConnectors({ tenantId, ...ALL })).toHaveLength(2_401);
    });
  });
}

/** Lists and their order. */
export function testLists({ store, fresh, connector, stored }: StoreSuite): void {
  describe('a list', () => {
    it('is sorted by name, then id, and cut into pages', async () => {
      const tenantId = fresh('tenant');
      const names = ['b', 'a', 'B', 'é', 'a-b', 'a.b', 'a1'];
      await store().insertConnectors(names.map((name) => connector({ tenantId, name })));
      const list = async (offset: number, limit: number) => {
        const page = await store().listConnectors({ tenantId, offset, limit });
        return page.map(({ record }) => record.name);
      };
      const sorted = ['B', 'a', 'a-b', 'a.b', 'a1', 'b', 'é'];
      expect(await list(0, 100)).toEqual(sorted);
      expect([...(await list(0, 3)), ...(await list(3, 3)), ...(await list(6, 3))]).toEqual(sorted);
    });

    it('holds one tenant where one is named, all where none is, and one name where one is given', async () => {
      const [a, b] = [fresh('tenant'), fresh('tenant')];
      const name = fresh('in-two');
      const [first, second] = [fresh('id'), fresh('id')];
      await stored({ tenantId: b, name, connectorId: first });
      await stored({ tenantId: a, name, connectorId: second });
      const inA = await store().listConnectors({ tenantId: a, ...ALL });
      expect(inA.map(({ record }) => record.connectorId)).toEqual([second]);
      const everywhere = await store().listConnectors(ALL);
      const both = everywhere.filter(({ record }) => record.name === name);
      expect(both.map(({ record }) => record.connectorId)).toEqual([first, second]);
      expect(await store().listConnectors({ name, ...ALL })).toEqual(both);
      expect(await store().listConnectors({ name, tenantId: a, ...ALL })).toEqual(inA);
      expect(await store().listConnectors({ name, ...ALL })).toEqual(both);
      expect(await store().listConnectors({ name, tenantId: a, ...ALL })).toEqual(inA);
    });

    it('keeps to type and status, alone and together, within a tenant and over all', async () => {
      const tenants = [fresh('tenant'), fresh('tenant')];
      const types = ['vector', 'file', 'custom'] as const;
      const statuses = ['registered', 'ready', 'connected', 'error'] as const;
      const made = tenants.flatMap((tenantId) =>
        types.flatMap((connectorType) =>
          statuses.map((status) =>
            connector({ tenantId, connectorType, activity: { ...NO_ACTIVITY, status } }),
          ),
        ),
      );
      await store().insertConnectors(made);
      const ours = new Set(made.map(({ record }) => record.connectorId));
      for (const tenantId of [...tenants, undefined]) {
        for (const connectorType of [...types, undefined]) {
          for (const status of [...statuses, undefined]) {
            const found = await store().listConnectors({ tenantId, connectorType, status, ...ALL });
            const ids = found.map(({ record }) => record.connectorId).filter((id) => ours.has(id));
            const expected = made.filter(
              ({ record, activity }) =>
                (tenantId ?? record.tenantId) === record.tenantId &&
                (connectorType ?? record.connectorType) === record.connectorType &&
                (status ?? activity.status) === activity.status,
            );
            expect(ids).toEqual(expected.map(({ record }) => record.connectorId).sort());
          }
        }
      }
    });
  });
}
