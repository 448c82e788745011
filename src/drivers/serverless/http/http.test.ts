import { afterAll, beforeAll } from 'vitest';
import { selfSignedCertificate } from '../../../testing/certificate.fixture.ts';
import { testServerlessDriver } from '../../../testing/serverless.ts';
import { opened, startFunctions, TABLE, type FunctionServer } from './functions.fixture.ts';
import driver from './index.ts';
import { nodeRecipe } from './recipes.fixture.ts';

const certificate = selfSignedCertificate();
const signing_secret = 'a secret of the conformance suite';
let server: FunctionServer;

beforeAll(async () => {
  const isGenuine = await nodeRecipe();
  server = await startFunctions({
    certificate,
    guard: (seen, response) =>
      seen.headers['x-api-key'] === 'a key' && isGenuine(seen, signing_secret)
        ? false
        : response.writeHead(401).end(),
  });
});
afterAll(() => server.close());

// Over HTTPS, with a key and signed calls, which the server checks by the recipe of the README.
testServerlessDriver({
  driver,
  engine: { mode: 'live', name: 'servers of node:https' },
  open: () =>
    opened({
      endpoint: server.url,
      functions: TABLE,
      ca: certificate.cert,
      ...{ api_key: 'a key', api_key_header: 'X-API-Key', signing_secret },
    }),
});
