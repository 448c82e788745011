import { describe, expect, it } from 'vitest';
import type { ApiKeyRecord } from '../store/store.ts';
import { CREATED, type StoreSuite } from './store-suite.ts';

/** API keys and facts. */
export function testKeys({ store, fresh, stored }: StoreSuite): void {
  describe('API keys', () => {
    const key = (patch: Partial<ApiKeyRecord> = {}): ApiKeyRecord => {
      const keyId = fresh('key');
      return { ...KEY, keyId, hash: `hash of ${keyId}`, ...patch };
    };

    it('are found by their hash until they are revoked', async () => {
      const one = key({ tenantId: fresh('tenant'), role: 'operator' });
      await store().insertKey(one);
      expect(await store().findKeyByHash(one.hash)).toEqual(one);
      expect(await store().findKeyByHash('another hash')).toBeUndefined();
      const at = new Date(1_700_000_000_000);
      expect(await store().revokeKey(one.tenantId, one.keyId, at)).toBe(true);
      expect(await store().findKeyByHash(one.hash)).toBeUndefined();
      expect(await store().listKeys(one.tenantId)).toEqual([{ ...one, revokedAt: at }]);
      expect(await store().revokeKey(one.tenantId, one.keyId, new Date())).toBe(false);
    });

    it('are listed for one tenant, or all, oldest first', async () => {
      const tenantId = fresh('tenant');
      const [late, early] = [
        key({ tenantId, createdAt: new Date(2_000) }),
        key({ tenantId, createdAt: new Date(1_000) }),
      ];
      const [foreign, everybody] = [key({ tenantId: fresh('tenant') }), key()];
      for (const one of [late, early, foreign, everybody]) await store().insertKey(one);
      expect(await store().listKeys(tenantId)).toEqual([early, late]);
      expect(await store().listKeys(null)).toEqual(expect.arrayContaining([early, late, foreign, everybody]));
    });

    it('of another tenant cannot be revoked, and an administrator may revoke any', async () => {
      const one = key({ tenantId: fresh('tenant') });
      await store().insertKey(one);
      expect(await store().revokeKey(fresh('tenant'), one.keyId, new Date())).toBe(false);
      expect(await store().findKeyByHash(one.hash)).toEqual(one);
      expect(await store().revokeKey(null, one.keyId, new Date())).toBe(true);
    });

    it('survive the clearing of their tenant', async () => {
      const { tenantId } = (await stored({ tenantId: fresh('tenant') })).record;
      const one = key({ tenantId });
      await store().insertKey(one);
      await store().clearTenant(tenantId);
      expect(await store().findKeyByHash(one.hash)).toEqual(one);
    });
  });

  describe('facts', () => {
    it('are what was set last', async () => {
      expect(await store().getFact('check')).toBeUndefined();
      await store().setFact('check', 'one');
      await store().setFact('check', 'two');
      await store().setFact('other', 'three');
      expect(await store().getFact('check')).toBe('two');
    });

    it('are claimed by one of those who claim them at once, and all hear whose they are', async () => {
      const name = fresh('claimed');
      const values = Array.from({ length: 20 }, (_, i) => `value ${i}`);
      const heard = new Set(await Promise.all(values.map((value) => store().claimFact(name, value))));
      expect(heard.size).toBe(1);
      const [value = ''] = heard;
      expect(values).toContain(value);
      expect(await store().getFact(name)).toBe(value);
      expect(await store().claimFact(name, 'late')).toBe(value);
    });
  });
}

const KEY = {
  tenantId: null,
  role: 'reader',
  label: 'a label',
  createdAt: CREATED,
  revokedAt: null,
} satisfies Partial<ApiKeyRecord>;
