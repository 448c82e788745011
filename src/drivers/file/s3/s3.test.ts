import { afterAll } from 'vitest';
import { testFileDriver } from '../../../testing/file.ts';
import { openContext } from '../../../testing/open-context.ts';
import driver from './index.ts';
import { startS3 } from './s3.fixture.ts';

const server = await startS3();
afterAll(() => server.close());
const NO_AUTH = 'fauxqs checks no signatures';
const NO_CONDITIONS = 'fauxqs knows no conditional PUT';

testFileDriver({
  driver,
  open: async () =>
    driver.open(
      driver.options.parse({
        endpoint: server.endpoint,
        region: server.region,
        bucket: await server.bucket(),
        access_key_id: server.accessKeyId,
        secret_access_key: server.secretAccessKey,
      }),
      openContext({ folder: '/nowhere' }),
    ),
  ...(server.kind === 'ceph' && { engine: { mode: 'live', name: server.name } as const }),
  ...(server.kind === 'fauxqs' && {
    waivers: {
      'lets exactly one of twenty writers': NO_CONDITIONS,
      'replaces only the content that has the etag': NO_CONDITIONS,
      'signs an address that writes one file': NO_AUTH,
      'ties what is put to a content type': NO_AUTH,
    },
  }),
});
