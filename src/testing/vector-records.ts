import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type { VectorRecord } from '../connectors/vector/driver.ts';
import { numbers, type VectorProof } from './vector-suite.ts';

/** Ids at the limits of what is allowed, and pairs that some backends take for one. */
const IDS: readonly string[] = [
  ...['a', 'A', ' ', 'a ', '0', '00', '1e3', '-1', 'null', 'true', 'a'.repeat(512), 'a'.repeat(511)],
  ...['é', 'e\u0301', '😀', '\uffff', '語'.repeat(512), '😀'.repeat(256), 'a\nb', 'a\tb', '\u0001'],
  ...["it's", 'say "x"', '\\', 'a/b', '/', '..', '../x', '%2F', '%', '_', '*', '?', '#', 'a,b', 'a;b', '[x]'],
  ...['a:b', 'a=b&c', '{id}', '${id}', "'; DROP TABLE records; --", '__proto__', 'constructor', 'id'],
  ...['f47ac10b-58cc-4372-a567-0e02b2c3d479', 'F47AC10B-58CC-4372-A567-0E02B2C3D479'],
];

/** Records as they are written, replaced, fetched, counted and deleted. */
export function testRecords({ capabilities, collection }: VectorProof): void {
  describe('records', () => {
    let connector: VectorConnector;
    beforeAll(async () => {
      connector = await collection();
    });
    beforeEach(async () => {
      await connector.deleteVectors({ all: true });
    });

    it('come back as they were written, values rounded to float32', async () => {
      const record = {
        id: 'é😀 "1"',
        values: [0.5, -0.25, 3],
        metadata: { a: { b: ['x', 1] }, n: null },
        text: 'tëxt',
      };
      expect(await connector.upsertVectors([record])).toEqual({ upserted: 1, failed: 0, errors: [] });
      expect(await connector.fetchVectors([record.id])).toEqual([record]);
      await connector.upsertVectors([{ ...record, values: [0.1, 1e-3, 7] }]);
      const rounded = [0.1, 1e-3, 7].map(Math.fround);
      expect(await connector.fetchVectors([record.id])).toEqual([{ ...record, values: rounded }]);
      const [match] = await connector.search([0.5, -0.25, 3], { includeValues: true });
      expect(match).toMatchObject({ ...record, values: rounded });
      const [bare] = await connector.search([0.5, -0.25, 3], { includeMetadata: false });
      expect(bare).not.toHaveProperty('values');
      expect(bare).not.toHaveProperty('metadata');
      expect(bare).not.toHaveProperty('text');
    });

    it('have no metadata and no text where none was given, and empty ones where empty ones were', async () => {
      const records = [
        { id: 'a', values: [1, 0, 0] },
        { id: 'b', values: [0, 1, 0], metadata: {}, text: '' },
      ];
      await connector.upsertVectors(records);
      expect(await connector.fetchVectors(['a', 'b'])).toEqual(records);
    });

    it('keep every id apart from every other', async () => {
      const records = IDS.map((id, i) => ({ id, values: [1, i, 1 - i] }));
      expect(await connector.upsertVectors(records)).toEqual({ upserted: IDS.length, failed: 0, errors: [] });
      expect(await connector.fetchVectors(IDS)).toEqual(records);
      const found = await connector.search([1, 1, 1], { topK: IDS.length });
      expect(found.map(({ id }) => id).sort()).toEqual([...IDS].sort());
      const half = IDS.filter((_, i) => i % 2 === 0);
      expect(await connector.deleteVectors({ ids: half })).toEqual({ deleted: half.length });
      expect(await connector.fetchVectors(IDS)).toEqual(records.filter(({ id }) => !half.includes(id)));
    });

    it('are replaced as a whole by another with the same id', async () => {
      await connector.upsertVectors([{ id: 'a', values: [1, 0, 0], metadata: { old: 1 }, text: 'old' }]);
      await connector.upsertVectors([{ id: 'a', values: [0, 1, 0] }]);
      expect(await connector.fetchVectors(['a'])).toEqual([{ id: 'a', values: [0, 1, 0] }]);
      expect(await connector.countVectors()).toBe(1);
      const [match] = await connector.search([0, 1, 0]);
      expect(match).toMatchObject({ id: 'a' });
      if (!capabilities.filter.includes('eq')) return;
      expect(await connector.search([0, 1, 0], { filter: { old: 1 } })).toEqual([]);
    });

    it('keep the last of equal ids in one call', async () => {
      const records = [1, 2, 3].map((n) => ({ id: 'a', values: [n, 1, 1], metadata: { n } }));
      const others = [4, 5].map((n) => ({ id: `b${n}`, values: [n, 1, 1] }));
      expect(await connector.upsertVectors([...records, ...others])).toMatchObject({ failed: 0, errors: [] });
      expect(await connector.fetchVectors(['a'])).toEqual([
        { id: 'a', values: [3, 1, 1], metadata: { n: 3 } },
      ]);
      expect(await connector.countVectors()).toBe(3);
    });

    it('are found by the next search once they are acknowledged', async () => {
      for (let i = 0; i < 10; i++) {
        const values = [1, i, -i];
        await connector.upsertVectors([{ id: `n${i}`, values }]);
        expect((await connector.search(values, { topK: 1 }))[0]?.id).toBe(`n${i}`);
        expect(await connector.countVectors()).toBe(i + 1);
      }
    });

    it('are seen no more by anybody once their deletion is acknowledged', async () => {
      const records = numbers(10, 3).map((values, i) => ({ id: `n${i}`, values, metadata: { i } }));
      await connector.upsertVectors(records);
      for (const { id, values } of records.slice(0, 5)) {
        expect(await connector.deleteVectors({ ids: [id] })).toEqual({ deleted: 1 });
        expect((await connector.search(values, { topK: 10 })).map((match) => match.id)).not.toContain(id);
        expect(await connector.fetchVectors([id])).toEqual([]);
      }
      expect(await connector.countVectors()).toBe(5);
      const { records: listed } = await connector.listVectors();
      expect(listed.map(({ id }) => id).sort()).toEqual(records.slice(5).map(({ id }) => id));
    });

    it('are fetched in the order asked for, without those that do not exist', async () => {
      await connector.upsertVectors(['a', 'b', 'c'].map((id) => ({ id, values: [1, 1, 1] })));
      const found = await connector.fetchVectors(['c', 'x', 'a']);
      expect(found.map(({ id }) => id)).toEqual(['c', 'a']);
    });

    it('are deleted by id and all at once, and counted', async () => {
      await connector.upsertVectors(['a', 'b', 'c', 'd'].map((id) => ({ id, values: [1, 1, 1] })));
      expect(await connector.deleteVectors({ ids: ['a', 'x', 'a'] })).toEqual({ deleted: 1 });
      expect(await connector.countVectors()).toBe(3);
      expect(await connector.deleteVectors({ all: true })).toEqual({ deleted: 3 });
      expect(await connector.countVectors()).toBe(0);
      expect(await connector.search([1, 1, 1])).toEqual([]);
      expect(await connector.deleteVectors({ all: true })).toEqual({ deleted: 0 });
    });

    it('are cut into batches, and all written, fetched and deleted', async () => {
      const records = numbers(2_500, 3).map((values, i) => ({ id: `b${i}`, values }));
      const ids = records.map(({ id }) => id);
      expect(await connector.upsertVectors(records)).toEqual({ upserted: 2_500, failed: 0, errors: [] });
      expect(await connector.countVectors()).toBe(2_500);
      expect(await connector.fetchVectors(ids)).toEqual(records);
      expect(await connector.deleteVectors({ ids: ids.slice(1) })).toEqual({ deleted: 2_499 });
      expect(await connector.countVectors()).toBe(1);
    });

    it('are all refused when one of them is bad', async () => {
      const records: VectorRecord[] = [
        { id: 'a', values: [1, 1, 1] },
        { id: 'b', values: [1, NaN, 1] },
      ];
      await expect(connector.upsertVectors(records)).rejects.toMatchObject({
        code: 'invalid_argument',
        issues: [{ path: 'records[1].values' }],
      });
      expect(await connector.countVectors()).toBe(0);
    });
  });
}
