import { expect, it } from 'vitest';
import { duration, figures } from './byte-bar.ts';

it('tells bytes, rate and the time left once all is known', () => {
  const at = { done: 2 ** 20, total: 4 * 2 ** 20, seconds: 2 };
  expect(figures({ ...at, isComplete: true })).toBe('1.0 MiB of 4.0 MiB  512 KiB/s  6.0 s left');
  expect(figures({ ...at, isComplete: false })).toBe('1.0 MiB of 4.0 MiB  512 KiB/s');
  expect(figures({ done: 0, total: 5, seconds: 0, isComplete: true })).toBe('0 B of 5 B  -');
});

it.each([
  [0.04, '0.0 s'],
  [9.96, '10 s'],
  [59.6, '1 min 0 s'],
  [200, '3 min 20 s'],
  [7_500, '2 h 5 min'],
])('shows %d seconds as %s', (seconds, shown) => expect(duration(seconds)).toBe(shown));
