import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DistanceMetric, VectorClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { contextOf, startClients, type ChromaClients } from './clients.fixture.ts';
import driver from './index.ts';

let chroma: ChromaClients;
beforeAll(async () => {
  chroma = await startClients();
});
afterAll(async () => chroma.close());

describe('opening', () => {
  it('makes the collection once, however many do it at the same time', async () => {
    const context = contextOf(3, 'cosine');
    const clients = await Promise.all(Array.from({ length: 6 }, () => chroma.open({}, context)));
    await clients[0]?.upsert([{ id: 'a', values: [1, 0, 0] }], NEVER);
    for (const client of clients) expect(await client.count(undefined, NEVER)).toBe(1);
  });

  it.each<[DistanceMetric, 'cosine' | 'l2' | 'ip']>([
    ['cosine', 'cosine'],
    ['euclidean', 'l2'],
    ['dot', 'ip'],
  ])('by %s makes a collection of the space %s that notes its dimension', async (metric, space) => {
    await chroma.open({ collection: `made-${space}` }, contextOf(7, metric));
    const made = await chroma.look(`made-${space}`);
    expect(made.configuration.hnsw?.space).toBe(space);
    expect(made.metadata).toEqual({ 'connector:dimension': 7 });
  });

  it.each([
    ['a tenant', { tenant: 'nobody' }, 'default_database of a tenant nobody'],
    ['a database', { database: 'nothing' }, 'nothing of a tenant default_tenant'],
  ])('without %s of that name on the server is not_found, and says which', async (_what, options, named) => {
    await expect(chroma.open(options)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining(named),
    });
  });
});

describe('a collection that exists', () => {
  it.each<[string, number, DistanceMetric, string]>([
    ['dimension', 4, 'euclidean', 'the collection made-before holds vectors of 3 numbers, and not of 4'],
    ['metric', 3, 'dot', 'the collection made-before compares by l2, and not by ip (dot)'],
  ])('with another %s is refused, still empty', async (_what, dimension, metric, message) => {
    await chroma.open({ collection: 'made-before' }, contextOf(3, 'euclidean'));
    await expect(
      chroma.open({ collection: 'made-before' }, contextOf(dimension, metric)),
    ).rejects.toMatchObject({ code: 'invalid_state', message: expect.stringContaining(message) });
  });

  it('and is of another tool is refused for the vectors that it holds', async () => {
    const theirs = await chroma.foreign('theirs', 'ip');
    await theirs.add({ ids: ['a'], embeddings: [[1, 2, 3, 4, 5]] });
    const refused = { code: 'invalid_state', message: expect.stringContaining('holds vectors of 5 numbers') };
    await expect(chroma.open({ collection: 'theirs' }, contextOf(3, 'dot'))).rejects.toMatchObject(refused);
    const client = await chroma.open({ collection: 'theirs' }, contextOf(5, 'dot'));
    expect(await client.count(undefined, NEVER)).toBe(1);
  });
});

describe('the collection', () => {
  const query = { topK: 3, includeValues: false, includeMetadata: true };
  const calls: Readonly<Record<string, (client: VectorClient) => Promise<unknown>>> = {
    search: (client) => client.search([1, 1, 1], query, NEVER),
    'search for what nothing matches': (client) =>
      client.search([1, 1, 1], { ...query, filter: { a: { $in: [] } } }, NEVER),
    fetch: (client) => client.fetch(['a'], NEVER),
    count: (client) => client.count(undefined, NEVER),
    'count by a filter': (client) => client.count({ a: 1 }, NEVER),
    upsert: (client) => client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER),
    'delete by id': (client) => client.delete({ ids: ['a'] }, NEVER),
    'delete by a filter': (client) => client.delete({ filter: { a: 1 } }, NEVER),
    'delete of all': (client) => client.delete({ all: true }, NEVER),
    list: (client) => client.list({ limit: 3, includeValues: true }, NEVER),
    check: (client) => client.check(NEVER),
  };

  it('removed beneath is not_found by every call', async () => {
    const client = await chroma.open({ collection: 'removed' });
    await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    await chroma.other.deleteCollection({ name: 'removed' });
    for (const [name, call] of Object.entries(calls))
      await expect(call(client), name).rejects.toMatchObject({ code: 'not_found' });
  });

  it('made anew under its name is not_found by every call, and stays as it was made', async () => {
    const client = await chroma.open({ collection: 'anew' }, contextOf(3, 'euclidean'));
    await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    await chroma.other.deleteCollection({ name: 'anew' });
    const anew = await chroma.foreign('anew', 'l2');
    await anew.add({ ids: ['theirs'], embeddings: [[1, 2]] });
    for (const [name, call] of Object.entries(calls))
      await expect(call(client), name).rejects.toMatchObject({
        code: 'not_found',
        message: expect.stringContaining('the collection anew is no longer on the server'),
      });
    expect((await anew.get()).ids).toEqual(['theirs']);
  });

  it('passes its check with its name, what it holds and the version of the server', async () => {
    const client = await chroma.open({ collection: 'checked' });
    await client.upsert([{ id: 'a', values: [1, 1, 1] }], NEVER);
    expect(await client.check(NEVER)).toEqual([
      { level: 'info', message: 'Chroma 1.0.0; 1 records in the collection checked' },
    ]);
  });
});

describe('the options', () => {
  const pathsOf = (options: Readonly<Record<string, unknown>>): readonly string[] =>
    driver.options
      .safeParse({ endpoint: 'https://chroma.example:8000', ...options })
      .error?.issues.map(({ path }) => path.join('.')) ?? [];

  it.each([
    [{}],
    [{ endpoint: 'http://[::1]:8000/' }],
    [{ collection: 'a-b_c.1', tenant: 'acme', database: 'docs' }],
    [{ api_key: 'ada:secret', auth: 'basic' }],
  ])('take %j', (options) => {
    expect(pathsOf(options)).toEqual([]);
  });

  it.each([
    [{ endpoint: 'https://ada:secret@chroma.example' }, 'endpoint'],
    [{ endpoint: 'https://chroma.example/api/v2' }, 'endpoint'],
    [{ endpoint: 'https://chroma.example?tenant=x' }, 'endpoint'],
    [{ endpoint: 'ftp://chroma.example' }, 'endpoint'],
    [{ collection: '../other' }, 'collection'],
    [{ collection: 'ab' }, 'collection'],
    [{ tenant: 'a/b' }, 'tenant'],
    [{ database: '..' }, 'database'],
    [{ auth: 'digest' }, 'auth'],
  ])('refuse %j', (options, path) => {
    expect(pathsOf(options)).toContain(path);
  });
});
