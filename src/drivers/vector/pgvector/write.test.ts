import { expect, it } from 'vitest';
import type { Session, Statement } from './pool.ts';
import { storable, upsertBatches, writeBatches } from './write.ts';

const VECTOR_OID = 16_385;

function scripted(failOn?: number) {
  const log: string[] = [];
  const session: Session = {
    async run({ name = '' }: Statement) {
      log.push(name);
      if (log.filter((one) => one === 'upsert').length === failOn) throw new Error('out of space');
      return { rows: [], count: 0 };
    },
    async transaction(task) {
      log.push('begin');
      const result = await task();
      log.push('commit');
      return result;
    },
  };
  return { session, log };
}

it('sends one batch by itself, and several in one transaction, cut by their bytes', async () => {
  const text = 'x'.repeat(1_000_000);
  const rows = (count: number) =>
    storable(Array.from({ length: count }, (_, i) => ({ id: `r${i}`, values: [1], text }))).good;
  const sent = async (count: number): Promise<readonly string[]> => {
    const { session, log } = scripted();
    await writeBatches(session, 't', upsertBatches(rows(count), VECTOR_OID));
    return log;
  };
  expect(await sent(0)).toEqual([]);
  expect(await sent(31)).toEqual(['upsert']);
  expect(await sent(70)).toEqual(['begin', 'upsert', 'upsert', 'upsert', 'commit']);
});

it('commits nothing where one of several fails', async () => {
  const text = 'x'.repeat(1_000_000);
  const { good } = storable(Array.from({ length: 70 }, (_, i) => ({ id: `r${i}`, values: [1], text })));
  const { session, log } = scripted(2);
  await expect(writeBatches(session, 't', upsertBatches(good, VECTOR_OID))).rejects.toThrow('out of space');
  expect(log).toEqual(['begin', 'upsert', 'upsert']);
});

it('writes in the order of the ids, so that callers lock rows in one order', () => {
  const { good } = storable(['b', 'ä', 'a', 'B'].map((id) => ({ id, values: [1] })));
  const [[ids = Buffer.alloc(0)] = []] = upsertBatches(good, VECTOR_OID);
  expect(
    ids
      .subarray(20)
      .toString()
      .replaceAll(/[^\p{L}]/gu, ''),
  ).toBe('Babä');
});
