import { expect, it, onTestFinished } from 'vitest';
import { CREATED, invocation, storeSuite } from '../testing/store-suite.ts';
import { connectorStore } from './connector-store.ts';
import { invocationStore } from './invocation-store.ts';
import { migrate } from './migrate.ts';
import { openSqlite } from './sqlite.ts';
import type { Store } from './store.ts';

it('a damaged invocation holds up no other, neither of its connector nor of another tenant', async () => {
  const sqlite = openSqlite(':memory:');
  onTestFinished(() => sqlite.close());
  await migrate(sqlite.writer(null));
  const store = { ...connectorStore(sqlite), ...invocationStore(sqlite) } as unknown as Store; // the rest of it is not used here
  const { stored } = storeSuite(() => store);
  const its = (await stored({ connectorType: 'serverless', tenantId: 'its' })).record;
  const others = (await stored({ connectorType: 'serverless', tenantId: 'others' })).record;
  const add = (one: ReturnType<typeof invocation>) => store.addInvocation(one);
  await add(invocation(its, { requestId: 'damaged' }));
  await add(invocation(its, { requestId: 'sound' }));
  await add(invocation(others, { requestId: 'other' }));
  const damaged = sqlite.writer(null).updateTable('invocations').where('request_id', '=', 'damaged');
  await damaged.set({ request: '{"functionName":"gr' }).execute();
  const claim = async () => {
    const wants = [its, others].map(({ tenantId, connectorId }) => ({
      tenantId,
      connectorId,
      limit: 1,
      maxConcurrency: 9,
    }));
    const { claimed } = await store.claimInvocations(wants, CREATED, new Date(CREATED.getTime() + 30_000));
    return claimed.map(({ requestId }) => requestId);
  };
  expect(await claim()).toEqual(['other']);
  expect(await claim()).toEqual(['sound']);
  await expect(store.getInvocation(its.tenantId, its.connectorId, 'damaged')).rejects.toThrow(/damaged/);
});
