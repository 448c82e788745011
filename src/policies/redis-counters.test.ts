import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Redis } from 'ioredis';
import { testCounters } from '../testing/counters.fixture.ts';
import { noRedis, startRedis, type TestRedis } from '../testing/redis.fixture.ts';
import { memoryCounters } from './rate-limit.ts';
import { redisCounters, type RedisCounters } from './redis-counters.ts';

describe('counters in memory', () => {
  const counters = memoryCounters();
  testCounters(() => [counters, counters]);
});

it.each(['http://user:hunter2@host', 'redis//host', 'redis://ho st'])(
  'refuses the address %j without repeating it',
  async (url) => {
    const error: unknown = await redisCounters(url).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'invalid_argument', issues: [{ path: 'redisUrl' }] });
    expect(JSON.stringify(error)).not.toContain('host/');
    expect(String(error)).not.toContain('hunter2');
  },
);

it('says why it cannot count where there is no Redis', async () => {
  const counters = await redisCounters('redis://user:hunter2@127.0.0.1:1');
  await expect(counters.count('a', 1_000)).rejects.toMatchObject({
    code: 'unavailable',
    message: 'Redis cannot be reached (ECONNREFUSED)',
  });
  counters.close();
});

describe.skipIf(noRedis !== undefined)('counters in Redis', () => {
  let redis: TestRedis;
  let both: readonly [RedisCounters, RedisCounters];
  beforeAll(async () => {
    redis = await startRedis();
    both = [await redisCounters(redis.url), await redisCounters(redis.url)];
  });
  afterAll(async () => {
    for (const counters of both) counters.close();
    await redis.close();
  });
  testCounters(() => both);

  it('leaves nothing when a window has ended, and no name of a tenant before', async () => {
    const client = new Redis(redis.url);
    const mine = async () => {
      const keys = await client.keys('*');
      expect(keys.every((key) => key.startsWith('connector-registry:rate-limit:'))).toBe(true);
      expect(keys.join(' ')).not.toContain('acme');
      return keys.length;
    };
    const before = await mine();
    await both[0].count('["acme","c1"]', 200);
    expect(await mine()).toBe(before + 1);
    await expect.poll(mine).toBeLessThanOrEqual(before);
    client.disconnect();
  });

  it('names a refused password without showing it', async (test) => {
    if (!redis.own)
      return test.skip('the Redis of CONNECTORS_TEST_REDIS_URL is not ours: its password is unknown');
    const counters = await redisCounters(redis.url.replace(redis.own.password, 'swordfish'));
    const error: unknown = await counters.count('a', 1_000).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: 'unavailable',
      message: 'Redis refused the user or the password in its address',
    });
    // Redis' own error has the command that failed, with the password.
    expect(error).not.toHaveProperty('cause');
    counters.close();
  });
});
