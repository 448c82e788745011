import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slots } from './slots.ts';

describe('Slots', () => {
  it('never gives out a number that is in use, and forgets a draft that was not committed', () => {
    const step = fc.oneof(
      fc.record({ take: fc.nat(5), commit: fc.boolean() }),
      fc.record({ free: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const slots = Slots.none();
        const used: number[] = [];
        for (const one of steps) {
          if ('free' in one) {
            const [slot] = used.splice(one.free % (used.length || 1), 1);
            if (slot !== undefined) slots.free(slot);
            continue;
          }
          const draft = slots.draft();
          const taken = Array.from({ length: one.take }, () => draft.take());
          expect(new Set([...used, ...taken]).size).toBe(used.length + taken.length);
          if (!one.commit) continue;
          expect(draft.taken).toBe(taken.length);
          draft.commit();
          used.push(...taken);
        }
      }),
    );
  });

  it('uses the numbers again that lie idle when it starts, where they are many', () => {
    const draft = Slots.of(3, 5_000, () => [0, 2, 5_000]).draft();
    const taken = Array.from({ length: 4_998 }, () => draft.take());
    expect(Math.max(...taken)).toBe(4_999);
    expect(draft.take()).toBe(5_001);
    expect(taken).not.toContain(2);
  });
});
