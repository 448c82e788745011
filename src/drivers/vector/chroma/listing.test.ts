import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VectorClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { numbers } from '../../../testing/vector-suite.ts';
import { startClients, type ChromaClients } from './clients.fixture.ts';
import { idInCursor, cursorAfter } from './listing.ts';

let chroma: ChromaClients;
beforeAll(async () => {
  chroma = await startClients();
});
afterAll(async () => chroma.close());

const ID = (i: number): string => `r${String(i).padStart(3, '0')}`;
const ids = (records: readonly { readonly id: string }[]): readonly string[] => records.map(({ id }) => id);

async function filled(count: number): Promise<VectorClient> {
  const client = await chroma.open();
  await client.upsert(
    numbers(count, 3, 6).map((values, i) => ({ id: ID((i * 7) % count), values })),
    NEVER,
  );
  return client;
}

describe('a listing', () => {
  it('skips nothing and repeats nothing while what was read, and what was not, is deleted', async () => {
    const client = await filled(60);
    const read: string[] = [];
    const gone = new Set<string>();
    let cursor: string | undefined;
    for (let page = 0; page === 0 || cursor !== undefined; page++) {
      const { records, nextCursor } = await client.list({ limit: 10, cursor, includeValues: false }, NEVER);
      read.push(...ids(records));
      cursor = nextCursor;
      // Those just read, which would move an offset, and one that is still to come.
      const doomed = [...ids(records).slice(0, 6), ID(page * 10 + 15)];
      for (const id of doomed) gone.add(id);
      await client.delete({ ids: doomed }, NEVER);
    }
    expect(new Set(read).size).toBe(read.length);
    const all = Array.from({ length: 60 }, (_, i) => ID(i));
    expect(all.filter((id) => !gone.has(id) && !read.includes(id))).toEqual([]);
    expect(read).not.toContain(ID(15));
  });

  it('goes on past a page whose records are all gone, and ends where the rest are', async () => {
    const client = await filled(30);
    const page = { limit: 10, includeValues: false };
    const { nextCursor: cursor } = await client.list(page, NEVER);
    await client.delete({ ids: Array.from({ length: 15 }, (_, i) => ID(i + 10)) }, NEVER);
    const next = await client.list({ ...page, cursor }, NEVER);
    expect(ids(next.records)).toEqual([25, 26, 27, 28, 29].map(ID));
    expect(next.nextCursor).toBeUndefined();
    await client.delete({ all: true }, NEVER);
    expect(await client.list({ ...page, cursor }, NEVER)).toEqual({ records: [] });
  });

  it('goes on from the cursor of another client, though its record is gone, and from one used before', async () => {
    const collection = 'shared-pages';
    const [one, other] = [await chroma.open({ collection }), await chroma.open({ collection })];
    const values = [1, 0, 0];
    await one.upsert(
      Array.from({ length: 9 }, (_, i) => ({ id: ID(i), values })),
      NEVER,
    );
    const page = { limit: 4, includeValues: true };
    const { nextCursor: cursor } = await one.list(page, NEVER);
    await one.delete({ ids: [ID(3)] }, NEVER);
    const expected = [4, 5, 6, 7].map((i) => ({ id: ID(i), values }));
    for (const client of [other, one, other, one])
      expect((await client.list({ ...page, cursor }, NEVER)).records).toEqual(expected);
  });

  it('of two callers at once gives each of them everything', async () => {
    const client = await filled(40);
    const all = async (limit: number): Promise<readonly string[]> => {
      const read: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await client.list({ limit, cursor, includeValues: false }, NEVER);
        read.push(...ids(page.records));
        cursor = page.nextCursor;
      } while (cursor !== undefined);
      return read;
    };
    const expected = Array.from({ length: 40 }, (_, i) => ID(i));
    expect(await Promise.all([all(3), all(7), all(40)])).toEqual([expected, expected, expected]);
  });
});

describe('a cursor', () => {
  it.each(['a', 'é語 💥', '\0', 'after.', ' '])('says after which id it goes on: %j', (id) => {
    expect(idInCursor(cursorAfter(id))).toBe(id);
  });

  it.each([
    '',
    'after.',
    'after.%%%',
    'after.YQ==',
    'before.YQ',
    'YQ',
    '10',
    '{"offset":10}',
    `${cursorAfter('a')} `,
    // Bytes that are no UTF-8.
    `after.${Buffer.from([0xff, 0xfe]).toString('base64url')}`,
  ])('that this driver did not give is refused: %j', async (cursor) => {
    const client = await chroma.open({ collection: 'foreign-cursors' });
    await expect(client.list({ limit: 5, cursor, includeValues: false }, NEVER)).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'cursor' }],
    });
  });
});
