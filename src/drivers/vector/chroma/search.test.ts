import type { Collection } from 'chromadb';
import { describe, expect, it } from 'vitest';
import { Search } from './search.ts';

const VALUES = [1, 2, 3];
const QUERY = { topK: 3, includeValues: false, includeMetadata: false };

/** A collection of equal vectors whose graph leads to some of them, in the order given. */
function graphOf({ all, found }: { readonly all: readonly string[]; readonly found: readonly string[] }) {
  const compared: string[] = [];
  const asked: number[] = [];
  const collection = {
    count: async () => all.length,
    async query({ nResults }: { readonly nResults: number }) {
      asked.push(nResults);
      const ids = found.slice(0, nResults);
      // A last bit of float32 nearer than they are.
      const distances = ids.map(() => Math.fround(1 - 6 / Math.sqrt(14 * 3) - 6e-8));
      return { ids: [ids], distances: [distances], metadatas: [], documents: [], embeddings: [] };
    },
    async get({ ids }: { readonly ids: readonly string[] }) {
      compared.push(...ids);
      return { ids, embeddings: ids.map(() => VALUES), metadatas: [], documents: [] };
    },
  };
  // The three methods that a search calls.
  const search = new Search(collection as unknown as Collection, 'cosine', async () => all);
  return { search, compared, asked };
}

const ids = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `t${String(i).padStart(5, '0')}`);

describe('what the graph does not lead to', () => {
  it.each([undefined, { k: 1 }])(
    'is compared by the same arithmetic as what it leads to: %j',
    async (where) => {
      const all = ids(9);
      const { search } = graphOf({ all, found: all.slice(5) });
      const matches = await search.run([1, 1, 1], QUERY, where);
      expect(matches.map(({ id }) => id)).toEqual(['t00000', 't00001', 't00002']);
      expect(new Set(matches.map(({ rawScore }) => rawScore)).size).toBe(1);
    },
  );

  it('is compared up to 20,000, and is not beyond', async () => {
    const all = ids(20_003);
    const some = graphOf({ all, found: all.slice(20_000) });
    expect(await some.search.run([1, 1, 1], QUERY, undefined)).toHaveLength(3);
    expect(new Set(some.compared)).toEqual(new Set(all));
    const most = graphOf({ all, found: all.slice(20_001) });
    expect(await most.search.run([1, 1, 1], QUERY, undefined)).toHaveLength(2);
    expect(most.compared).toEqual([]);
  });

  it('is not looked for where the graph found as many as there are', async () => {
    const { search, compared } = graphOf({ all: ids(2), found: ids(2) });
    expect(await search.run([1, 1, 1], QUERY, undefined)).toHaveLength(2);
    expect(compared).toEqual([]);
  });
});

describe('more are asked for', () => {
  it('while the last is as near as the one at the cut, up to 20,000', async () => {
    const all = ids(30_000);
    const { search, asked } = graphOf({ all, found: all.toReversed() });
    const matches = await search.run([1, 1, 1], QUERY, undefined);
    expect(asked).toEqual([4, 16, 64, 256, 1_024, 4_096, 16_384, 20_000]);
    // The smallest of those that Chroma chose.
    expect(matches.map(({ id }) => id)).toEqual(['t10000', 't10001', 't10002']);
  });
});
