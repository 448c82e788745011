import { describe, expect, it, onTestFinished } from 'vitest';
import type { InvocationRecord } from '../connectors/serverless/invocations.ts';
import { CREATED, invocation, storeSuite } from '../testing/store-suite.ts';
import { connectorStore } from './connector-store.ts';
import { InvocationRoom, type RoomLimits } from './invocation-room.ts';
import { invocationStore } from './invocation-store.ts';
import { migrate } from './migrate.ts';
import { openSqlite } from './sqlite.ts';
import type { Store } from './store.ts';

const MANY = 1_000_000;
const later = (ms: number) => new Date(CREATED.getTime() + ms);

async function storeWith(limits: RoomLimits) {
  const sqlite = openSqlite(':memory:');
  onTestFinished(() => sqlite.close());
  await migrate(sqlite.writer(null));
  const store = {
    ...connectorStore(sqlite),
    ...invocationStore(sqlite, new InvocationRoom({ limits })),
  } as unknown as Store; // the rest of it is not used here
  const { stored, fresh } = storeSuite(() => store);
  const place = async (tenantId: string) => (await stored({ connectorType: 'serverless', tenantId })).record;
  type Place = Awaited<ReturnType<typeof place>>;
  const add = async (at: Place, patch: Partial<InvocationRecord> = {}) => {
    const one = invocation(at, { requestId: fresh('request'), ...patch });
    await store.addInvocation(one);
    return one;
  };
  const end = (one: InvocationRecord) =>
    store.endInvocation(one, {
      ...{ status: 'completed', result: 1, resultFile: null, error: null, logs: null, durationMs: 1 },
      ...{ endedAt: CREATED, expiresAt: later(MANY) },
    });
  return { place, add, end };
}

const full = { code: 'rate_limited', retryAfterMs: 5_000 };

describe('what waits of one tenant', () => {
  it('is so many invocations at most, of all its connectors, and no other tenant has less for it', async () => {
    const { place, add } = await storeWith({ invocations: 3, bytes: MANY });
    const [one, two, other] = [await place('acme'), await place('acme'), await place('other')];
    await add(one);
    await add(two);
    await add(one);
    await expect(add(two)).rejects.toMatchObject(full);
    await expect(add(two, { createdAt: later(6_000) })).rejects.toMatchObject(full);
    await add(other);
  });

  it('is so many bytes of payloads at most', async () => {
    const { place, add } = await storeWith({ invocations: MANY, bytes: 10_000 });
    const at = await place('acme');
    await add(at, { payload: 'é'.repeat(4_500) });
    await expect(add(at, { payload: 'é'.repeat(450) })).rejects.toMatchObject(full);
    await add(at, { payload: 'x' });
  });

  it('makes room when it ends, which is seen within seconds', async () => {
    const { place, add, end } = await storeWith({ invocations: 2, bytes: MANY });
    const at = await place('acme');
    const first = await add(at);
    await add(at);
    await expect(add(at)).rejects.toMatchObject(full);
    expect(await end(first)).toBe(true);
    // It is not counted at each attempt of whoever goes on trying.
    await expect(add(at, { createdAt: later(4_999) })).rejects.toMatchObject(full);
    await add(at, { createdAt: later(5_000) });
    await expect(add(at, { createdAt: later(10_000) })).rejects.toMatchObject(full);
  });

  it('has what has ended beside it, which takes no room', async () => {
    const limits = { invocations: 2, bytes: MANY };
    const { place, add } = await storeWith(limits);
    const at = await place('acme');
    for (let i = 0; i < 5; i++) await add(at, { status: 'completed', dueAt: null, endedAt: CREATED });
    await add(at);
    await add(at);
    await expect(add(at)).rejects.toMatchObject(full);
  });

  it('may be sent again under its key, which takes no more room', async () => {
    const { place, add } = await storeWith({ invocations: 1, bytes: MANY });
    const at = await place('acme');
    await add(at, { idempotencyKey: 'key' });
    await expect(add(at)).rejects.toMatchObject(full);
    await expect(add(at, { idempotencyKey: 'key' })).resolves.toMatchObject({ idempotencyKey: 'key' });
  });
});
