import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { redisCounters } from '../../src/policies/redis-counters.ts';
import { ConnectorRegistry } from '../../src/index.ts';
import { noPostgres, query, startPostgres } from '../../src/testing/postgres.fixture.ts';
import { noRedis, startRedis } from '../../src/testing/redis.fixture.ts';

const deploy = new URL('../../deploy/', import.meta.url);
const { services } = parse(readFileSync(new URL('compose.yml', deploy), 'utf8')) as {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly environment?: Readonly<Record<string, string>>;
        readonly volumes?: readonly string[];
        readonly command?: readonly string[];
      }
    >
  >;
};
const run = promisify(execFile);

const PSQL = '/usr/bin/psql';
const noPsql = noPostgres ?? (existsSync(PSQL) ? undefined : `no ${PSQL}`);
if (noPsql !== undefined && noPsql !== noPostgres) console.warn(`skipped: ${noPsql}`);

it.skipIf(noPsql !== undefined)(
  'makes a database whose owner is held to row security and may do nothing else',
  async (test) => {
    const server = await startPostgres();
    test.onTestFinished(() => server.close());
    if (!server.own) return test.skip('the file names a role, and the PostgreSQL is not ours');
    const superuser = new URL(await server.database());
    const file = services['postgres']?.volumes?.find((one) => one.includes('/docker-entrypoint-initdb.d/'));
    const [path = ''] = file?.split(':') ?? [];
    const password = `it's "quoted"`;
    // As the entry point of the image has it run.
    await run(
      PSQL,
      ['-v', 'ON_ERROR_STOP=1', '--no-psqlrc', '-f', new URL(path, deploy).pathname, superuser.href],
      { env: { DATABASE_PASSWORD: password } },
    );
    const wanted = new URL(
      (services['server']?.environment?.['CONNECTORS_DATABASE_URL'] ?? '').replace(/\$\{.*\}/, 'x'),
    );
    const url = Object.assign(new URL(superuser), {
      username: wanted.username,
      pathname: wanted.pathname,
    }).href;
    {
      await using registry = await ConnectorRegistry.open({
        databaseUrl: url,
        env: { CONNECTORS_MASTER_KEY: '0'.repeat(64) },
      });
      await registry.forTenant('acme').createFromDict({
        name: 'prices',
        connector_type: 'vector',
        provider: 'qdrant',
        vector_dimension: 2,
        config: { endpoint: 'https://example.com' },
      });
    }
    expect(await query(url, 'select * from connectors')).toEqual([]);
    expect(
      await query(
        superuser.href,
        `select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolpassword like 'SCRAM-SHA-256$%' as has_password
          from pg_authid where rolname = 'connectors'`,
      ),
    ).toEqual([
      { rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false, has_password: true },
    ]);
    // And no role was made that servers would have to take.
    expect(await query(superuser.href, `select from pg_roles where rolname = 'connector_registry'`)).toEqual(
      [],
    );
  },
  60_000,
);

it.skipIf(noRedis !== undefined)(
  'has a Redis that refuses to count, and forgets nothing, when it is full',
  async (test) => {
    const redis = await startRedis();
    test.onTestFinished(() => redis.close());
    if (!redis.own) return test.skip('the Redis is not ours to fill');
    const command = services['redis']?.command ?? [];
    const policy = command[command.indexOf('--maxmemory-policy') + 1] ?? '';
    const admin = new Redis(redis.url);
    test.onTestFinished(() => admin.disconnect());
    const counters = await redisCounters(redis.url);
    test.onTestFinished(() => counters.close());
    await admin.config('SET', 'maxmemory-policy', policy);
    await counters.count('first', 600_000);
    const [, used = ''] = /used_memory:(\d+)/.exec(await admin.info('memory')) ?? [];
    await admin.config('SET', 'maxmemory', String(Number(used) + 100_000));
    const filling = async () => {
      for (let i = 0; i < 20_000; i++) await counters.count(`other ${i}`, 300_000);
    };
    await expect(filling()).rejects.toMatchObject({ code: 'unavailable', message: 'Redis answered OOM' });
    await admin.config('SET', 'maxmemory', '0');
    expect(await counters.count('first', 600_000)).toMatchObject({ attempts: 2 });
  },
);
