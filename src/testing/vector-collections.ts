import { describe, expect, it } from 'vitest';
import type { VectorClient, VectorOpenContext } from '../connectors/vector/driver.ts';
import { NEVER } from '../policies/pipeline.ts';
import { CORPUS } from './vector-corpus.ts';
import { vectorConnector, type VectorProof } from './vector-suite.ts';

const PAGE = { limit: 10, includeValues: true } as const;
const QUERY = { topK: 3, includeValues: false, includeMetadata: true } as const;

/** What every client can be asked to do, past its connector. */
const CALLS: readonly (readonly [string, (client: VectorClient, signal: AbortSignal) => Promise<unknown>])[] =
  [
    ['search', async (client, signal) => client.search([1, 1, 1], QUERY, signal)],
    ['upsert', async (client, signal) => client.upsert([{ id: 'a', values: [1, 1, 1] }], signal)],
    ['fetch', async (client, signal) => client.fetch(['a'], signal)],
    ['count', async (client, signal) => client.count(undefined, signal)],
    ['delete by id', async (client, signal) => client.delete({ ids: ['a'] }, signal)],
    ['delete of all', async (client, signal) => client.delete({ all: true }, signal)],
    ['list', async (client, signal) => client.list(PAGE, signal)],
    ['check', async (client, signal) => client.check(signal)],
  ];

/** Collections as a whole: opened again, apart from each other, given up, and removed by somebody else. */
export function testCollections(
  { capabilities, collection, context, start }: VectorProof,
  removeBeneath?: (context: VectorOpenContext) => Promise<void>,
): void {
  describe('a collection', () => {
    it('holds what was acknowledged when it is opened again', async () => {
      const own = context();
      const first = await start(own);
      await vectorConnector(first, own, capabilities).upsertVectors(CORPUS);
      await first.close();
      const connector = vectorConnector(await start(own), own, capabilities);
      expect(await connector.countVectors()).toBe(CORPUS.length);
      expect(await connector.search([1, 0, 0], { topK: CORPUS.length })).toHaveLength(CORPUS.length);
    });

    it('refuses to be opened with another dimension or metric than it holds', async () => {
      const own = context();
      const first = await start(own);
      await vectorConnector(first, own, capabilities).upsertVectors([{ id: 'a', values: [1, 1, 1] }]);
      await first.close();
      const mismatch = { code: 'invalid_state' };
      await expect(start({ ...own, dimension: 4 })).rejects.toMatchObject(mismatch);
      const other = capabilities.metrics.find((metric) => metric !== own.metric);
      if (other) await expect(start({ ...own, metric: other })).rejects.toMatchObject(mismatch);
    });

    it('shares nothing with that of another connector', async () => {
      const [one, other] = [await collection(), await collection()];
      await one.upsertVectors([{ id: 'a', values: [1, 1, 1] }]);
      expect(await other.fetchVectors(['a'])).toEqual([]);
      expect(await other.search([1, 1, 1])).toEqual([]);
      expect(await other.deleteVectors({ all: true })).toEqual({ deleted: 0 });
      expect(await one.countVectors()).toBe(1);
    });

    it('passes its own check', async () => {
      const client = await start(context());
      for (const note of await client.check(NEVER))
        expect(note).toEqual({ level: expect.stringMatching(/^(info|warn)$/), message: expect.any(String) });
    });

    it('does nothing for a caller who has given up before', async () => {
      const client = await start(context());
      const signal = AbortSignal.abort();
      for (const [name, call] of CALLS)
        await expect(call(client, signal), name).rejects.toMatchObject({ code: 'cancelled' });
      expect(await client.count(undefined, NEVER)).toBe(0);
    });

    if (removeBeneath) {
      it('is not found, and not made anew, once somebody else has removed it', async () => {
        const own = context();
        const client = await start(own);
        await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
        await removeBeneath(own);
        for (const [name, call] of [...CALLS, ...CALLS])
          await expect(call(client, NEVER), name).rejects.toMatchObject({ code: 'not_found' });
      });
    }
  });
}
