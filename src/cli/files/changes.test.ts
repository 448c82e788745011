import { describe, expect, it } from 'vitest';
import { compared } from './changes.ts';
import type { FoundFile } from './side.ts';

const file = (facts: Partial<FoundFile> = {}): FoundFile => ({
  ...{ kind: 'file', key: 'a', path: 'a', size: 1, modifiedMs: 10_500 },
  ...facts,
});
const byTime = (sourceMs: number, targetMs: number, isLocal = false) =>
  compared(file({ modifiedMs: sourceMs }), file({ modifiedMs: targetMs }), { by: 'time', isLocal });

describe('by time', () => {
  it.each([
    ['changed after the write', 10_501, 10_500, 'newer'],
    ['changed before the write', 10_499, 10_500, 'same'],
    ['in the second that a coarse target was written in', 10_001, 10_000, 'newer'],
    ['in the second before', 9_999, 10_000, 'same'],
    ['coarse, in the second of the write', 10_000, 10_500, 'newer'],
    ['coarse, in the second before', 9_000, 10_500, 'same'],
    ['both coarse, in one second', 10_000, 10_000, 'newer'],
    ['both coarse, a second apart', 9_000, 10_000, 'same'],
  ])('a file %s is judged safely', (_what, source, target, verdict) => {
    expect(byTime(source, target)).toBe(verdict);
  });

  it('a local copy has the very time of its source, also where it goes back there', () => {
    const times = [byTime(10_000, 10_000, true), byTime(10_001, 10_000, true), byTime(9_999, 10_000, true)];
    expect(times).toEqual(['same', 'newer', 'same']);
  });
});

it('another size is a change whatever else is compared', () => {
  for (const by of ['time', 'size', 'etag', 'content'] as const)
    expect(compared(file({ size: 2 }), file(), { by, isLocal: false })).toBe('size');
});

it('compares as it is told', () => {
  const later = file({ modifiedMs: 99_999 });
  const how = (by: 'size' | 'etag' | 'content', source: FoundFile, target: FoundFile) =>
    compared(source, target, { by, isLocal: false });
  expect(how('size', later, file())).toBe('same');
  expect(how('content', later, file())).toBe('read');
  expect(how('etag', file({ etag: 'x' }), file({ etag: 'x' }))).toBe('same');
  expect(how('etag', file({ etag: 'x' }), file({ etag: 'y' }))).toBe('etag');
  expect(how('etag', file(), file())).toBe('etag');
});
