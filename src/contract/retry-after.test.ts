import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseRetryAfter } from './retry-after.ts';

const NOW = Date.UTC(1994, 10, 6, 8, 49, 0);

it.each([
  ['120', 120_000],
  [' 5 ', 5000],
  ['31536000', 31_536_000_000],
  ['9'.repeat(400), Number.MAX_SAFE_INTEGER],
  ['Sun, 06 Nov 1994 08:49:37 GMT', 37_000],
  ['Sunday, 06-Nov-94 08:49:37 GMT', 37_000],
  ['Sun Nov  6 08:49:37 1994', 37_000],
])('reads %j', (header, expectedMs) => {
  expect(parseRetryAfter(header, NOW)).toBe(expectedMs);
});

it.each([
  null,
  undefined,
  '',
  '0',
  '-1',
  '1.5',
  '1e3',
  '0x10',
  'soon',
  '5 seconds',
  '5, 6',
  'Sun, 06 Nov 1994 08:48:59 GMT',
  'Sun, 06 Nov 1994 08:49:00 GMT',
  'Sun, 06 Foo 1994 08:49:37 GMT',
  'Sun, 99 Nov 1994 08:49:37 GMT',
  'Sun, 06 Nov 2994 08:49:37 PST',
  '2994-11-06T08:49:37Z',
  'November 6, 2994',
])('takes %j for an absent header', (header) => {
  expect(parseRetryAfter(header, NOW)).toBeUndefined();
});

it('reads the date of any moment to come, to the second, whatever the zone of the machine', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 * 365 * 86_400 }), (seconds) => {
      const date = new Date(NOW + seconds * 1000);
      expect(parseRetryAfter(date.toUTCString(), NOW)).toBe(seconds * 1000);
    }),
  );
});

it('answers a positive number or nothing for any text', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const ms = parseRetryAfter(text, NOW);
      expect(ms === undefined || ms > 0).toBe(true);
    }),
  );
});
