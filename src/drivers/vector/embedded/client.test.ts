import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import type { Progress } from '../../../driver.ts';
import { numbers, vectorConnector, vectorContext } from '../../../testing/vector-suite.ts';
import driver from './index.ts';

const scratch = mkdtempSync(path.join(tmpdir(), 'embedded-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const records = numbers(2_000, 16).map((values, i) => ({ id: `v${i}`, values }));

describe('a client of the embedded driver', () => {
  it('reports the building of its index, and says in check how far it is', async () => {
    const progress: Progress[] = [];
    const context = {
      ...vectorContext(scratch, 16, 'cosine'),
      progress: (one: Progress) => void progress.push(one),
    };
    const client = await driver.open(driver.options.parse({ exact_max_mb: 0.05 }), context);
    await vectorConnector(client, context, driver.capabilities).upsertVectors(records);
    const notes = await client.check(context.signal);
    expect(notes.every(({ level }) => level === 'info')).toBe(true);
    await client.close();
    expect(progress.at(-1)?.task).toBe('index');
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

  it('lets the process exit cleanly in the middle of building an index', async () => {
    const folder = path.join(scratch, 'exits');
    const module = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
    const script = `
      const { default: driver } = await import(${module('./index.ts')});
      const { numbers, vectorContext } = await import(${module('../../../testing/vector-suite.ts')});
      const context = vectorContext(${JSON.stringify(folder)}, 64, 'dot');
      const client = await driver.open(driver.options.parse({ exact_max_mb: 0.1 }), context);
      await client.upsert(numbers(4000, 64).map((values, i) => ({ id: 'v' + i, values })), context.signal);
      const working = async () => (await client.check(context.signal)).length > 0;
      if (!await working()) throw new Error('no index is being built');
      for (let i = 0; i < 40 && await working(); i++) await client.count({ a: i }, context.signal);
      console.log('exits');
      process.exit(7);`;
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
    await expect(run).rejects.toMatchObject({ code: 7, signal: null, stdout: 'exits\n', stderr: '' });
  });

  it('refuses unknown options, naming them', () => {
    expect(driver.options.safeParse({ exact_max: 1 }).error?.issues[0]).toMatchObject({
      keys: ['exact_max'],
    });
    expect(driver.options.safeParse({ indexed_fields: { a: 'date' } }).success).toBe(false);
    expect(driver.options.parse({})).toEqual({ exact_max_mb: 32, indexed_fields: {} });
  });
});
