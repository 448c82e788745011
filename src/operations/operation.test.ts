import { expect, it } from 'vitest';
import { z } from 'zod';
import { operations } from './index.ts';
import { readText } from './text-input.ts';
import { toWire } from './wire.ts';

it('gives each operation an id of its own, and words for people', () => {
  expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length);
  for (const { id, summary, input } of operations) {
    expect([id, summary]).toEqual([
      expect.stringMatching(/^[a-z]+\.[a-z]+$/),
      expect.stringMatching(/^[A-Z].*\.$/),
    ]);
    expect(() => z.toJSONSchema(input, { io: 'input', unrepresentable: 'any' })).not.toThrow();
  }
});

it('reads text as the type that the input declares, and leaves alone what is spelled otherwise', () => {
  const input = z.strictObject({ n: z.int(), b: z.boolean(), s: z.string(), o: z.int().default(1) });
  expect(readText({ input }, { n: '5', b: 'true', s: '5', o: '7', other: '1' })).toEqual({
    n: 5,
    b: true,
    s: '5',
    o: 7,
    other: '1',
  });
  expect(readText({ input }, { n: '0x5', b: 'yes', o: '' })).toEqual({ n: '0x5', b: 'yes', o: '' });
  expect(readText({ input }, JSON.parse('{"__proto__":"1"}'))).not.toHaveProperty('n');
});

it('renames keys and dates, leaves out what is absent, and keeps what belongs to the caller', () => {
  const metadata = { camelCase: { innerKey: 1 } };
  expect(
    toWire([
      { rawScore: 1, lastModified: new Date(0), contentType: undefined, metadata, nested: { durationMs: 2 } },
    ]),
  ).toEqual([
    { raw_score: 1, last_modified: '1970-01-01T00:00:00.000Z', metadata, nested: { duration_ms: 2 } },
  ]);
});
