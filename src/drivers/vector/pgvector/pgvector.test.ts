import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import {
  connectPostgres,
  driverOptions,
  STARTING_MS,
  startPostgres,
  type Postgres,
} from './pgvector.fixture.ts';

const given = process.env['CONNECTORS_TEST_PG_URL'];

describe('on PGlite', () => {
  proveOn(startPostgres, { mode: 'live', name: 'PGlite 0.5.14: PostgreSQL 18.6, pgvector 0.8.7' });
});

describe('on the server of CONNECTORS_TEST_PG_URL', () => {
  it('is one that was given', ({ skip }) => {
    skip(given === undefined, 'CONNECTORS_TEST_PG_URL is not set');
    expect(given).toMatch(/^postgres(?:ql)?:/);
  });
  if (given !== undefined) proveOn(() => connectPostgres(given));
});

function proveOn(start: () => Promise<Postgres>, engine?: Parameters<typeof testVectorDriver>[0]['engine']) {
  const schema = `conformance_${process.pid}`;
  let server: Postgres;
  beforeAll(async () => {
    server = await start();
  }, STARTING_MS);
  afterAll(async () => {
    await server.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    await server.close();
  });

  testVectorDriver({
    driver,
    ...(engine && { engine }),
    open: (context) => driver.open(driver.options.parse({ ...driverOptions(server.url), schema }), context),
    async removeBeneath({ connectorId }) {
      await server.query(`DROP TABLE ${schema}.connector_${connectorId.replaceAll('-', '')}`);
    },
  });
}
