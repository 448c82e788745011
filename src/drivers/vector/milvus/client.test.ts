import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { DistanceMetric, VectorClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';
import { startMilvus, type MilvusDouble } from './milvus.fixture.ts';
import { rowsOf } from './records.ts';

const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

async function started(
  metric: DistanceMetric = 'cosine',
  dimension = 3,
): Promise<{ readonly server: MilvusDouble; readonly client: VectorClient; readonly name: string }> {
  const server = await startMilvus();
  open.push(server);
  const context = vectorContext(scratch, dimension, metric);
  const client = await driver.open(driver.options.parse({ endpoint: server.url }), context);
  open.push(client);
  return { server, client, name: `connector_${context.connectorId.replaceAll('-', '')}` };
}

const plain = { includeValues: false, includeMetadata: false } as const;
const bodies = (server: MilvusDouble, method: string) =>
  server.requests.filter((one) => one.method === method).map(({ body }) => body);

describe('scores', () => {
  const found = async (metric: DistanceMetric) => {
    const { client } = await started(metric);
    await client.upsert([{ id: 'a', values: [3, 4, 0] }], NEVER);
    const [match] = await client.search([0.5, 0, 0], { topK: 1, ...plain }, NEVER);
    return match?.rawScore;
  };

  it('are the distance and not its square, which is what Milvus gives', async () => {
    expect(await found('euclidean')).toBeCloseTo(Math.hypot(2.5, 4), 6);
  });
  it('are the dot product', async () => {
    expect(await found('dot')).toBe(1.5);
  });
  it('are the cosine', async () => {
    expect(await found('cosine')).toBeCloseTo(0.6, 6);
  });

  it('are 0 for a vector found by itself, though the square might be a hair below', async () => {
    const { client, server, name } = await started('euclidean');
    await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    server.answer('Search', () => ({
      status: { error_code: 'Success', code: 0 },
      results: {
        num_queries: 1,
        topks: [1],
        scores: [-1e-9],
        fields_data: [{ type: 'VarChar', field_name: 'id', scalars: { string_data: { data: ['a'] } } }],
        output_fields: ['id'],
      },
      collection_name: name,
    }));
    expect(await client.search([1, 1, 1], { topK: 1, ...plain }, NEVER)).toEqual([{ id: 'a', rawScore: 0 }]);
  });

  it('are no cosine beyond 1, which float32 makes of equal directions', async () => {
    const { client } = await started();
    const values = [13 / 7, 13 / 3, 1 / 13].map(Math.fround);
    await client.upsert([{ id: 'a', values: values.map((x) => x * 3) }], NEVER);
    expect(await client.search(values, { topK: 1, ...plain }, NEVER)).toEqual([{ id: 'a', rawScore: 1 }]);
  });

  it('that are equal are all read before the smallest ids are chosen', async () => {
    const { client, server } = await started();
    const ids = Array.from({ length: 300 }, (_, i) => `t${String(i).padStart(3, '0')}`);
    await client.upsert(
      ids.map((id) => ({ id, values: [1, 2, 3] })),
      NEVER,
    );
    const matches = await client.search([1, 2, 3], { topK: 5, ...plain }, NEVER);
    expect(matches.map(({ id }) => id)).toEqual(ids.slice(0, 5));
    const limits = bodies(server, 'Search').map(
      (body) => body.search_params.find(({ key }) => key === 'topk')?.value,
    );
    expect(limits).toEqual(['6', '24', '96', '384']);
  });

  it('are asked for once where the cut is clear', async () => {
    const { client, server } = await started();
    await client.upsert(
      Array.from({ length: 50 }, (_, i) => ({ id: `v${i}`, values: [1, i, 0] })),
      NEVER,
    );
    await client.search([1, 0, 0], { topK: 10, ...plain }, NEVER);
    expect(bodies(server, 'Search')).toHaveLength(1);
  });
});

describe('reads', () => {
  it('are strongly consistent, although the collection says otherwise', async () => {
    const { client, server } = await started();
    await client.upsert([{ id: 'a', values: [1, 1, 1], metadata: { n: 1 } }], NEVER);
    await client.search([1, 1, 1], { topK: 1, ...plain }, NEVER);
    await client.fetch(['a'], NEVER);
    await client.count({ n: { $gt: 0 } }, NEVER);
    await client.list({ limit: 10, includeValues: false }, NEVER);
    await client.delete({ filter: { n: 1 } }, NEVER);
    const levels = ['Search', 'Query', 'Delete'].flatMap((method) => bodies(server, method));
    expect(levels.length).toBeGreaterThan(4);
    expect(new Set(levels.map((body) => body.consistency_level))).toEqual(new Set(['Strong']));
  });

  it('give large contents in parts that fit into an answer', async () => {
    const { client, server } = await started();
    const text = 'x'.repeat(60_000);
    const records = Array.from({ length: 500 }, (_, i) => ({
      id: `r${String(i).padStart(3, '0')}`,
      values: [1, i / 500, 0],
      ...(i < 2 && { text }),
    }));
    await client.upsert(records, NEVER);
    const query = { topK: 480, includeValues: true, includeMetadata: true };
    const found = await client.search([1, 0, 0], query, NEVER);
    expect(found.map(({ id }) => id)).toEqual(records.slice(0, 480).map(({ id }) => id));
    expect(found[0]).toMatchObject({ text, values: [1, 0, 0] });
    expect(bodies(server, 'Search').map((body) => body.output_fields)).toEqual([['id']]);
    expect(bodies(server, 'Query')).toHaveLength(2);
    expect(await client.fetch(['r001', 'nowhere', 'r000'], NEVER)).toMatchObject([
      { id: 'r001' },
      { id: 'r000' },
    ]);
  });
});

describe('writes', () => {
  it('count what they delete, where Milvus counts what was named', async () => {
    const { client, server } = await started();
    await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    expect(await client.delete({ ids: ['a', 'b', 'a', 'c'] }, NEVER)).toBe(1);
    expect(await client.delete({ ids: ['a', 'b'] }, NEVER)).toBe(0);
    expect(bodies(server, 'Delete')).toHaveLength(1);
  });

  it('bind ids that hold quotes and operators', async () => {
    const { client, server } = await started();
    const ids = [`"] || id != "`, "it's", '{ids}', '\\', '😀\n'];
    await client.upsert(
      [...ids, 'other'].map((id) => ({ id, values: [1, 1, 1] })),
      NEVER,
    );
    expect((await client.fetch(ids, NEVER)).map(({ id }) => id)).toEqual(ids);
    expect(await client.delete({ ids }, NEVER)).toBe(ids.length);
    expect(await client.count(undefined, NEVER)).toBe(1);
    expect(new Set(bodies(server, 'Delete').map(({ expr }) => expr))).toEqual(new Set(['id IN {ids}']));
  });

  it('leave out records that Milvus cannot hold, and keep the others', async () => {
    const { client } = await started();
    const many = Object.fromEntries(Array.from({ length: 1_400 }, (_, i) => [`k${i}`, i]));
    const errors = await client.upsert(
      [
        { id: 'fits', values: [1, 1, 1], text: 'é'.repeat(32_767) },
        { id: 'long', values: [1, 1, 1], text: 'é'.repeat(32_768) },
        { id: 'wide', values: [1, 1, 1], metadata: { a: 'é'.repeat(32_768) } },
        { id: 'many', values: [1, 1, 1], metadata: many },
      ],
      NEVER,
    );
    expect(errors.map(({ index, id, code }) => ({ index, id, code }))).toEqual([
      { index: 1, id: 'long', code: 'payload_too_large' },
      { index: 2, id: 'wide', code: 'payload_too_large' },
      { index: 3, id: 'many', code: 'payload_too_large' },
    ]);
    expect(await client.count(undefined, NEVER)).toBe(1);
  });

  it('are cut so that no request is above 64 MB', () => {
    const text = 'x'.repeat(65_000);
    const records = Array.from({ length: 1_000 }, (_, i) => ({ id: `${i}`, values: [1, 1, 1], text }));
    const { parts } = rowsOf(records);
    expect(parts.flat()).toHaveLength(1_000);
    for (const part of parts) expect(JSON.stringify(part).length).toBeLessThan(40_000_000);
    expect(parts.length).toBeGreaterThan(1);
  });

  it('keep metadata and text as they were, and tell what is absent from what is empty', async () => {
    const { client } = await started();
    const records = [
      { id: 'a', values: [1, 0, 0] },
      { id: 'b', values: [1, 0, 0], metadata: {}, text: '' },
      {
        id: 'c',
        values: [1, 0, 0],
        metadata: JSON.parse('{"__proto__":{"x":[1,"1"]},"n":null,"f":5e-324}') as object,
      },
    ];
    await client.upsert(records as never, NEVER);
    const found = await client.fetch(['a', 'b', 'c'], NEVER);
    expect(found.map((one) => JSON.stringify(one.metadata))).toEqual([
      undefined,
      '{}',
      '{"__proto__":{"x":[1,"1"]},"n":null,"f":5e-324}',
    ]);
    expect(found.map(({ text }) => text)).toEqual([undefined, '', undefined]);
  });

  it('give back vectors as they were given, not normalized', async () => {
    const { client } = await started('cosine');
    await client.upsert([{ id: 'a', values: [30, -40, 0.5] }], NEVER);
    expect((await client.fetch(['a'], NEVER))[0]?.values).toEqual([30, -40, 0.5]);
  });
});

describe('listing', () => {
  it('gives each record once, in pages, and no cursor after the last', async () => {
    const { client } = await started();
    const ids = ['a', 'b', 'ä', 'z', '\uffff', '😀', 'B', ' ', "it's"];
    await client.upsert(
      ids.map((id) => ({ id, values: [1, 2, 3], metadata: { id } })),
      NEVER,
    );
    for (const limit of [1, 2, 3, 9, 100]) {
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await client.list({ limit, cursor, includeValues: true }, NEVER);
        expect(page.records.length).toBeGreaterThan(0);
        expect(page.records.length).toBeLessThanOrEqual(limit);
        for (const record of page.records) {
          expect(record).toEqual({ id: record.id, values: [1, 2, 3], metadata: { id: record.id } });
          seen.push(record.id);
        }
        cursor = page.nextCursor;
      } while (cursor !== undefined);
      expect(seen.toSorted()).toEqual(ids.toSorted());
    }
  });

  it('of nothing is one empty page', async () => {
    const { client } = await started();
    expect(await client.list({ limit: 10, includeValues: true }, NEVER)).toEqual({ records: [] });
  });

  it('refuses a cursor that it did not give', async () => {
    const { client } = await started();
    for (const cursor of ['', 'x', 'm1.', 'm1.*', 'm1.gA', `m1.${'A'.repeat(2_800)}`, 'm1.YQ=='])
      await expect(client.list({ limit: 1, cursor, includeValues: false }, NEVER)).rejects.toMatchObject({
        code: 'invalid_argument',
        issues: [{ path: 'cursor' }],
      });
  });

  it('fails rather than skip records, where the server gives ids in no order', async () => {
    const { client, server } = await started();
    server.answer('Query', () => ({
      status: { error_code: 'Success', code: 0 },
      fields_data: [
        { type: 'VarChar', field_name: 'id', scalars: { string_data: { data: ['b', 'a'] } } },
        { type: 'VarChar', field_name: 'text', scalars: { string_data: { data: ['', ''] } } },
      ],
    }));
    await expect(client.list({ limit: 2, includeValues: false }, NEVER)).rejects.toMatchObject({
      code: 'backend_error',
    });
  });
});
