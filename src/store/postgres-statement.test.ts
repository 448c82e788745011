import { Pool, type PoolClient, types } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noPostgres } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { run } from './postgres-statement.ts';

const SET = "select current_setting('app.tenant', true) as tenant";

// A version of `pg` that treats queries of other classes in another way turns these red.
describe.skipIf(noPostgres !== undefined)('a statement with its tenant', () => {
  const postgres = usePostgres();
  let pool: Pool;
  let client: PoolClient;
  beforeAll(async () => {
    pool = new Pool({ connectionString: await postgres.database() });
    // The server is stopped while connections are still on their way out.
    pool.on('error', () => {}).on('connect', (one) => one.on('error', () => {}));
    client = await pool.connect();
  }, 60_000);
  afterAll(async () => {
    client.release();
    await pool.end();
  });

  const parserOf = (typeId: Parameters<typeof types.getTypeParser>[0]) => types.getTypeParser(typeId, 'text');
  const ask = (sql: string, parameters: readonly unknown[] = [], tenant = 'a', isKept = true) =>
    run(client, { sql, parameters, isKept }, parserOf, { begin: false, tenant });
  /** How often the server sends such a message meanwhile. */
  async function messages(name: string, work: () => Promise<unknown>): Promise<number> {
    // Not in its types, though its add-ons use it.
    const { connection } = client as unknown as { readonly connection: NodeJS.EventEmitter };
    let count = 0;
    const listener = () => (count += 1);
    connection.on(name, listener);
    await work();
    connection.off(name, listener);
    return count;
  }

  it('is in the name of its tenant, which is gone when it ends', async () => {
    for (const tenant of ['a', "b'; select 1", 'a']) {
      expect((await ask(SET, [], tenant)).rows).toEqual([{ tenant }]);
      expect((await client.query(SET)).rows).toEqual([{ tenant: '' }]);
    }
  });

  it('keeps the tenant of a transaction until that ends, and not beyond', async () => {
    const within = (sql: string) => run(client, { sql, parameters: [] }, parserOf);
    const first = { begin: true, tenant: 'whole' };
    expect((await run(client, { sql: SET, parameters: [] }, parserOf, first)).rows).toEqual([
      { tenant: 'whole' },
    ]);
    expect((await within(SET)).rows).toEqual([{ tenant: 'whole' }]);
    expect((await within('commit')).command).toBe('COMMIT');
    expect((await client.query(SET)).rows).toEqual([{ tenant: '' }]);
  });

  it('takes one round trip, and has what it answers described once', async () => {
    const text = 'select $1::text as described';
    expect(await messages('rowDescription', () => ask(text, ['1']))).toBe(1);
    expect(await messages('parseComplete', () => ask(text, ['2']))).toBe(0);
    expect(await messages('rowDescription', () => ask(text, ['3']))).toBe(0);
    expect(await messages('readyForQuery', () => ask(text, ['4']))).toBe(1);
    expect((await ask(text, ['5'])).rows).toEqual([{ described: '5' }]);
  });

  it('keeps compiled what comes a second time, unless it is told to at the first', async () => {
    const text = 'select 1 as often';
    const parses = () => messages('parseComplete', () => ask(text, [], 'a', false));
    expect([await parses(), await parses(), await parses()]).toEqual([1, 1, 0]);
  });

  it('writes every value as the server reads it', async () => {
    const { rows } = await ask(
      'select $1::text as s, $2::bigint as n, $3::bool as b, $4::text as none, $5::text[] as l',
      ['quote \' " \\ line\n', -12, true, null, ['a', 'with "quotes" and \\', '', 'a,b{}', null]],
    );
    expect(rows).toEqual([
      {
        ...{ s: 'quote \' " \\ line\n', n: '-12', b: true, none: null },
        l: ['a', 'with "quotes" and \\', '', 'a,b{}', null],
      },
    ]);
  });

  it('refuses what it cannot write before anything is sent', async () => {
    const sent = messages('readyForQuery', async () => {
      await expect(ask('select $1', [{ no: 'object' }])).rejects.toThrow('the store writes no object');
    });
    expect(await sent).toBe(0);
    expect((await ask('select 1 as after')).rows).toEqual([{ after: 1 }]);
  });

  it('says how many rows were written, and nothing of those that were read', async () => {
    await client.query('create temporary table numbers (n int)');
    expect(await ask('insert into numbers values (1), (2)')).toMatchObject({
      changed: 2n,
      command: 'INSERT 0 2',
    });
    expect(await ask('update numbers set n = 3')).toMatchObject({ changed: 2n });
    expect(await ask('select * from numbers')).toMatchObject({
      changed: undefined,
      rows: [{ n: 3 }, { n: 3 }],
    });
    expect(await ask('delete from numbers where n = 9')).toMatchObject({ changed: 0n, rows: [] });
  });

  it('leaves the connection as it was where a statement fails, and may be run again', async () => {
    for (const parameter of ['0', '2', '0', '4']) {
      const answer = ask('select 8 / $1::int as result', [parameter]);
      if (parameter === '0') await expect(answer).rejects.toMatchObject({ code: '22012' });
      else expect((await answer).rows).toEqual([{ result: 8 / Number(parameter) }]);
    }
    await expect(ask('no statement at all')).rejects.toMatchObject({ code: '42601' });
    await expect(ask('no statement at all')).rejects.toMatchObject({ code: '42601' });
    expect((await client.query(SET)).rows).toEqual([{ tenant: '' }]);
  });
});
