import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { noPostgres, startPostgres } from '../src/testing/postgres.fixture.ts';
import { noRedis, startRedis } from '../src/testing/redis.fixture.ts';

const file = fileURLToPath(new URL('quickstart.ts', import.meta.url));

/** Runs it as it stands. */
async function expectAnswer(env: NodeJS.ProcessEnv): Promise<void> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { env });
  expect(stdout.replace(/\s+/g, ' ')).toMatch(/retry, rate limit, circuit breaker, timeout/);
  expect(stdout).toMatch(/status: 'completed',\s+result: { words: \d+ }/);
  expect(stderr).toBe('');
}

it('answers the question', { timeout: 60_000 }, () => expectAnswer(process.env));

it.skipIf(noPostgres !== undefined || noRedis !== undefined)(
  'answers it on PostgreSQL and Redis, by the environment alone',
  { timeout: 60_000 },
  async () => {
    const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    try {
      await expectAnswer({
        ...process.env,
        CONNECTORS_DATABASE_URL: await postgres.database(),
        CONNECTORS_REDIS_URL: redis.url,
        CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64'),
      });
    } finally {
      await Promise.all([postgres.close(), redis.close()]);
    }
  },
);

it('is shorter than 30 lines', async () => {
  const lines = (await readFile(file, 'utf8')).split('\n');
  expect(lines.length - 1).toBeLessThan(30);
});
