import { afterAll, beforeAll } from 'vitest';
import { startPostgres, type TestPostgres } from './postgres.fixture.ts';

const WITHIN_MS = 60_000;

/** A PostgreSQL for the tests of one suite; where this is called first, also for all of its other hooks. */
export function usePostgres(): Pick<TestPostgres, 'database' | 'own'> {
  let postgres: TestPostgres | undefined;
  const started = () => {
    if (!postgres) throw new Error('PostgreSQL is there in hooks and tests only');
    return postgres;
  };
  beforeAll(async () => void (postgres = await startPostgres()), WITHIN_MS);
  afterAll(() => postgres?.close(), WITHIN_MS);
  return {
    database: () => started().database(),
    get own() {
      return started().own;
    },
  };
}
