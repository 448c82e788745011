import { expect, it } from 'vitest';
import { byteRate, byteSize } from './bytes.ts';

it.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1.0 KiB'],
  [10_239, '10 KiB'],
  [1_048_575, '1.0 MiB'],
  [1.5 * 2 ** 30, '1.5 GiB'],
  [2 ** 60, '1024 PiB'],
])('shows %d bytes as %s', (bytes, shown) => {
  expect(byteSize(bytes)).toBe(shown);
});

it('shows no rate where no time has passed', () => {
  expect([byteRate(2_048, 2), byteRate(5, 0)]).toEqual(['1.0 KiB/s', '-']);
});
