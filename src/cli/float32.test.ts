import fc from 'fast-check';
import { expect, it } from 'vitest';
import { float32Json } from './float32.ts';

it('reads back as the same float32, and no form with fewer digits does', () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const json = float32Json([value]);
      const [read] = JSON.parse(json) as readonly [number];
      expect(Math.fround(read)).toBe(value);
      const digits = (number: number) => number.toExponential().replace(/e.*|[-.]/g, '').length;
      const fewest = [1, 2, 3, 4, 5, 6, 7, 8, 9].find(
        (count) => Math.fround(Number(value.toPrecision(count))) === value,
      );
      expect(digits(read)).toBe(value === 0 ? 1 : fewest);
    }),
    { numRuns: 5_000 },
  );
});

it('writes numbers as people do', () => {
  const given = [0.1, 0.5, -0.333333343267, 16_777_216, 3.4e38, 1e-45, 8_589_973_504, -0, 0].map(Math.fround);
  expect(float32Json(given)).toBe('[0.1,0.5,-0.33333334,16777216,3.4e+38,1e-45,8589974000,-0,0]');
});

it('keeps all digits of what float32 does not hold', () => {
  expect(float32Json([0.1, 1 / 3])).toBe('[0.1,0.3333333333333333]');
});
