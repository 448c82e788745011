import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import type { ListedVector, Metadata, Progress } from '../../../driver.ts';
import { numbers, vectorConnector, vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';

const scratch = mkdtempSync(path.join(tmpdir(), 'embedded-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const records = numbers(2_000, 16).map((values, i) => ({ id: `v${i}`, values }));

describe('a client of the embedded driver', () => {
  it('reports the building of its index, and says in check how far it is', async () => {
    const { promise: told, resolve: tell } = Promise.withResolvers<Progress>();
    const context = { ...vectorContext(scratch, 16, 'cosine'), progress: tell };
    const client = await driver.open(driver.options.parse({ exact_max_mb: 0.05 }), context);
    await vectorConnector(client, context, driver.capabilities).upsertVectors(records);
    const notes = await client.check(context.signal);
    expect(notes).toEqual([
      { level: 'info', message: expect.stringMatching(/^2000 vectors are not indexed/) },
    ]);
    expect((await told).task).toBe('index');
    await client.close();
  });

  it('ends the wait of a caller who gives up, and does what it was asked all the same', async () => {
    const context = vectorContext(scratch, 16, 'cosine');
    const client = await driver.open(driver.options.parse({}), context);
    const connector = vectorConnector(client, context, driver.capabilities);
    const caller = new AbortController();
    const search = connector.search(records[0]?.values ?? [], { signal: caller.signal });
    caller.abort();
    await expect(search).rejects.toMatchObject({ code: 'cancelled' });
    await expect(connector.countVectors({ signal: caller.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    expect(await connector.countVectors()).toBe(0);
    await client.close();
  });

  it('refuses to open a collection twice in one process', async () => {
    const context = vectorContext(scratch, 16, 'cosine');
    const client = await driver.open(driver.options.parse({}), context);
    const second = driver.open(driver.options.parse({}), context);
    await expect(second).rejects.toMatchObject({ code: 'invalid_state' });
    expect(await client.count(undefined, context.signal)).toBe(0);
    await client.close();
  });

  it('lists every record once in pages, and those that are written meanwhile do not disturb it', async () => {
    const context = vectorContext(scratch, 16, 'cosine');
    const client = await driver.open(driver.options.parse({}), context);
    const connector = vectorConnector(client, context, driver.capabilities);
    const some = records.slice(0, 1_000).map((record, i) => ({
      ...record,
      ...(i % 3 === 0 && { metadata: JSON.parse(`{"i":${i},"__proto__":[1]}`) as Metadata }),
      ...(i % 2 === 0 && { text: `text ${i}` }),
    }));
    await connector.upsertVectors(some);
    const listed: ListedVector[] = [];
    const sizes: number[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await connector.listVectors({ limit: 300, cursor });
      listed.push(...page.records);
      sizes.push(page.records.length);
      if (page.nextCursor === undefined) break;
      cursor = page.nextCursor;
      // Slots that become free are used again: neither hides a record of the rest, nor shows one twice.
      await connector.deleteVectors({ ids: [`new${sizes.length - 1}`, 'v0'] });
      await connector.upsertVectors([{ id: `new${sizes.length}`, values: records[0]?.values ?? [] }]);
    }
    expect(sizes.slice(0, 3)).toEqual([300, 300, 300]);
    expect(listed.filter(({ id }) => id.startsWith('v'))).toEqual(some);
    await client.close();
  });

  it('lists without the vectors where they are not asked for', async () => {
    const context = vectorContext(scratch, 16, 'cosine');
    const client = await driver.open(driver.options.parse({}), context);
    const connector = vectorConnector(client, context, driver.capabilities);
    expect(await connector.listVectors()).toEqual({ records: [] });
    await connector.upsertVectors(records.slice(0, 3));
    expect(await connector.listVectors({ limit: 3, includeValues: false })).toEqual({
      records: [{ id: 'v0' }, { id: 'v1' }, { id: 'v2' }],
    });
    await client.close();
  });

  it('ends a page early where its records are long, and loses none of them', async () => {
    const context = vectorContext(scratch, 1, 'dot');
    const client = await driver.open(driver.options.parse({}), context);
    const connector = vectorConnector(client, context, driver.capabilities);
    const text = 'x'.repeat(1_000_000);
    await connector.upsertVectors(Array.from({ length: 40 }, (_, i) => ({ id: `${i}`, values: [i], text })));
    const pages: number[] = [];
    for (let cursor: string | undefined, more = true; more;) {
      const page = await connector.listVectors({ cursor });
      pages.push(page.records.length);
      cursor = page.nextCursor;
      more = cursor !== undefined;
    }
    expect(pages).toEqual([17, 17, 6]);
    await client.close();
  });

  it.each(['', '-1', '1.5', 'abc', '9'.repeat(40)])('refuses %j as a cursor', async (cursor) => {
    const context = vectorContext(scratch, 16, 'cosine');
    const client = await driver.open(driver.options.parse({}), context);
    const page = { limit: 1, cursor, includeValues: true };
    await expect(client.list(page, context.signal)).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'cursor' }],
    });
    await client.close();
  });

  it('keeps no process alive that has nothing left to do, though it was not closed', async () => {
    const folder = path.join(scratch, 'left-open');
    const module = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
    const script = `
      const { default: driver } = await import(${module('./index.ts')});
      const { vectorContext } = await import(${module('../../../testing/vector-suite.ts')});
      const context = vectorContext(${JSON.stringify(folder)}, 3, 'dot');
      const client = await driver.open(driver.options.parse({}), context);
      await client.upsert([{ id: 'a', values: [1, 2, 3] }], context.signal);
      console.log(await client.count(undefined, context.signal));`;
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
    expect((await run).stdout.trim()).toBe('1');
  });

  it('lets the process exit cleanly at any moment of building an index', { timeout: 60_000 }, async () => {
    const module = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
    const exit = async (searches: number, last: string): Promise<unknown> => {
      const script = `
        const { default: driver } = await import(${module('./index.ts')});
        const { numbers, vectorContext } = await import(${module('../../../testing/vector-suite.ts')});
        const context = vectorContext(${JSON.stringify(scratch)}, 128, 'dot');
        const client = await driver.open(driver.options.parse({ exact_max_mb: 0.1 }), context);
        const [query, ...vectors] = numbers(3001, 128);
        await client.upsert(vectors.map((values, i) => ({ id: 'v' + i, values })), context.signal);
        const working = async () => (await client.check(context.signal)).length > 0;
        if (!await working()) throw new Error('no index is being built');
        for (let i = 0; i < ${searches} && await working(); i++)
          await client.search(query, { topK: 9 }, context.signal);
        console.log('exits');
        ${last};`;
      const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
      return run.catch(({ code, signal, stdout, stderr }) => ({ code, signal, stdout, stderr }));
    };
    const exits = { code: 7, signal: null, stdout: 'exits\n', stderr: '' };
    const thrown = {
      code: 1,
      signal: null,
      stdout: 'exits\n',
      stderr: expect.stringContaining('Error: last'),
    };
    // The first while rows are put into the index, between searches; the last while their graph is built.
    for (const searches of [0, 40])
      expect(
        await Promise.all([exit(searches, 'process.exit(7)'), exit(searches + 4, 'process.exit(7)')]),
      ).toEqual([exits, exits]);
    expect(await exit(42, "throw new Error('last')")).toEqual(thrown);
  });

  it('refuses unknown options, naming them', () => {
    expect(driver.options.safeParse({ exact_max: 1 }).error?.issues[0]).toMatchObject({
      keys: ['exact_max'],
    });
    expect(driver.options.safeParse({ indexed_fields: { a: 'date' } }).success).toBe(false);
    expect(driver.options.parse({})).toEqual({ exact_max_mb: 32, indexed_fields: {} });
  });
});
