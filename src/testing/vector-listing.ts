import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type { ListedVector } from '../connectors/vector/driver.ts';
import { numbers, type VectorProof } from './vector-suite.ts';

const BARE: readonly ListedVector[] = Array.from({ length: 25 }, (_, i) => ({
  id: `r${(i * 7) % 25} 語`,
  ...(i % 2 === 0 && { metadata: { i, deep: { list: ['x', i] } } }),
  ...(i % 3 === 0 && { text: `text ${i}` }),
}));
const VALUES = numbers(25, 3);
const RECORDS = BARE.map((record, i) => ({ ...record, values: VALUES[i] ?? [] }));

/** All records page by page, as an export reads them. */
export function testListing({ collection }: VectorProof): void {
  describe('a listing', () => {
    let connector: VectorConnector;
    beforeAll(async () => {
      connector = await collection();
    });
    beforeEach(async () => {
      await connector.deleteVectors({ all: true });
    });

    const pages = async (limit: number, includeValues?: boolean): Promise<readonly ListedVector[][]> => {
      const read: ListedVector[][] = [];
      let cursor: string | undefined;
      do {
        const page = await connector.listVectors({
          limit,
          cursor,
          ...(includeValues !== undefined && { includeValues }),
        });
        read.push([...page.records]);
        cursor = page.nextCursor;
      } while (cursor !== undefined && read.length <= RECORDS.length);
      return read;
    };

    it.each([1, 7, 25, 1_000])(
      'holds every record once, as it was written, in pages of %i',
      async (limit) => {
        await connector.upsertVectors(RECORDS);
        const read = await pages(limit);
        expect(Math.max(...read.map(({ length }) => length))).toBeLessThanOrEqual(limit);
        expect(inOrder(read.flat())).toEqual(inOrder(RECORDS));
      },
    );

    it('holds no values where they were not asked for', async () => {
      await connector.upsertVectors(RECORDS);
      expect(inOrder((await pages(10, false)).flat())).toEqual(inOrder(BARE));
    });

    it('of nothing is one empty page', async () => {
      expect(await connector.listVectors()).toEqual({ records: [] });
    });

    it('holds once what stays while other records come and go', async () => {
      await connector.upsertVectors(RECORDS);
      const read: string[] = [];
      let cursor: string | undefined;
      for (let page = 0; page === 0 || cursor !== undefined; page++) {
        const { records, nextCursor } = await connector.listVectors({ limit: 5, cursor });
        read.push(...records.map(({ id }) => id));
        cursor = nextCursor;
        if (page > 3) continue;
        await connector.upsertVectors([{ id: `new ${page}`, values: [1, 1, 1] }]);
        await connector.deleteVectors({ ids: [`new ${page - 1}`] });
      }
      const old = read.filter((id) => !id.startsWith('new '));
      expect(old.sort()).toEqual(RECORDS.map(({ id }) => id).sort());
    });

    it.each(['', 'nonsense ☃', '-1', '{"offset":-1}'])(
      'refuses the cursor %j, which it never gave',
      async (cursor) => {
        await connector.upsertVectors(RECORDS);
        await expect(connector.listVectors({ cursor })).rejects.toMatchObject({ code: 'invalid_argument' });
      },
    );
  });
}

function inOrder<T extends { readonly id: string }>(records: readonly T[]): readonly T[] {
  return records.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
