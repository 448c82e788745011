import { expect, it } from 'vitest';
import { isLinearizable, type Observed } from './linearizable.ts';

const write = (startMs: number, endMs: number, value: number): Observed<number> => ({
  ...{ startMs, endMs, text: `write ${value}` },
  apply: () => value,
});
const read = (startMs: number, endMs: number, value: number): Observed<number> => ({
  ...{ startMs, endMs, text: `read ${value}` },
  apply: (state) => (state === value ? state : undefined),
});

it('takes calls that overlap in whichever order is right', () => {
  expect(isLinearizable([write(0, 10, 1), read(1, 9, 0), read(2, 8, 1), read(11, 12, 1)], 0)).toBe(true);
});

it('refuses a read that goes back behind one that had ended', () => {
  expect(isLinearizable([write(0, 10, 1), read(1, 2, 1), read(3, 4, 0)], 0)).toBe(false);
});

it('refuses a read that does not see a write that had ended', () => {
  expect(isLinearizable([write(0, 1, 1), read(2, 3, 0)], 0)).toBe(false);
});

it('lets a write that nobody heard of come late, or never', () => {
  const unheard = write(0, Number.POSITIVE_INFINITY, 1);
  expect(isLinearizable([unheard, read(5, 6, 0), read(7, 8, 1)], 0)).toBe(true);
  expect(isLinearizable([unheard, read(5, 6, 0)], 0)).toBe(true);
  expect(isLinearizable([unheard, read(5, 6, 1), read(7, 8, 0)], 0)).toBe(false);
});
