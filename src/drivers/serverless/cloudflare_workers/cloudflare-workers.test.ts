import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe } from 'vitest';
import { openContext } from '../../../testing/open-context.ts';
import { testServerlessDriver } from '../../../testing/serverless.ts';
import { ACCOUNT, apiDouble, TOKEN, type ApiDouble } from './cloudflare-api.fixture.ts';
import driver from './index.ts';
import { REAL_FUNCTIONS, realWorkers, type RealWorkers } from './workers.fixture.ts';

let real: RealWorkers;
let api: ApiDouble;

beforeAll(async () => {
  real = await realWorkers();
  api = await apiDouble(real);
});
afterAll(async () => {
  await api.close();
  await real.close();
});

const open = (options: object) =>
  driver.open(driver.options.parse(options), openContext({ folder: tmpdir() }));

describe('Workers in workerd, each at a URL of its own', () => {
  const urls = () =>
    Object.fromEntries(REAL_FUNCTIONS.map((name) => [name, `${real.url}/functions/${name}`]));
  testServerlessDriver({
    driver,
    engine: { mode: 'live', name: 'workerd, by miniflare 4' },
    open: () => open({ functions: urls() }),
  });
});

describe('Workers in workerd behind one address, listed by a double of the REST API', () => {
  testServerlessDriver({
    driver,
    open: () =>
      open({
        endpoint: `${real.url}/functions/{name}`,
        ...{ account_id: ACCOUNT, api_token: TOKEN, api_endpoint: api.url },
      }),
  });
});
