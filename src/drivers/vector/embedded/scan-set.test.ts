import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DistanceMetric } from '../../../driver.ts';
import { Arena, BLOCK_BYTES } from './arena.ts';
import { rawScore } from './kernel.ts';
import { nearestOf, ScanSet } from './scan-set.ts';

const METRICS: readonly DistanceMetric[] = ['cosine', 'euclidean', 'dot'];
const arenas = [
  ['SIMD', new Arena()],
  ['plain JavaScript', new Arena({ simd: false })],
] as const;

describe('the kernel', () => {
  it('is the machine code wherever it can be', () => {
    expect(String(new Arena().kernel.dot)).toContain('[native code]');
    expect(String(new Arena({ simd: false }).kernel.dot)).not.toContain('[native code]');
  });

  it.each(['dot', 'square'] as const)('computes %s alike in both forms', (operation) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 96, maxLength: 96 }),
        (steps, source) => {
          const length = steps * 16;
          const [simd, plain] = arenas.map(([, arena]) => {
            const block = arena.allocate() ?? 0;
            const rows = Float32Array.from({ length: 3 * length }, (_, i) => source[(i * 7) % 96] ?? 0);
            arena.floats.set(rows, (block * BLOCK_BYTES) / 4);
            arena.setQuery(
              Float32Array.from({ length }, (_, i) => source[i] ?? 0),
              length * 4,
            );
            const out = [...arena.scan(operation, block, 3, length * 4)];
            arena.release([block]);
            return out;
          });
          simd?.forEach((value, i) => expect(value).toBeCloseTo(plain?.[i] ?? NaN, 2));
        },
      ),
    );
  });
});

describe.each(arenas)('a scan set with %s', (_, arena) => {
  const vector = (dimension: number) =>
    fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.float({ min: -1e3, max: 1e3, noNaN: true })), {
      minLength: dimension,
      maxLength: dimension,
    });
  const extreme = fc.constantFrom(1e-20, 1e20, 3e38, 1e-38);

  it.each(METRICS)('answers exactly the nearest by %s, whatever was put, replaced and deleted', (metric) => {
    const input = fc.integer({ min: 1, max: 40 }).chain((dimension) =>
      fc.record({
        query: vector(dimension),
        puts: fc.array(fc.tuple(fc.nat(60), vector(dimension)), { maxLength: 120 }),
        deletes: fc.array(fc.nat(60), { maxLength: 20 }),
        count: fc.integer({ min: 1, max: 20 }),
        scale: fc.option(extreme, { freq: 4 }),
        allowed: fc.option(fc.array(fc.nat(60)), { freq: 2 }),
      }),
    );
    fc.assert(
      fc.property(input, ({ query, puts, deletes, count, scale, allowed }) => {
        const target = Float32Array.from(query);
        const set = new ScanSet(arena, target.length, metric);
        const model = new Map<number, Float32Array>();
        for (const [slot, values] of puts) {
          const scaled = Float32Array.from(values, (value) =>
            slot === 7 && scale ? (value * scale) / 1e3 : value,
          );
          set.put(slot, scaled);
          model.set(slot, scaled);
        }
        for (const slot of deletes) {
          set.delete(slot);
          model.delete(slot);
        }
        const slots = new Uint8Array(61);
        for (const slot of allowed ?? []) slots[slot] = 1;
        const mask = allowed ? { slots, count: new Set(allowed).size } : undefined;
        const candidates = [...model]
          .filter(([slot]) => mask === undefined || slots[slot] === 1)
          .map(([slot, values]) => ({ slot, rawScore: rawScore(metric, target, values) }));
        const bySlot = (a: { slot: number }, b: { slot: number }) => a.slot - b.slot;
        expect(set.nearest(target, count, mask).toSorted(bySlot)).toEqual(
          nearestOf(candidates, count, metric).toSorted(bySlot),
        );
        set.clear();
      }),
      {
        examples: [
          [{ query: [0, 0], puts: [[0, [0, 0]]], deletes: [], count: 1, scale: null, allowed: null }],
        ],
      },
    );
    expect(arena.used).toBe(0);
  });

  it('takes up and gives back memory by the block, also over the edge of one', () => {
    const set = new ScanSet(arena, 4_000, 'dot');
    for (let slot = 0; slot < 9; slot++) set.put(slot, new Float32Array(4_000).fill(slot + 1));
    expect(set.bytes).toBe(3 * BLOCK_BYTES);
    for (let slot = 0; slot < 5; slot++) set.delete(slot);
    expect(set.bytes).toBe(BLOCK_BYTES);
    const query = new Float32Array(4_000).fill(1);
    expect(set.nearest(query, 1)).toEqual([{ slot: 8, rawScore: 36_000 }]);
    set.clear();
    expect(arena.used).toBe(0);
  });
});
