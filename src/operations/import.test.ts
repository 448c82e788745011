import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type { VectorRecord } from '../connectors/vector/driver.ts';
import { ConnectorError } from '../errors/error.ts';
import { importRecords } from './import.ts';

const NEVER = new AbortController().signal;

/** Keeps the batches that it is given; `fail` makes the batch of that number fail. */
function collector(fail?: number) {
  const batches: (readonly VectorRecord[])[] = [];
  const upsertVectors: VectorConnector['upsertVectors'] = async (records) => {
    if (batches.length === fail)
      throw new ConnectorError('unavailable', 'the backend is down', { retryAfterMs: 5 });
    batches.push(records);
    return {
      upserted: records.length - 1,
      failed: 1,
      errors: [{ index: 0, id: records[0]?.id ?? '', code: 'conflict', message: 'no' }],
    };
  };
  return { batches, upsertVectors };
}

async function* stream(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let start = 0;
  for (const end of [...cuts, bytes.length].sort((a, b) => a - b)) {
    yield bytes.subarray(start, end);
    start = end;
  }
}

it('reads the same records however the stream is cut, with blank lines and any letters', async () => {
  const line = fc.record({ id: fc.string({ unit: 'grapheme', minLength: 1 }), values: fc.constant([1]) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(line),
      fc.array(fc.nat(300)),
      fc.constantFrom('\n', '\r\n', '\n\n'),
      async (records, cuts, ending) => {
        const bytes = Buffer.from(records.map((record) => JSON.stringify(record)).join(ending));
        const { batches, upsertVectors } = collector();
        const inside = cuts.filter((cut) => cut < bytes.length);
        await importRecords({ upsertVectors }, stream(bytes, inside), NEVER);
        expect(batches.flat()).toEqual(records);
      },
    ),
  );
});

const lines = (count: number) =>
  Buffer.from(Array.from({ length: count }, (_, i) => `{"id":"r${i}"}`).join('\n'));

it('writes batches of 1,000 and counts refusals by their index in the stream', async () => {
  const { batches, upsertVectors } = collector();
  const result = await importRecords({ upsertVectors }, stream(lines(2_100), []), NEVER);
  expect(batches.map((batch) => batch.length)).toEqual([1_000, 1_000, 100]);
  expect(result).toMatchObject({
    upserted: 2_097,
    failed: 3,
    errors: [{ index: 0 }, { index: 1_000 }, { index: 2_000 }],
  });
});

it('says what stands and where to go on when the backend fails', async () => {
  const { upsertVectors } = collector(1);
  await expect(importRecords({ upsertVectors }, stream(lines(2_100), []), NEVER)).rejects.toMatchObject({
    code: 'unavailable',
    retryAfterMs: 5,
    details: { upserted: 999, next_line: 1_001 },
  });
});

it('refuses a line that does not end, before it fills the memory', async () => {
  let sent = 0;
  async function* endless() {
    for (;;) {
      sent += 65_536;
      yield Buffer.alloc(65_536, 'x');
    }
  }
  await expect(importRecords(collector(), endless(), NEVER)).rejects.toMatchObject({
    code: 'payload_too_large',
  });
  expect(sent).toBeLessThan(5 * 2 ** 20);
});
