import { afterAll } from 'vitest';
import { openContext } from '../../../testing/open-context.ts';
import { testFileDriver } from '../../../testing/file.ts';
import { azureAccount } from './azure.fixture.ts';
import driver from './index.ts';

const server = await azureAccount();
afterAll(() => server.close());

testFileDriver({
  driver,
  async open() {
    const { endpoint, account, key } = server;
    const { containerName } = await server.container();
    const options = { account, container: containerName, endpoint, account_key: key };
    return driver.open(driver.options.parse(options), openContext({ folder: '/nowhere' }));
  },
  engine: { mode: 'live', name: 'Azurite 3.37' },
});
