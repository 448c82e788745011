import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byteOrder } from '../../../driver.ts';
import { entriesAfter, type Segment } from './byte-order-pages.ts';

type Order = (a: string, b: string) => number;
const byUnits: Order = (a, b) => (a < b ? -1 : Number(a > b));

/** A server that sorts in one of the orders, starts at a key (it included), and answers so many names at once. */
function server(names: readonly string[], order: Order, atOnce: number) {
  const sorted = [...names].sort(order);
  let requests = 0;
  return {
    requests: () => requests,
    read: async (from: string, next: string | undefined): Promise<Segment<string>> => {
      requests += 1;
      const rest = sorted.filter((name) => order(name, from) >= 0);
      const start = Number(next ?? 0);
      const entries = rest.slice(start, start + atOnce).map((name) => [name, name] as const);
      return { entries, ...(start + atOnce < rest.length && { next: String(start + atOnce) }) };
    },
  };
}

async function pages(read: ReturnType<typeof server>['read'], limit: number): Promise<string[]> {
  const seen: string[] = [];
  for (let after = ''; ;) {
    const found = await entriesAfter(read, after, limit);
    expect(found.length).toBeLessThanOrEqual(limit + 1);
    seen.push(...found.slice(0, limit).map(([key]) => key));
    const last = found[limit - 1];
    if (found.length <= limit || last === undefined) return seen;
    [after] = last;
  }
}

const ORDERS = [
  ['UTF-8', byteOrder],
  ['UTF-16', byUnits],
] as const;

describe.each(ORDERS)('pages from a server that sorts by %s', (_name, order) => {
  it('are in order of UTF-8 bytes and complete, whatever their size', async () => {
    const character = fc.constantFrom(
      'a',
      'b',
      '0',
      '/',
      '\u00e9',
      '\ud7ff',
      '\uff5e',
      '\ufffd',
      '😀',
      '😁',
      '𐀀',
    );
    const name = fc.array(character, { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(name, { maxLength: 40 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        async (names, limit, atOnce) => {
          // What lies in a folder has no entry of its own where the folder has one.
          const keys = names.filter(
            (one) => !names.some((other) => other.endsWith('/') && one !== other && one.startsWith(other)),
          );
          const seen = await pages(server(keys, order, atOnce).read, limit);
          expect(seen).toEqual([...keys].sort(byteOrder));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('cost no further request where all names are of the Basic Multilingual Plane', async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `é${String(i).padStart(4, '0')}`);
    const asked = server(names, order, 102);
    expect(await pages(asked.read, 100)).toEqual(names);
    expect(asked.requests()).toBe(10);
  });
});

it('looks for what comes before U+E000 to U+FFFF in UTF-16, and behind it in UTF-8', async () => {
  const names = ['x\ud83d\ude00', 'x\uff5e'];
  for (const [, order] of ORDERS) {
    const { read } = server(names, order, 10);
    expect((await entriesAfter(read, 'x\uff5e', 1)).map(([key]) => key)).toEqual(['x\ud83d\ude00']);
    expect(await entriesAfter(read, 'x\ud83d\ude00', 1)).toEqual([]);
  }
});

it('passes over what a folder holds', async () => {
  const froms: string[] = [];
  const read = async (from: string) => {
    froms.push(from);
    return { entries: [] };
  };
  await entriesAfter(read, 'folder/', 1);
  expect(froms).toEqual(['folder0']);
});

it('looks once for what comes before a thousand names beyond that plane, and not for each page', async () => {
  const names = Array.from({ length: 1000 }, (_, i) => `😀${String(i).padStart(4, '0')}`);
  const asked = server(names, byUnits, 102);
  expect(await pages(asked.read, 100)).toEqual(names);
  expect(asked.requests()).toBeLessThan(21);
});
