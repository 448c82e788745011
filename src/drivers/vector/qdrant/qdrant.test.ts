import { afterAll, expect, it } from 'vitest';
import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';
import { qdrantDouble } from './qdrant.fixture.ts';

const double = await qdrantDouble({ apiKey: 'worthless' });
afterAll(() => double.close());

testVectorDriver({
  driver,
  open: (context) =>
    driver.open(driver.options.parse({ endpoint: double.url, api_key: 'worthless' }), context),
});

it('says nothing that the published contract does not have', () => {
  expect(double.requests.length).toBeGreaterThan(100);
  expect(double.violations).toEqual([]);
});
