import { describe, expect, it } from 'vitest';
import { systemClock } from '../contract/clock.ts';
import { SqlStore } from '../store/sql-store.ts';
import type { Store } from '../store/store.ts';
import { ApiKeys } from './keys.ts';

async function keysOn(change: (store: Store) => Partial<Store> = () => ({})) {
  const store = await SqlStore.open({ file: ':memory:' });
  return { store, keys: new ApiKeys({ ...store, ...change(store) }, systemClock) };
}

describe('ApiKeys', () => {
  it('shows a key once and keeps its hash alone', async () => {
    const { keys } = await keysOn();
    const { key } = await keys.create({ tenantId: 'acme', role: 'reader', label: 'dashboard' });
    expect(key).toMatch(/^crk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/);
    expect(JSON.stringify(await keys.list(null))).not.toContain(key.slice(-43));
    expect(await keys.verify(key)).toMatchObject({ tenantId: 'acme', role: 'reader', label: 'dashboard' });
  });

  it('makes a first key once, also after that was revoked', async () => {
    const { keys } = await keysOn();
    const first = await keys.createFirst('first start');
    expect(await keys.verify(first?.key ?? '')).toMatchObject({ tenantId: null, role: 'admin' });
    await keys.revoke(null, first?.record.keyId ?? '');
    expect(await keys.createFirst('first start')).toBeUndefined();
    expect(await keys.list(null)).toHaveLength(1);
  });

  it('is made for a tenant unless it administers, with a label of one line', async () => {
    const { keys } = await keysOn();
    await expect(keys.create({ tenantId: null, role: 'reader' })).rejects.toMatchObject({
      issues: [{ path: 'tenant_id' }],
    });
    for (const label of ['a\0', 'a\nb', '\u001b[2J'])
      await expect(keys.create({ tenantId: 'acme', role: 'reader', label })).rejects.toMatchObject({
        issues: [{ path: 'label' }],
      });
    expect(await keys.list(null)).toEqual([]);
  });

  it('reads an unknown key and a revoked one alike', async () => {
    const { keys } = await keysOn();
    const { key, record } = await keys.create({ tenantId: 'acme', role: 'operator' });
    await keys.verify(key);
    expect([await keys.revoke('acme', record.keyId), await keys.revoke('acme', record.keyId)]).toEqual([
      true,
      false,
    ]);
    const messages = await Promise.all(
      [key, 'crk_nothing'].map((text) => keys.verify(text).catch((error: Error) => error.message)),
    );
    expect(new Set(messages).size).toBe(1);
    await expect(keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('does not remember a key that was revoked while it was looked up', async () => {
    const { promise: gate, resolve: letGo } = Promise.withResolvers<void>();
    const { keys } = await keysOn((store) => ({
      findKeyByHash: async (hash) => {
        const found = await store.findKeyByHash(hash);
        await gate;
        return found;
      },
    }));
    const { key, record } = await keys.create({ tenantId: 'acme', role: 'operator' });
    const lookedUp = keys.verify(key);
    await keys.revoke(null, record.keyId);
    letGo();
    await lookedUp;
    await expect(keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it("cannot end another tenant's key", async () => {
    const { keys } = await keysOn();
    const { key, record } = await keys.create({ tenantId: 'acme', role: 'operator' });
    expect(await keys.revoke('umbrella', record.keyId)).toBe(false);
    expect(await keys.list('umbrella')).toEqual([]);
    expect((await keys.verify(key)).keyId).toBe(record.keyId);
  });

  it('makes a key for all tenants for administrators alone', async () => {
    const { keys } = await keysOn();
    await expect(keys.create({ tenantId: null, role: 'operator' })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    expect((await keys.create({ tenantId: null, role: 'admin' })).record.tenantId).toBeNull();
  });
});
