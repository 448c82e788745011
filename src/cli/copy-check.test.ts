import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CopyReport, compareMatches, differences } from './copy-check.ts';
import { sampled } from './sample.ts';

describe('sampled', () => {
  it('is the same however the ids are cut into pages, and whatever was seen twice', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { minLength: 150, maxLength: 400 }), fc.nat(), (ids, cut) => {
        const at = cut % ids.length;
        const whole = sampled([], ids);
        expect(whole).toHaveLength(100);
        expect(sampled(sampled([], ids.slice(0, at)), ids.slice(at))).toEqual(whole);
        expect(sampled(whole, ids)).toEqual(whole);
      }),
      { numRuns: 30 },
    );
  });

  it('takes from all over', () => {
    const ids = Array.from({ length: 10_000 }, (_, i) => `v${i}`);
    const thousands = new Set(sampled([], ids).map((id) => Math.floor(Number(id.slice(1)) / 1_000)));
    expect(thousands.size).toBeGreaterThan(7);
  });
});

describe('compareMatches', () => {
  const found = (...pairs: readonly (readonly [string, number])[]) =>
    pairs.map(([id, score]) => ({ id, score }));
  const source = found(['a', 0.9], ['b', 0.8], ['c', 0.7]);

  it('counts ids that both found, and those of them with other scores', () => {
    expect(compareMatches(source, source)).toEqual({ ids: 3, agreed: 3, others: 0 });
    expect(compareMatches(source, found(['a', 0.9], ['b', 0.80002], ['d', 0.7]))).toEqual({
      ids: 3,
      agreed: 3,
      others: 1,
    });
    expect(compareMatches(source, found(['a', 0.9], ['b', 0.8], ['d', 0.6]))).toMatchObject({ agreed: 2 });
  });

  it('lets equals swap places, at the end of the list as well', () => {
    expect(compareMatches(source, found(['a', 0.9], ['d', 0.8], ['b', 0.8]))).toMatchObject({ agreed: 2 });
    expect(compareMatches(source, found(['a', 0.9], ['b', 0.8], ['d', 0.700_001]))).toMatchObject({
      agreed: 3,
    });
  });

  it('takes a shorter or a longer list for another one', () => {
    expect(compareMatches(source, source.slice(0, 2))).toEqual({ ids: 3, agreed: 2, others: 0 });
    expect(compareMatches(source.slice(0, 2), source)).toEqual({ ids: 3, agreed: 2, others: 0 });
    expect(compareMatches([], [])).toEqual({ ids: 0, agreed: 0, others: 0 });
  });
});

describe('differences', () => {
  const report: CopyReport = {
    ...{ copied: 5, failed: 0, errors: [], verified: true },
    counts: { from: 5, to: 5, before: 0 },
    records: { compared: 5, differing: [] },
    searches: { searches: 5, ids: 50, agreement: 0.995, other_scores: 0 },
  };

  it('are none where all is as it should be', () => {
    expect(differences(report, 0.99)).toEqual([]);
    expect(differences({ ...report, searches: { skipped: 'why' } }, 1)).toEqual([]);
  });

  it.each<readonly [string, Partial<CopyReport>]>([
    ['it holds 4 records, not 5', { counts: { from: 5, to: 4, before: 0 } }],
    ['it holds 6 records, not 5', { counts: { from: 5, to: 6, before: 0 } }],
    ['it holds 7 records, and should hold 8 to 13', { counts: { from: 5, to: 7, before: 8 } }],
    ['it holds 14 records, and should hold 8 to 13', { counts: { from: 5, to: 14, before: 8 } }],
    ['1 of 5 sampled records differ, for example b', { records: { compared: 5, differing: ['b'] } }],
    [
      'searches agree on 98.99 % of 50 ids, and 99 % are wanted',
      { searches: { searches: 5, ids: 50, agreement: 0.98999, other_scores: 0 } },
    ],
    ['2 of 50 ids have other scores', { searches: { searches: 5, ids: 50, agreement: 1, other_scores: 2 } }],
  ])('say: %s', (message, changed) => {
    expect(differences({ ...report, ...changed }, 0.99)).toEqual([message]);
  });
});
