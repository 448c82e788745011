import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FairTurns, type Worked } from './fair-turns.ts';

const worked = (tenantId: string, connectorId: string, maxConcurrency = 10): Worked => ({
  tenantId,
  connectorId,
  maxConcurrency,
});
const shares = (turns: FairTurns<Worked>) =>
  Object.fromEntries(turns.take().map(({ connectorId, limit }) => [connectorId, limit]));

it('gives each tenant its share, however long the queue of one is', () => {
  const turns = new FairTurns({ all: 12, perTenant: 12 });
  for (let i = 0; i < 10_000; i++) turns.offer(worked('busy', 'busy-1', 100));
  turns.offer(worked('small', 'small-1'));
  turns.offer(worked('other', 'other-1'));
  expect(shares(turns)).toEqual({ 'busy-1': 4, 'small-1': 4, 'other-1': 4 });
});

it('gives the next turn to whoever waited longest', () => {
  const turns = new FairTurns({ all: 1, perTenant: 1 });
  for (const tenant of ['a', 'b', 'c']) turns.offer(worked(tenant, `${tenant}-1`));
  const order: string[] = [];
  for (let i = 0; i < 6; i++) {
    const [taken] = turns.take();
    if (!taken) throw new Error('nobody had a turn');
    order.push(taken.tenantId);
    turns.settle(taken, 1);
    turns.done(taken.tenantId, taken.connectorId);
  }
  expect(order).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
});

it('shares a tenant between its connectors, and never gives one more than it takes', () => {
  const turns = new FairTurns({ all: 64, perTenant: 64 });
  turns.offer(worked('a', 'one', 3));
  turns.offer(worked('a', 'two', 10));
  expect(shares(turns)).toEqual({ one: 3, two: 10 });
  expect(shares(turns)).toEqual({});
});

it('leaves turns for others when one tenant has work on many connectors', () => {
  const turns = new FairTurns({ all: 8, perTenant: 4 });
  for (let i = 0; i < 20; i++) turns.offer(worked('greedy', `greedy-${i}`));
  expect(Object.values(shares(turns)).reduce((sum, n) => sum + n, 0)).toBe(4);
  turns.offer(worked('late', 'late-1'));
  expect(shares(turns)).toEqual({ 'late-1': 4 });
});

it('forgets who had less than was taken, unless something was offered meanwhile', () => {
  const turns = new FairTurns({ all: 4, perTenant: 4 });
  turns.offer(worked('a', 'a-1'));
  const [first] = turns.take();
  if (!first) throw new Error('nobody had a turn');
  turns.offer(worked('a', 'a-1'));
  turns.settle(first, 0);
  const [second] = turns.take();
  expect(second).toMatchObject({ connectorId: 'a-1', limit: 4 });
  if (second) turns.settle(second, 0);
  expect(turns.take()).toEqual([]);
  expect(turns.busy).toBe(false);
});

it('never exceeds a ceiling, and comes back to nothing, whatever happens', () => {
  const step = fc.record({
    offer: fc.option(fc.record({ tenant: fc.nat(3), connector: fc.nat(5) }), { nil: undefined }),
    used: fc.nat(4),
    done: fc.nat(4),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (steps, all) => {
      const perTenant = Math.ceil(all / 2);
      const turns = new FairTurns({ all, perTenant });
      const running: Worked[] = [];
      for (const { offer, used, done } of steps) {
        if (offer) turns.offer(worked(`t${offer.tenant}`, `t${offer.tenant}-${offer.connector}`, 2));
        for (const taken of turns.take()) {
          const now = Math.min(used, taken.limit);
          turns.settle(taken, now);
          for (let i = 0; i < now; i++) running.push(taken.worked);
        }
        expect(running.length).toBeLessThanOrEqual(all);
        for (const group of Map.groupBy(running, ({ tenantId }) => tenantId).values())
          expect(group.length).toBeLessThanOrEqual(perTenant);
        for (const group of Map.groupBy(running, ({ connectorId }) => connectorId).values())
          expect(group.length).toBeLessThanOrEqual(2);
        for (const { tenantId, connectorId } of running.splice(0, done)) turns.done(tenantId, connectorId);
      }
      for (const { tenantId, connectorId } of running) turns.done(tenantId, connectorId);
      for (const taken of turns.take()) turns.settle(taken, 0);
      for (let taken = turns.take(); taken.length > 0; taken = turns.take())
        for (const one of taken) turns.settle(one, 0);
      expect(turns.busy).toBe(false);
    }),
  );
});
