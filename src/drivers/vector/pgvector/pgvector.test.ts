import { afterAll, beforeAll, describe } from 'vitest';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { startPostgres, type Postgres } from './pgvector.fixture.ts';

let postgres: Postgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.close());

describe('on PGlite', () => {
  testVectorDriver({
    driver,
    open: (context) => driver.open(driver.options.parse({ endpoint: postgres.url, ssl: 'disable' }), context),
  });
});
