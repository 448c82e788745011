import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testCounters } from '../testing/counters.fixture.ts';
import { noPostgres, query } from '../testing/postgres.fixture.ts';
import { usePostgres } from '../testing/postgres-suite.fixture.ts';
import { CLEAR_EXPIRED, postgresCounters } from './postgres-counters.ts';
import { SqlStore } from './sql-store.ts';

it('says what failed as an error of ours, without the address', async () => {
  const lost = Object.assign(new Error('connect to postgres://owner:hunter2@host'), { code: 'ECONNREFUSED' });
  const error: unknown = await postgresCounters(async () => Promise.reject(lost))
    .count('k', 1_000)
    .catch((e: unknown) => e);
  expect(error).toMatchObject({
    code: 'unavailable',
    message: 'the database of the store cannot be reached',
  });
});

describe.skipIf(noPostgres !== undefined)('counters in PostgreSQL', () => {
  const postgres = usePostgres();
  let url: string;
  let pools: readonly Pool[];
  beforeAll(async () => {
    url = await postgres.database();
    await (await SqlStore.open({ databaseUrl: url })).close();
    // As the role that a store takes: it makes no table, and is held to row security.
    const options = '-c role=connector_registry';
    pools = [1, 2].map(() => new Pool({ connectionString: url, options }));
    // A pool that has ended may have connections that are still on their way out.
    for (const pool of pools)
      pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {}));
  }, 60_000);
  afterAll(async () => {
    for (const pool of pools) await pool.end();
  });
  const counters = (at: 0 | 1) =>
    postgresCounters((text, values) => pools[at]?.query(text, [...values]) as never);
  testCounters(() => [counters(0), counters(1)]);

  it("goes by the database's clock and not by this server's", async () => {
    const { now } = Date;
    try {
      expect(await counters(0).count('clock', 60_000)).toMatchObject({ attempts: 1 });
      Date.now = () => now() + 3_600_000;
      expect(await counters(1).count('clock', 60_000)).toMatchObject({ attempts: 2 });
    } finally {
      Date.now = now;
    }
  });

  it('removes counts whose window has ended, no others, and knows no tenant by name', async () => {
    await query(url, 'delete from rate_limits');
    await counters(0).count('["acme","short"]', 1);
    await counters(0).count('["acme","long"]', 60_000);
    expect(JSON.stringify(await query(url, 'select * from rate_limits'))).not.toContain('acme');
    const left = async () => {
      await pools[0]?.query(CLEAR_EXPIRED);
      return query(url, 'select points from rate_limits');
    };
    await expect.poll(left).toEqual([{ points: '1' }]);
    expect(await counters(0).count('["acme","long"]', 60_000)).toMatchObject({ attempts: 2 });
  });
});
