import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Store } from '../store/store.ts';
import { testActivity, testChanges } from './store-changes.ts';
import { testConnectors, testLists } from './store-connectors.ts';
import { testInvocations } from './store-invocations.ts';
import { testKeys } from './store-keys.ts';
import { testProbes } from './store-probes.ts';
import { testSecrets } from './store-secrets.ts';
import { storeSuite } from './store-suite.ts';

/** How to open the store to prove. */
export type StoreCase = {
  /** A store of its own at each call, empty. */
  readonly open: () => Promise<Store>;
};

/**
 * Proves with Vitest that a store keeps the contract of {@link Store}. Call it from the store's own test file, within a
 * `describe` that names it.
 *
 * The loss of the condition on the tenant in any one query turns at least one of these cases red.
 */
export function testStore({ open }: StoreCase): void {
  let store: Store;
  beforeAll(async () => {
    store = await open();
  });
  afterAll(() => store.close());
  const suite = storeSuite(() => store);

  testConnectors(suite);
  testLists(suite);
  testChanges(suite);
  testActivity(suite);
  testInvocations(suite);
  testProbes(suite);
  testKeys(suite);
  testSecrets(suite);

  it('answers a ping until it is closed, and says that it is closed afterwards', async () => {
    const another = await open();
    await another.ping();
    await another.close();
    await another.close();
    await expect(another.ping()).rejects.toMatchObject({ code: 'invalid_state' });
    const late = another.insertConnectors([suite.connector()]);
    await expect(late).rejects.toMatchObject({ code: 'invalid_state' });
  });
}
