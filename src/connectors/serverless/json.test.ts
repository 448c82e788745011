import { describe, expect, it } from 'vitest';
import { checkedOutcome, checkedPayload } from './json.ts';

const MiB = 2 ** 20;

/** An array of zeros that counts how often one of them is read. */
function counted(length: number) {
  const reads = { count: 0 };
  const array = new Proxy<unknown[]>(new Array<unknown>(length).fill(0), {
    get(target, key, receiver) {
      if (typeof key === 'string' && /^\d+$/.test(key)) reads.count++;
      return Reflect.get(target, key, receiver) as unknown;
    },
  });
  return { array, reads };
}

describe('the walk over a payload or a result', () => {
  it('takes up no part before the ones in front of it, however many there are', () => {
    const { array, reads } = counted(1_000_000);
    array[2] = Number.NaN;
    expect(() => checkedPayload({ list: array }, 6 * MiB)).toThrow(/^payload\.list\[2\] is JSON/);
    expect(reads.count).toBe(3);
  });

  it('ends where there are more parts than bytes are allowed', () => {
    const { array, reads } = counted(1_000_000);
    expect(() => checkedOutcome({ status: 'completed', result: array as never }, 1_000)).toThrow(
      /^result is at most 1000 bytes/,
    );
    expect(reads.count).toBe(1_000);
  });

  it.each([
    ['a hole', { a: [1, , 2] }, /^payload\.a\[1\] is JSON/], // oxlint-disable-line no-sparse-arrays
    ['a prototype', JSON.parse('{"a":[{"__proto__":{}}]}'), /^payload\.a\[0\]\.__proto__ is not an allowed/],
    ['a date', { a: { b: new Date(0) }, c: 1 }, /^payload\.a\.b is JSON/],
    ['65 levels', JSON.parse(`${'['.repeat(65)}${']'.repeat(65)}`), /^payload is at most 64 levels deep$/],
  ])('refuses %s where it is', (_what, payload, message) => {
    expect(() => checkedPayload(payload, MiB)).toThrow(message);
  });

  it.each([
    ['"'.repeat(500), 1_002],
    ['\u0001'.repeat(100), 602],
    ['x'.repeat(500), 502],
    ['é'.repeat(500), 1_002],
  ])('counts a text as JSON has it', (result, bytes) => {
    const outcome = { status: 'completed', result } as const;
    expect(checkedOutcome(outcome, bytes)).toBe(outcome);
    expect(() => checkedOutcome(outcome, bytes - 1)).toThrow(/^result is at most \d+ bytes of JSON$/);
  });

  it('takes 64 levels', () => {
    const text = `${'['.repeat(64)}${']'.repeat(64)}`;
    expect(checkedPayload(JSON.parse(text), MiB).text).toBe(text);
  });
});
