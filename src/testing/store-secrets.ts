import { describe, expect, it } from 'vitest';
import type { ConnectorRecord } from '../connectors/base.ts';
import type { SealedSecret, SecretPosition, Store } from '../store/store.ts';
import { secret, type StoreSuite } from './store-suite.ts';

type Stored = SealedSecret & SecretPosition;

/** Credentials by the keys that sealed them. */
export function testSecrets({ store, fresh, connector, stored }: StoreSuite): void {
  /** Walks over all that another key sealed, `limit` at a time, and changes those of one tenant alone. */
  async function resealAll(tenantId: string, keyId: string, limit = 100) {
    const seen: string[] = [];
    const sums = { resealed: 0, failed: [] as string[] };
    let after: SecretPosition | undefined;
    do {
      const page: Awaited<ReturnType<Store['resealSecrets']>> = await store().resealSecrets(
        { keyId, after, limit },
        (one: Stored) => {
          if (one.tenantId !== tenantId) throw new Error('of another case');
          seen.push(`${one.connectorId} ${one.field}`);
          if (one.sealed === 'torn') throw new Error('does not open');
          return { field: one.field, keyId, sealed: `${keyId}(${one.sealed})` };
        },
      );
      sums.resealed += page.resealed;
      sums.failed.push(
        ...page.failed.filter((one) => one.tenantId === tenantId).map((one) => one.connectorId),
      );
      after = page.next;
    } while (after);
    return { seen, ...sums };
  }

  const secretsOf = ({ tenantId, connectorId }: ConnectorRecord) => store().getSecrets(tenantId, connectorId);

  describe('credentials', () => {
    it('are sealed anew where another key sealed them, each once, and stay where that fails', async () => {
      const tenantId = fresh('tenant');
      const [oldKey, newKey] = [fresh('key'), fresh('key')];
      const some = Array.from({ length: 8 }, (_, i) =>
        connector({
          tenantId,
          secrets: [secret('a', i === 3 ? 'torn' : `a${i}`, oldKey), secret('b', `b${i}`, newKey)],
        }),
      );
      await store().insertConnectors(some);
      const { seen, resealed, failed } = await resealAll(tenantId, newKey, 3);
      const ids = some.map(({ record }) => record.connectorId).sort();
      expect(seen).toEqual(ids.map((id) => `${id} a`));
      expect(resealed).toBe(7);
      expect(failed).toEqual([some[3]?.record.connectorId]);
      for (const [i, { record }] of some.entries())
        expect(await secretsOf(record)).toEqual([
          i === 3 ? secret('a', 'torn', oldKey) : secret('a', `${newKey}(a${i})`, newKey),
          secret('b', `b${i}`, newKey),
        ]);
      const counts = new Map((await store().countSecretsByKey()).map((one) => [one.keyId, one.secrets]));
      expect([counts.get(oldKey), counts.get(newKey)]).toEqual([1, 15]);
    });

    it('are sealed anew once where several are at it', async () => {
      const tenantId = fresh('tenant');
      const keyId = fresh('key');
      const some = Array.from({ length: 60 }, (_, i) =>
        connector({ tenantId, secrets: [secret('a', `a${i}`)] }),
      );
      await store().insertConnectors(some);
      const all = await Promise.all([1, 2, 3].map(() => resealAll(tenantId, keyId, 7)));
      expect(all.reduce((sum, { resealed }) => sum + resealed, 0)).toBe(60);
      for (const [i, { record }] of some.entries())
        expect(await secretsOf(record)).toEqual([secret('a', `${keyId}(a${i})`, keyId)]);
    });

    it('that are changed while they are sealed anew are what they were changed to', async () => {
      const tenantId = fresh('tenant');
      const keyId = fresh('key');
      const some = await Promise.all(
        Array.from({ length: 40 }, () =>
          stored({ tenantId, secrets: [secret('a', 'before'), secret('b', 'before')] }),
        ),
      );
      await Promise.all([
        resealAll(tenantId, keyId, 5),
        ...some.map(({ record }) =>
          store().updateConnector({ ...record, version: 2 }, [secret('a', 'after'), secret('b', 'after')]),
        ),
        resealAll(tenantId, keyId, 5),
      ]);
      await resealAll(tenantId, keyId);
      for (const { record } of some)
        expect(await secretsOf(record)).toEqual([
          secret('a', `${keyId}(after)`, keyId),
          secret('b', `${keyId}(after)`, keyId),
        ]);
    });
  });
}
