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
        await importRecords({ upsertVectors }, stream(bytes, inside), { signal: NEVER });
        expect(batches.flat()).toEqual(records);
      },
    ),
  );
});

const lines = (count: number) =>
  Buffer.from(Array.from({ length: count }, (_, i) => `{"id":"r${i}"}`).join('\n'));

it('writes batches of 1,000 and counts refusals by their index in the stream', async () => {
  const { batches, upsertVectors } = collector();
  const result = await importRecords({ upsertVectors }, stream(lines(2_100), []), { signal: NEVER });
  expect(batches.map((batch) => batch.length)).toEqual([1_000, 1_000, 100]);
  expect(result).toMatchObject({
    upserted: 2_097,
    failed: 3,
    errors: [
      { index: 0, line: 1 },
      { index: 1_000, line: 1_001 },
      { index: 2_000, line: 2_001 },
    ],
  });
});

it('says what stands and where to go on when the backend fails', async () => {
  const { upsertVectors } = collector(1);
  await expect(
    importRecords({ upsertVectors }, stream(lines(2_100), []), { signal: NEVER }),
  ).rejects.toMatchObject({
    code: 'unavailable',
    retryAfterMs: 5,
    details: { upserted: 999, next_line: 1_001 },
  });
});

it('says so at once, though the stream has nothing more to say and does not end', async () => {
  async function* stalling() {
    yield lines(1_000);
    yield Buffer.from('\n');
    await new Promise(() => {});
  }
  const { upsertVectors } = collector(0);
  await expect(importRecords({ upsertVectors }, stalling(), { signal: NEVER })).rejects.toMatchObject({
    code: 'unavailable',
    details: { upserted: 0, next_line: 1 },
  });
});

it('reads on while a batch is being written, and writes one batch at a time', async () => {
  let taken = 0;
  async function* counted() {
    for (let i = 0; i < 5; i++) {
      taken += 1;
      yield Buffer.concat([lines(1_000), Buffer.from('\n')]);
    }
  }
  const seen: number[] = [];
  let writing = 0;
  const upsertVectors: VectorConnector['upsertVectors'] = async (records) => {
    writing += 1;
    expect(writing).toBe(1);
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(taken);
    writing -= 1;
    return { upserted: records.length, failed: 0, errors: [] };
  };
  expect(await importRecords({ upsertVectors }, counted(), { signal: NEVER })).toMatchObject({
    upserted: 5_000,
  });
  expect(seen).toEqual([2, 3, 4, 5, 5]);
});

it('counts lines from where it is told, and names a bad one after what stands', async () => {
  const { batches, upsertVectors } = collector();
  const content = Buffer.concat([lines(1_000), Buffer.from('\n\n{"id":"good"}\n{bad\n')]);
  await expect(
    importRecords({ upsertVectors }, stream(content, []), { signal: NEVER, firstLine: 5_001 }),
  ).rejects.toMatchObject({
    code: 'invalid_argument',
    issues: [{ path: 'lines[6003]' }],
    details: { upserted: 999, next_line: 6_001 },
  });
  expect(batches).toHaveLength(1);
});

it('refuses a line that does not end, before it fills the memory', async () => {
  let sent = 0;
  async function* endless() {
    for (;;) {
      sent += 65_536;
      yield Buffer.alloc(65_536, 'x');
    }
  }
  await expect(importRecords(collector(), endless(), { signal: NEVER })).rejects.toMatchObject({
    code: 'payload_too_large',
  });
  expect(sent).toBeLessThan(5 * 2 ** 20);
});
