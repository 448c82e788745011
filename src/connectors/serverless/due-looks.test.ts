import { afterEach, expect, it } from 'vitest';
import { SqlStore } from '../../store/sql-store.ts';
import { testClock } from '../../testing/clock.ts';
import { CREATED, invocation, storeSuite } from '../../testing/store-suite.ts';
import { silentLog } from '../../registry/log.ts';
import { DueLooks } from './due-looks.ts';
import { FairTurns, type Worked } from './fair-turns.ts';
import { DUE_PER_TENANT, type DueAfter, type InvocationEnd } from './invocations.ts';
import { InvocationWorker, SCAN_MS } from './worker.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

const ENDED: InvocationEnd = {
  ...{ status: 'completed', result: null, resultFile: null, error: null, logs: null, durationMs: 1 },
  ...{ endedAt: CREATED, expiresAt: new Date(4_000_000_000_000) },
};
const TENANT = 'many';
const idsOf = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, n) => `c-${String(from + n).padStart(4, '0')}`);

/** Looks at connectors of one tenant that the store answers page by page, of which each `find` is noted. */
function looksAt(pages: readonly (readonly string[])[], find: (id: string) => boolean = () => true) {
  const turns = new FairTurns<Worked>({ all: 64, perTenant: 32 });
  const found: string[] = [];
  const given: (string | undefined)[] = [];
  const looks = new DueLooks<Worked>({
    turns,
    async due(after) {
      given.push(after.get(TENANT));
      const page = pages[given.length - 1] ?? [];
      const last = page.length === DUE_PER_TENANT ? page.at(-1) : undefined;
      const next: DueAfter = new Map(last === undefined ? [] : [[TENANT, last]]);
      return { connectors: page.map((connectorId) => ({ tenantId: TENANT, connectorId })), after: next };
    },
    async find(connectorId) {
      found.push(connectorId);
      return find(connectorId) ? { tenantId: TENANT, connectorId, maxConcurrency: 1 } : undefined;
    },
    offer: (worked) => turns.offer(worked),
  });
  return { looks, turns, found, given };
}

it('reads nothing of what is offered already', async () => {
  const { looks, found } = looksAt([idsOf(0, 3), idsOf(0, 4)]);
  expect(await looks.look()).toBe(false);
  expect(await looks.look()).toBe(false);
  expect(found).toEqual(idsOf(0, 4));
});

it('looks no further in a tenant that has enough here, and goes on there when that is done', async () => {
  const [first, second] = [idsOf(0, DUE_PER_TENANT), idsOf(DUE_PER_TENANT, 2 * DUE_PER_TENANT)];
  const { looks, turns, found, given } = looksAt([first, second, second]);
  expect(await looks.look()).toBe(true);
  expect(await looks.look()).toBe(false);
  expect(found).toEqual(first);
  for (const taken of turns.take()) turns.settle(taken, 0);
  expect(await looks.look()).toBe(true);
  expect(given).toEqual([undefined, first.at(-1), first.at(-1)]);
  expect(found).toEqual([...first, ...second]);
});

it('has nothing to hurry for where nothing of a tenant with more is for this process', async () => {
  const { looks, given } = looksAt([idsOf(0, DUE_PER_TENANT), idsOf(DUE_PER_TENANT, 300)], () => false);
  expect(await looks.look()).toBe(false);
  await looks.look();
  expect(given).toEqual([undefined, idsOf(0, DUE_PER_TENANT).at(-1)]);
});

it('takes up what is due of others within a look, and all of a tenant with many in the end', async () => {
  const store = await SqlStore.open({ file: ':memory:' });
  closing.push(() => store.close());
  const { connector, fresh } = storeSuite(() => store);
  const many = Array.from({ length: 3 * DUE_PER_TENANT }, () =>
    connector({ connectorType: 'serverless', tenantId: TENANT }),
  );
  const other = connector({ connectorType: 'serverless', tenantId: 'other', connectorId: 'the last' });
  await store.insertConnectors([...many, other]);
  const requests = new Map<string, string>();
  for (const { record } of [...many, other]) {
    const one = invocation(record, { requestId: fresh('request') });
    requests.set(one.requestId, record.connectorId);
    await store.addInvocation(one);
  }
  const clock = testClock(CREATED.getTime());
  const worker = new InvocationWorker({
    queue: {
      claim: (...given) => store.claimInvocations(...given),
      renew: (...given) => store.renewInvocations(...given),
      end: (...given) => store.endInvocation(...given),
      defer: (...given) => store.deferInvocation(...given),
      ended: (...given) => store.endedInvocations(...given),
      due: (...given) => store.dueInvocations(...given),
    },
    ceilings: { all: 64, perTenant: 32 },
    log: silentLog,
    clock,
  });
  closing.push(() => worker.close());
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  const started: string[] = [];
  let found = 0;
  worker.watch(async (connectorId) => {
    found += 1;
    return {
      ...{ tenantId: connectorId === 'the last' ? 'other' : TENANT, connectorId, maxConcurrency: 1 },
      async turn({ requestId }) {
        started.push(requests.get(requestId) ?? '');
        await mayEnd;
        return { end: ENDED };
      },
    };
  });
  await expect.poll(() => started).toContain('the last');
  for (let look = 0; look < 5; look++) await clock.advance(SCAN_MS);
  await store.ping();
  expect(found).toBe(DUE_PER_TENANT + 1);
  end();
  const ran = async () => {
    await clock.advance(SCAN_MS);
    return new Set(started).size;
  };
  await expect.poll(ran, { timeout: 10_000 }).toBe(many.length + 1);
});
