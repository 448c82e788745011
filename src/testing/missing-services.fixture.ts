import { noPgBouncer } from './pgbouncer.fixture.ts';
import { noPostgres } from './postgres.fixture.ts';
import { noRedis } from './redis.fixture.ts';

/** Says at the end of a run what was not tested, and why. */
export function teardown(): void {
  const instead = "everything on PostgreSQL but the store's own suite, which ran on PGlite";
  if (noPostgres !== undefined) console.warn(`skipped: ${instead}; ${noPostgres}`);
  if (noPgBouncer !== undefined) console.warn(`skipped: the store behind PgBouncer; ${noPgBouncer}`);
  if (noRedis !== undefined) console.warn(`skipped: everything on Redis; ${noRedis}`);
}
